"""One statement: what it is, how much time it has, and what is written down about it."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from time import monotonic
from typing import Any

import psycopg
from psycopg import sql as composing

from pcf import metrics
from pcf.apps import config
from pcf.database.connection import Connection, StatementOverdue
from pcf.timeouts import DeadlineExceeded, TimeoutContext, current_timeout

logger = logging.getLogger("pcf.database")

LAYER = "database"
_SHOWN = 1_000  # characters of a statement in the log
_FINE = 100  # ms: tighter limits are sent exactly, longer ones in steps, so that texts recur
_STEP = 10  # ms


@dataclass(slots=True)
class QueryLog:
    """The statements of one request: how many, how many seconds, and their texts if asked for."""

    count: int = 0
    seconds: float = 0.0
    statements: list[str] | None = field(default=None, repr=False)
    outer: "QueryLog | None" = field(default=None, repr=False)

    def add(self, sql: Any, seconds: float) -> None:
        """One more statement, here and in the logs around this one."""
        self.count += 1
        self.seconds += seconds
        if self.statements is not None:
            self.statements.append(template_text(sql))
        if self.outer is not None:
            self.outer.add(sql, seconds)


_log: ContextVar[QueryLog | None] = ContextVar("pcf_query_log", default=None)


@contextmanager
def count_queries(*, keep_texts: bool = False) -> Iterator[QueryLog]:
    """Count the statements of the block, of every connection and every kind (COPY included).

    BEGIN, COMMIT and ROLLBACK are not counted; savepoints are. ``keep_texts`` also collects the
    statements with their placeholders.
    """
    log = QueryLog(statements=[] if keep_texts else None, outer=_log.get())
    token = _log.set(log)
    try:
        yield log
    finally:
        _log.reset(token)


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


def with_limit(limit: str, sql: Any) -> Any:
    """``sql`` with the SET statement ``limit`` in front of it."""
    if isinstance(sql, str):
        return limit + sql
    if isinstance(sql, bytes):
        return limit.encode() + sql
    return composing.Composed([composing.SQL(limit), sql])


def statement_budget(context: TimeoutContext) -> TimeoutContext:
    """The budget of a statement that begins now under ``context``.

    Raises ``InsufficientTime`` with less than ``timeouts.min_database_budget`` left. A context of
    the layer ``database`` is such a budget already; when it was made smaller than the minimum,
    that was meant.
    """
    timeouts = config().timeouts
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
    """

    __slots__ = ("_connection", "_kind", "_limit_ms", "_sql", "_started", "budget", "limit")

    def __init__(self, connection: Connection, sql: Any, *, alone: bool = False) -> None:
        """Raises ``InsufficientTime`` or ``DeadlineExceeded`` when there is no time for it.

        ``alone``: nothing may be put in front of it (COPY, executemany, server-side cursors).
        """
        self._connection = connection
        self._sql = sql
        self._kind = kind = kind_of(sql)
        self.budget: TimeoutContext | None = None
        self.limit = ""
        self._limit_ms: int | None = None
        if kind is not Kind.HOUSEKEEPING:
            self._apply_limit(alone or kind is not Kind.QUERY)
        self._started = monotonic()

    def _apply_limit(self, alone: bool) -> None:
        context = current_timeout()
        connection = self._connection
        if context is None:
            if connection.session_limit is None and connection.autocommit:
                return
        else:
            self.budget = budget = statement_budget(context)
            connection.deadline = budget.deadline
            self._limit_ms = _limit_ms(budget)
        if alone:
            try:
                connection.limit_separately(self._limit_ms, usual_limit())
            except StatementOverdue as error:
                connection.deadline = None
                raise (self.budget.exceeded() if self.budget else error) from error
            except BaseException:
                connection.deadline = None
                raise
        else:
            self.limit = connection.limit_sql(self._limit_ms, usual_limit())

    def done(self) -> None:
        """The statement succeeded."""
        if self.limit:
            self._connection.limit_applied(self.limit)
        self._finish()

    def failed(self, error: BaseException) -> DeadlineExceeded | None:
        """The statement failed with psycopg's ``error``: the deadline's error if that was it.

        A statement cancelled before its limit was cancelled by someone else, and is not ours.
        """
        seconds = self._finish()
        if self.budget is None:
            return None
        if isinstance(error, StatementOverdue):
            return self.budget.exceeded()
        cancelled = isinstance(error, psycopg.errors.QueryCanceled)
        if cancelled and self._limit_ms is not None and seconds * 1_000 >= self._limit_ms:
            return self.budget.exceeded()
        return None

    def _finish(self) -> float:
        seconds = monotonic() - self._started
        self._connection.deadline = None
        if self._kind is Kind.SETTING:
            if _LIMIT_SETTING.search(template_text(self._sql)):
                self._connection.set_by_hand(limited=self.budget is not None)
        elif self._kind is Kind.HOUSEKEEPING:
            self._connection.rolled_back_to_savepoint()
        metrics.db_statement_duration.observe(seconds)
        log = _log.get()
        if log is not None:
            log.add(self._sql, seconds)
        if seconds >= config().database.slow_statement:
            self._log_slow(seconds)
        return seconds

    def _log_slow(self, seconds: float) -> None:
        metrics.db_slow_statements.inc()
        budget = "none" if self._limit_ms is None else f"{self._limit_ms / 1_000:g} s"
        text = " ".join(template_text(self._sql).split())
        if len(text) > _SHOWN:
            text = text[:_SHOWN] + "..."
        logger.warning("SLOW QUERY %.3f s (budget %s): %s", seconds, budget, text)


def _limit_ms(budget: TimeoutContext) -> int:
    """``statement_timeout`` for ``budget``; the usual limit when that is as good as reached.

    "As good" is ``timeouts.reserve``: what the layer above keeps to answer in. It saves a SET for
    every statement that begins some milliseconds after its budget was made.
    """
    remaining = budget.remaining()
    timeouts = config().timeouts
    if remaining >= timeouts.database - timeouts.reserve:
        return int(timeouts.database * 1_000)
    exact = int(remaining * 1_000)
    return exact - exact % _STEP if exact > _FINE else max(exact, 1)
