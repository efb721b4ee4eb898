"""Whole transactions, repeated where PostgreSQL guarantees that nothing of them was committed."""

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

from pcf import metrics
from pcf.database.errors import ConnectionLost, OutcomeUnknown
from pcf.database.pool import backoff
from pcf.database.retry import ABORTED_STATES, CONNECTION_LOST, Commit, lost_reason
from pcf.timeouts import DeadlineExceeded, current_timeout

T = TypeVar("T")


def run_transaction(
    function: Callable[[], T],
    *,
    using: str = DEFAULT_DB_ALIAS,
    before_repetition: Callable[[], object] | None = None,
) -> T:
    """What ``function`` returns, run in a transaction of its own.

    It is run again, at most ``database.retry_attempts`` times and inside the deadline, when

    * the server says that it rolled the transaction back for the sake of another: serialization
      failure (40001), deadlock (40P01), also as the answer to COMMIT;
    * the connection was lost before COMMIT was sent: the server then rolls back by itself.

    Nothing else is repeated. A connection lost after COMMIT was sent leaves the outcome open, which
    ``OutcomeUnknown`` says. ``function`` must change nothing but the database;
    ``before_repetition`` undoes what it remembered. Inside a transaction ``function`` is run once,
    in a savepoint: what would have to be repeated is the outer one.
    """
    db: Any = connections[using]
    repetitions = iter(backoff().repetitions(current_timeout()))
    while True:
        outermost = not db.in_atomic_block
        if outermost:
            db.commit_state = Commit.NOT_SENT
        try:
            with transaction.atomic(using):
                return function()
        except (Error, DeadlineExceeded) as error:
            reason = _reason(error, db) if outermost else None
            if reason is None:
                raise
            if next(repetitions, None) is None:
                raise
            metrics.db_retries.labels(reason).inc()
        if before_repetition is not None:
            before_repetition()


def _reason(error: Exception, db: Any) -> str | None:
    """Why the transaction that ended with ``error`` may be repeated; None when it may not.

    Raises ``OutcomeUnknown`` where Django's failure to connect again, for want of a server or of
    time, stands in front of it.
    """
    if db.commit_state is Commit.UNKNOWN and not isinstance(error, OutcomeUnknown):
        raise OutcomeUnknown from error
    if db.commit_state is not Commit.NOT_SENT:
        return None
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, psycopg.Error):
        cause = cause.__cause__
    if isinstance(error, ConnectionLost):
        return lost_reason(cause, None) or CONNECTION_LOST
    return ABORTED_STATES.get(getattr(cause, "sqlstate", None) or "")
