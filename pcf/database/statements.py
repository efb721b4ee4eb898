"""The time limit of each statement, and its records in metrics, traces and logs.

``query_with_timeout`` runs plain SQL with a limit of its own. ``for_thread`` is for SQL in threads
that a request starts.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from time import monotonic
from typing import Any, ParamSpec, TypeVar

import psycopg
from django.db import connections
from psycopg import sql as composing

from pcf.conf import config
from pcf.conf.sections import TimeoutSettings
from pcf.database.connection import LAYER, DeadlineConnection, StatementOverdue
from pcf.database.query_log import current_log, note_read
from pcf.database.replicas import read_alias
from pcf.database.snapshots import leaves_time
from pcf.database.sql_text import (
    StatementKind,
    effect_of,
    fingerprint,
    kind_of,
    normalize,
    template_text,
)
from pcf.observability import metrics
from pcf.observability.tracing import record, tracing
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate, carried, current_timeout

logger = logging.getLogger("pcf.database")

# Limits up to _EXACT_UP_TO milliseconds are sent exactly. Longer ones are rounded down to a
# multiple of _STEP, so that the texts of the statements recur: psycopg keeps the last texts that it
# has parsed.
_EXACT_UP_TO = 100
_STEP = 10

_LEFT = 2  # minimum budgets that a statement of a query leaves for the other fields

_LIMIT_SETTING = re.compile(r"statement_timeout|discard\s+all|reset\s+all", re.IGNORECASE)


def with_limit(limit: str, sql: Any) -> Any:
    """Return ``sql`` with the SET statement ``limit`` in front of it."""
    if isinstance(sql, str):
        return limit + sql
    if isinstance(sql, bytes):
        return limit.encode() + sql
    return composing.Composed([composing.SQL(limit), sql])


def usual_limit() -> int:
    """Return the limit that the session of a pooled connection keeps, in milliseconds."""
    return int(config().timeouts.database * 1_000)


def minimum_budget(context: TimeoutContext, timeouts: TimeoutSettings) -> float:
    """Return the seconds that must be left of ``context`` before a statement begins.

    They are at most a tenth of the limit, so that a client may ask for a short time.
    """
    return min(timeouts.min_database_budget, context.limit / 10)


def statement_budget(context: TimeoutContext, timeouts: TimeoutSettings) -> TimeoutContext:
    """Return the budget of a statement that begins now under ``context``.

    Raises InsufficientTime when less than ``minimum_budget`` is left.
    """
    context.require(minimum_budget(context, timeouts))
    if context.layer != LAYER:
        return context.child_budget(LAYER, None if LAYER in context.limits else timeouts.database)
    context.check()
    return context


class StatementTimer:
    """The time limit and the records of one statement.

    The caller makes the timer before it sends the statement, and calls ``done`` or ``failed``
    afterwards. ``limit`` is the SET that goes in front of the statement, in the same message. A
    timer is made for every statement, so it does only what every statement needs.

    When PostgreSQL cancels the statement at its limit, or stays silent, ``failed`` returns the
    ``DeadlineExceeded`` that the caller raises.
    """

    __slots__ = (
        "_budget", "_config", "_connection", "_kind", "_limit_ms", "_seconds", "_sent_at", "_sql",
        "_started", "limit",
    )  # fmt: skip

    def __init__(
        self, connection: DeadlineConnection, sql: Any, *, alone: bool = False,
        sent_at: float | None = None,
    ) -> None:  # fmt: skip
        """Raise InsufficientTime or DeadlineExceeded when no time is left for the statement.

        ``alone``: nothing can go in front of the statement (COPY, executemany, server-side
        cursors). Its limit costs a round trip of its own. ``sent_at`` is the time (monotonic) at
        which a statement of a pipeline was sent: PostgreSQL may have begun it before its timer.
        """
        self._connection = connection
        self._sql = sql
        self._config = config()
        self._kind = kind = kind_of(sql)
        self._budget: TimeoutContext | None = None
        self._limit_ms: int | None = None
        self._seconds: float | None = None  # set by stop()
        self.limit = ""
        self._started = monotonic()
        self._sent_at = sent_at
        if kind is not StatementKind.TRANSACTION_CONTROL:
            self._apply_limit(alone or kind is not StatementKind.QUERY)
        connection.has_timer = True

    def _apply_limit(self, alone: bool) -> None:
        context = current_timeout()
        connection = self._connection
        timeouts = self._config.timeouts
        usual = int(timeouts.database * 1_000)
        if context is None:
            if connection.session_limit is None and connection.autocommit:
                return
        elif (
            context.layer != LAYER
            and context.limits.get(LAYER, timeouts.database) == timeouts.database
            and context.deadline - context.reserve - self._started
            >= max(timeouts.database, timeouts.min_database_budget)
        ):  # the request has time for the full limit, so no budget is needed
            connection.deadline = self._started + timeouts.database
            self._limit_ms = usual
        else:
            budget = statement_budget(context, timeouts)
            if leaves_time():
                budget = budget.leaving(_LEFT * minimum_budget(context, timeouts))
            self._budget = budget
            connection.deadline = budget.deadline
            self._limit_ms = _limit_ms(budget, timeouts, usual)
        if alone:
            self._apply_separately(usual)
        else:
            self.limit = connection.limit_sql(self._limit_ms, usual)

    def _apply_separately(self, usual: int) -> None:
        try:
            self._connection.apply_limit(self._limit_ms, usual)
        except BaseException as error:
            self._connection.deadline = None
            if isinstance(error, StatementOverdue) and self._limit_ms is not None:
                raise self._exceeded() from error
            raise
        self._started = monotonic()

    def _exceeded(self) -> DeadlineExceeded:
        error = DeadlineExceeded(LAYER, self._config.timeouts.database)
        if self._budget is not None:
            error = self._budget.exceeded()
        error.statement = fingerprint(template_text(self._sql))
        return error

    def stop(self) -> None:
        """Stop the time of a statement of a pipeline; ``done`` or ``failed`` follows later.

        Nothing was sent in front of such a statement. PostgreSQL applies the session's limit, and
        ``DeadlineConnection.wait`` the deadline.
        """
        if self.limit:
            self._connection.forget_local_limit()
        self._seconds = monotonic() - self._started
        self._connection.deadline = None
        self._connection.has_timer = False
        self.limit = ""

    def done(self) -> float:
        """Record the statement and return the seconds that it took."""
        seconds = monotonic() - self._started if self._seconds is None else self._seconds
        connection = self._connection
        connection.deadline = None
        connection.has_timer = False
        if self.limit:
            connection.limit_applied(self.limit)
        if self._kind is StatementKind.SETTING:
            if _LIMIT_SETTING.search(template_text(self._sql)):
                connection.limit_changed(in_request=self._limit_ms is not None)
        elif self._kind is StatementKind.TRANSACTION_CONTROL:
            connection.forget_local_limit()
        metrics.db_statement_duration.observe(seconds)
        if tracing.tracer is not None:
            record("SQL", seconds, **{"db.query.text": normalize(template_text(self._sql))})
        log = current_log()
        if log is not None:
            log.add(self._sql, seconds)
        if (self._kind is StatementKind.QUERY or self._kind is StatementKind.OTHER) and (
            log is not None or not effect_of(template_text(self._sql)).writes
        ):  # it may have read rows
            note_read()
        if seconds >= self._config.database.slow_statement:
            self._log_slow(seconds)
        return seconds

    def failed(self, error: BaseException) -> DeadlineExceeded | None:
        """Record a statement that failed with psycopg's ``error``.

        Returns the deadline's error when the deadline was the cause, otherwise None. If PostgreSQL
        cancelled the statement before its limit, an operator did that.
        """
        self.limit = ""  # the server rolled it back with the statement
        seconds = self.done()
        if self._limit_ms is None:
            return None
        if self._sent_at is not None:  # the time that PostgreSQL has had for it at most
            seconds += self._started - self._sent_at
        if isinstance(error, StatementOverdue):
            return self._exceeded()
        if isinstance(error, psycopg.errors.QueryCanceled) and seconds * 1_000 >= self._limit_ms:
            return self._exceeded()
        return None

    def _log_slow(self, seconds: float) -> None:
        metrics.db_slow_statements.inc()
        budget = "none" if self._limit_ms is None else f"{self._limit_ms / 1_000:g} s"
        text = normalize(template_text(self._sql))
        digest = fingerprint(template_text(self._sql))
        logger.warning(
            "SLOW QUERY %.3f s (budget %s, %s): %s",
            seconds,
            budget,
            digest,
            text,
            extra={
                "fields": {
                    "seconds": round(seconds, 4),
                    "budget": budget,
                    "fingerprint": digest,
                    "statement": text,
                }
            },
        )


def _limit_ms(budget: TimeoutContext, timeouts: TimeoutSettings, usual: int) -> int:
    """Return ``statement_timeout`` for ``budget``: the usual limit when almost all of it is left.

    "Almost all" is all but ``timeouts.reserve_graphql``, the time that the layer above keeps for
    its response. The tolerance saves a SET for each statement that begins some milliseconds after
    the time of its budget began to run.
    """
    remaining = budget.deadline - monotonic()
    if remaining >= timeouts.database - timeouts.reserve_graphql:
        return usual
    exact = int(remaining * 1_000)
    return exact - exact % _STEP if exact > _EXACT_UP_TO else max(exact, 1)


P = ParamSpec("P")
T = TypeVar("T")


def query_with_timeout(
    sql: str,
    params: Sequence[Any] | Mapping[str, Any] | None,
    timeout: TimeoutContext | float,
    *,
    using: str | None = None,
) -> list[tuple[Any, ...]]:
    """Run ``sql`` and return its rows, within ``timeout`` seconds and the request's deadline.

    ``timeout`` may be a TimeoutContext, which is then the only limit. ``using`` is the alias of the
    database, by default the one for reads. Raises InsufficientTime when the request has less than
    ``timeouts.min_database_budget`` left, and DeadlineExceeded when the time is up.
    """
    with activate(_context(timeout)), connections[using or read_alias()].cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def _context(timeout: TimeoutContext | float) -> TimeoutContext:
    if isinstance(timeout, TimeoutContext):
        return timeout
    outer = current_timeout()
    if outer is None:
        return TimeoutContext.start(LAYER, timeout)
    if outer.layer != LAYER:
        outer.require(minimum_budget(outer, config().timeouts))
    return outer.child_budget(LAYER, timeout)


def for_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Return ``function`` for use in a thread that a request starts.

    The function runs under the request's deadline, and its statements count with the request's. At
    its end, the connections of the thread go back to the pool, also after an error. Without that, a
    thread that ends would keep them for ever. The thread has its own connections, so it does not
    see the uncommitted writes of the request.

    Loaders and promises are not thread-safe; they stay in the thread that executes the operation.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return carried(run)
