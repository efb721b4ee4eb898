"""Transactions that are retried, and commit hooks.

Django's ``on_commit`` hooks run after the commit, and the first error stops them. The cache has to
act before the commit: from the moment that others see a change, no stored response may contradict
it. ``add_commit_hook`` is the place for that.
"""

import logging
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

from pcf.database.retry import (
    ABORTED_STATES,
    CONNECTION_LOST,
    READ_ONLY,
    backoff,
    is_read_only,
    lost_reason,
)
from pcf.errors import ConnectionLost, OutcomeUnknown
from pcf.observability import metrics
from pcf.timeouts import DeadlineExceeded, current_timeout

logger = logging.getLogger("pcf.database")

T = TypeVar("T")


class CommitOutcome(Enum):
    """The outcome of a transaction, in the words of PostgreSQL's ``pg_xact_status``."""

    ABORTED = "nothing is committed: COMMIT was not sent, or the server refused it"
    UNKNOWN = "COMMIT was sent, and the connection broke before the answer"
    COMMITTED = "the server confirmed COMMIT"


AfterCommit = Callable[[CommitOutcome], None]
CommitHook = Callable[[Any], AfterCommit | None]  # takes Django's connection

_hooks: list[CommitHook] = []  # filled when the apps are ready


def add_commit_hook(hook: CommitHook) -> None:
    """Call ``hook(connection)`` before every COMMIT of a transaction that ran a statement.

    The hook may return a function, which gets the outcome before any ``on_commit`` hook runs. When
    the hook raises an exception, the transaction is rolled back.
    """
    if hook not in _hooks:
        _hooks.append(hook)


def run_commit_hooks(connection: Any) -> AfterCommit:
    """Call every hook, and return a function that passes the outcome to all of them.

    An error of a hook after the commit is logged: the transaction has its outcome already.
    """
    callbacks = [callback for hook in _hooks if (callback := hook(connection)) is not None]

    def finish(outcome: CommitOutcome) -> None:
        for callback in callbacks:
            try:
                callback(outcome)
            except Exception:
                logger.exception("a commit hook failed after the commit")

    return finish


def run_transaction(
    function: Callable[[], T],
    *,
    using: str = DEFAULT_DB_ALIAS,
    before_retry: Callable[[], object] | None = None,
) -> T:
    """Run ``function`` in a transaction, and return its result.

    The transaction is retried at most ``database.retry_attempts`` times inside the deadline, when

    * the server rolled it back in favour of another one: serialization failure (40001) or deadlock
      (40P01), also in answer to COMMIT;
    * the connection was lost before COMMIT was sent; the server then rolls back by itself;
    * the session is read-only (25006) and was opened some time ago. A new session tells whether the
      server takes writes by now.

    Nothing else is retried. When the connection is lost after COMMIT was sent, the outcome is open
    and the function raises ``OutcomeUnknown``. ``function`` must change nothing but the database.
    ``before_retry`` discards what ``function`` has stored in memory. Inside a transaction,
    ``function`` runs once, in a savepoint, because only the outer transaction can be retried.
    """
    db: Any = connections[using]
    retries = iter(backoff().retries(current_timeout()))
    while True:
        outermost = not db.in_atomic_block
        if outermost:
            db.commit_outcome = CommitOutcome.ABORTED
        try:
            with transaction.atomic(using):
                return function()
        except (Error, DeadlineExceeded) as error:
            reason = _retry_reason(error, db) if outermost else None
            if reason is None:
                raise
            if next(retries, None) is None:
                raise
            metrics.db_retries.labels(reason).inc()
            if reason == READ_ONLY:
                db.close()
        if before_retry is not None:
            before_retry()


def _retry_reason(error: Exception, db: Any) -> str | None:
    """Return the reason for a retry of the transaction that ended with ``error``, or None.

    After an unknown outcome, Django may fail to connect again. The function then raises
    ``OutcomeUnknown`` in the place of that error.
    """
    if db.commit_outcome is CommitOutcome.UNKNOWN and not isinstance(error, OutcomeUnknown):
        raise OutcomeUnknown from error
    if db.commit_outcome is not CommitOutcome.ABORTED:
        return None
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, psycopg.Error):
        cause = cause.__cause__
    if isinstance(error, ConnectionLost):
        return lost_reason(cause, None) or CONNECTION_LOST
    if is_read_only(cause):
        return READ_ONLY if db.is_session_old else None
    return ABORTED_STATES.get(getattr(cause, "sqlstate", None) or "")
