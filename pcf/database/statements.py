"""One statement: what it is, how much time it has, and what is written down about it."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from threading import Lock
from time import monotonic
from typing import Any, Protocol

import psycopg
from psycopg import sql as composing

from pcf import metrics
from pcf.apps import config
from pcf.config import Timeouts
from pcf.database.connection import LAYER, Connection, StatementOverdue
from pcf.database.shapes import shape
from pcf.timeouts import DeadlineExceeded, TimeoutContext, current_timeout
from pcf.tracing import record, tracing

logger = logging.getLogger("pcf.database")

_FINE = 100  # ms: tighter limits are sent exactly, longer ones in steps, so that texts recur
_STEP = 10  # ms


class HasPath(Protocol):
    """Values of a field, side by side, that know their places in the response."""

    def path(self, index: int, /) -> Any:
        """The place of the value number ``index``, as graphql-core's Path."""


@dataclass(slots=True)
class QueryLog:
    """The statements of one request: how many, how many seconds, and their texts if asked for.

    With ``limit``, a statement that is sent more often than that is in ``repeated``, with what was
    at work when it went beyond: the executor keeps ``place`` up to date, as the name of a loader
    or as values of a field and which of them.
    """

    count: int = 0
    seconds: float = 0.0
    statements: list[str] | None = field(default=None, repr=False)
    outer: "QueryLog | None" = field(default=None, repr=False)
    limit: int = 0
    place: "str | tuple[HasPath, int] | None" = field(default=None, repr=False)
    repeated: dict[str, str] = field(default_factory=dict, repr=False)
    times: dict[str, int] = field(default_factory=dict, repr=False)

    def add(self, sql: Any, seconds: float) -> None:
        """One more statement, here and in the logs around this one.

        Threads of the request may add at the same time.
        """
        with _adding:
            self.count += 1
            self.seconds += seconds
        if self.statements is not None:
            self.statements.append(template_text(sql))
        if self.limit:
            text = template_text(sql)
            times = self.times[text] = self.times.get(text, 0) + 1
            if times == self.limit + 1 and kind_of(text) is Kind.QUERY:
                self.repeated[text] = self._where()
        if self.outer is not None:
            self.outer.add(sql, seconds)

    def _where(self) -> str:
        """The place as names joined by dots; positions in lists are left out."""
        if self.place is None:
            return "unknown"
        if isinstance(self.place, str):
            return self.place
        column, index = self.place
        return ".".join(key for key in column.path(index).as_list() if isinstance(key, str))


_adding = Lock()
_log: ContextVar[QueryLog | None] = ContextVar("pcf_query_log", default=None)


@contextmanager
def count_queries(*, keep_texts: bool = False, limit: int = 0) -> Iterator[QueryLog]:
    """Count the statements of the block, of every connection and every kind (COPY included).

    BEGIN, COMMIT and ROLLBACK are not counted; savepoints are. ``keep_texts`` also collects the
    statements with their placeholders; ``limit`` is how often one may be sent before it is
    ``repeated`` (0: as often as it likes).
    """
    log = QueryLog(statements=[] if keep_texts else None, outer=_log.get(), limit=limit)
    token = _log.set(log)
    try:
        yield log
    finally:
        _log.reset(token)


def current_log() -> QueryLog | None:
    """The log of the statements that are sent here, None when nobody counts them."""
    return _log.get()


class Kind(Enum):
    """What matters about a statement before it is sent."""

    QUERY = "may share its message with a SET"
    HOUSEKEEPING = "must work even when the time is up"
    SETTING = "may change the limit behind our back"
    OTHER = "must be sent alone"


_QUERY_WORDS = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE"}
_HOUSEKEEPING_WORDS = {"SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "END", "ABORT"}
_SETTING_WORDS = {"SET", "RESET", "DISCARD"}
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*([a-z]+)", re.IGNORECASE | re.DOTALL)
_LIMIT_SETTING = re.compile(r"statement_timeout|discard\s+all|reset\s+all", re.IGNORECASE)
_COMMON = frozenset({"SELECT ", "INSERT ", "UPDATE ", "DELETE "})


@lru_cache(maxsize=256)
def _classify(text: str) -> Kind:
    match = _FIRST_WORD.match(text)
    word = match.group(1).upper() if match else ""
    if word in _QUERY_WORDS:
        return Kind.QUERY
    if word in _HOUSEKEEPING_WORDS:
        return Kind.HOUSEKEEPING
    return Kind.SETTING if word in _SETTING_WORDS else Kind.OTHER


def kind_of(sql: Any) -> Kind:
    """The kind of a statement, told by its first word."""
    if type(sql) is str:
        return Kind.QUERY if sql[:7] in _COMMON else _classify(sql[:200])
    return _classify(template_text(sql)[:200])


def template_text(sql: Any) -> str:
    """A statement's text with placeholders; literals composed into it become ``%s``."""
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    if isinstance(sql, composing.Composed):
        return "".join(template_text(part) for part in sql)
    if isinstance(sql, composing.SQL | composing.Identifier):
        return sql.as_string(None)
    return "%s"


def fingerprint(text: str) -> str:
    """Twelve hexadecimal digits for a statement's shape, by which the log finds it again."""
    return sha256(shape(text).encode()).hexdigest()[:12]


def with_limit(limit: str, sql: Any) -> Any:
    """``sql`` with the SET statement ``limit`` in front of it."""
    if isinstance(sql, str):
        return limit + sql
    if isinstance(sql, bytes):
        return limit.encode() + sql
    return composing.Composed([composing.SQL(limit), sql])


def statement_budget(context: TimeoutContext, timeouts: Timeouts) -> TimeoutContext:
    """The budget of a statement that begins now under ``context``.

    Raises ``InsufficientTime`` with less than ``timeouts.min_database_budget`` left. A context of
    the layer ``database`` is such a budget already; when it was made smaller than the minimum,
    that was meant.
    """
    if context.layer != LAYER:
        context.require(timeouts.min_database_budget)
        return context.child_budget(LAYER, None if LAYER in context.limits else timeouts.database)
    if context.limit > timeouts.min_database_budget:
        context.require(timeouts.min_database_budget)
    context.check()
    return context


def usual_limit() -> int:
    """The limit that a serving connection's session keeps, in milliseconds."""
    return int(config().timeouts.database * 1_000)


class Watch:
    """A statement on its way: begin before sending it, then ``done`` or ``failed``.

    ``limit`` holds the SET that must be sent in front of the statement, in the same message.
    This runs for every statement, so it builds nothing that the common case does not need.
    """

    __slots__ = (
        "_budget", "_config", "_connection", "_kind", "_limit_ms", "_seconds", "_sql", "_started",
        "limit",
    )  # fmt: skip

    def __init__(self, connection: Connection, sql: Any, *, alone: bool = False) -> None:
        """Raises ``InsufficientTime`` or ``DeadlineExceeded`` when there is no time for it.

        ``alone``: nothing may be put in front of it (COPY, executemany, server-side cursors).
        """
        self._connection = connection
        self._sql = sql
        self._config = config()
        self._kind = kind = kind_of(sql)
        self._budget: TimeoutContext | None = None
        self._limit_ms: int | None = None
        self._seconds: float | None = None  # once it has stopped
        self.limit = ""
        self._started = monotonic()
        if kind is not Kind.HOUSEKEEPING:
            self._apply_limit(alone or kind is not Kind.QUERY)

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
        ):  # time enough: the budget would be the layer's own limit, from now
            connection.deadline = self._started + timeouts.database
            self._limit_ms = usual
        else:
            self._budget = budget = statement_budget(context, timeouts)
            connection.deadline = budget.deadline
            self._limit_ms = _limit_ms(budget, timeouts, usual)
        if alone:
            self._apply_separately(usual)
        else:
            self.limit = connection.limit_sql(self._limit_ms, usual)

    def _apply_separately(self, usual: int) -> None:
        try:
            self._connection.limit_separately(self._limit_ms, usual)
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
        """The answer is there; ``done`` or ``failed`` comes later. Nothing was sent in front."""
        self._seconds = monotonic() - self._started
        self._connection.deadline = None
        self.limit = ""

    def done(self) -> float:
        """The statement is over; gives back the seconds it took."""
        seconds = monotonic() - self._started if self._seconds is None else self._seconds
        connection = self._connection
        connection.deadline = None
        if self.limit:
            connection.limit_applied(self.limit)
        if self._kind is Kind.SETTING:
            if _LIMIT_SETTING.search(template_text(self._sql)):
                connection.set_by_hand(limited=self._limit_ms is not None)
        elif self._kind is Kind.HOUSEKEEPING:
            connection.rolled_back_to_savepoint()
        metrics.db_statement_duration.observe(seconds)
        if tracing.tracer is not None:
            record("SQL", seconds, **{"db.query.text": shape(template_text(self._sql))})
        log = _log.get()
        if log is not None:
            log.add(self._sql, seconds)
        if seconds >= self._config.database.slow_statement:
            self._log_slow(seconds)
        return seconds

    def failed(self, error: BaseException) -> DeadlineExceeded | None:
        """The statement failed with psycopg's ``error``: the deadline's error if that was it.

        A statement cancelled before its limit was cancelled by someone else, and is not ours.
        """
        self.limit = ""  # was rolled back together with the statement
        seconds = self.done()
        if self._limit_ms is None:
            return None
        if isinstance(error, StatementOverdue):
            return self._exceeded()
        if isinstance(error, psycopg.errors.QueryCanceled) and seconds * 1_000 >= self._limit_ms:
            return self._exceeded()
        return None

    def _log_slow(self, seconds: float) -> None:
        metrics.db_slow_statements.inc()
        budget = "none" if self._limit_ms is None else f"{self._limit_ms / 1_000:g} s"
        text = shape(template_text(self._sql))
        mark = fingerprint(template_text(self._sql))
        logger.warning(
            "SLOW QUERY %.3f s (budget %s, %s): %s",
            seconds,
            budget,
            mark,
            text,
            extra={
                "facts": {
                    "seconds": round(seconds, 4),
                    "budget": budget,
                    "fingerprint": mark,
                    "statement": text,
                }
            },
        )


def _limit_ms(budget: TimeoutContext, timeouts: Timeouts, usual: int) -> int:
    """``statement_timeout`` for ``budget``; the usual limit when that is as good as reached.

    "As good" is ``timeouts.reserve_graphql``: what the layer above keeps to answer in. It saves a
    SET for every statement that begins some milliseconds after its budget was made.
    """
    remaining = budget.deadline - monotonic()
    if remaining >= timeouts.database - timeouts.reserve_graphql:
        return usual
    exact = int(remaining * 1_000)
    return exact - exact % _STEP if exact > _FINE else max(exact, 1)
