"""The statements of a request: their number, their time, repetitions (N+1), undeclared reads.

A read is *declared* when the response records what the statement has read: a loader declares its
statements, and a resolver those of a ``reads`` block. No write removes a response with another
read, so such a response is not stored.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock, current_thread
from time import monotonic
from typing import Any, Protocol, Self, TypeVar, TypeVarTuple

from pcf.database.sql_text import StatementKind, kind_of, normalize, template_text
from pcf.observability import metrics
from pcf.observability.logs import NO_REQUEST, request_id

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger("pcf.n_plus_one")
undeclared_logger = logging.getLogger("pcf.undeclared_reads")

REPORT_INTERVAL = 60.0  # seconds between two reports of undeclared reads at one place
FOREIGN_THREAD = "a thread that does not carry the request (see pcf.database.statements.for_thread)"

ENGINE_THREADS = "pcf-"  # the names of the engine's threads begin so

_adding = Lock()
_reported: dict[str, float] = {}  # places of undeclared reads; the monotonic time of their report


class HasPath(Protocol):
    """The values of one field for a list of parents, with their paths in the response."""

    @property
    def field_name(self) -> str:
        """The name of the field with that of its type: ``Query.notes``."""

    def schema_path(self, index: int, /) -> list[str | int]:
        """Return the path of value number ``index``, with the names of fields."""


@dataclass(slots=True)
class QueryLog:
    """The statements of one request: their number, their seconds, and their texts on demand.

    With ``limit``, ``repeated`` holds each statement that was sent more often than that, and the
    place that exceeded the limit. The executor sets ``place``: the name of a loader, or the values
    of a field. Threads of the request may add statements at the same time.
    """

    count: int = 0
    seconds: float = 0.0
    text_bytes: int = 0  # of large texts, which compiled queries bound
    statements: list[str] | None = field(default=None, repr=False)
    outer: "QueryLog | None" = field(default=None, repr=False)
    limit: int = 0
    place: "str | HasPath | None" = field(default=None, repr=False)
    repeated: dict[str, str] = field(default_factory=dict, repr=False)
    counts: dict[str, int] = field(default_factory=dict, repr=False)

    def add(self, sql: Any, seconds: float) -> None:
        """Add a statement to this log and to the logs around it."""
        with _adding:
            self.count += 1
            self.seconds += seconds
        if self.statements is not None:
            self.statements.append(template_text(sql))
        if self.limit:
            text = template_text(sql)
            count = self.counts[text] = self.counts.get(text, 0) + 1
            if count == self.limit + 1 and kind_of(text) is StatementKind.QUERY:
                self.repeated[text] = self._place_name()
        if self.outer is not None:
            self.outer.add(sql, seconds)

    def _place_name(self) -> str:
        """Return the place as names joined by dots, without positions in lists."""
        if self.place is None:
            return "unknown"
        if isinstance(self.place, str):
            return self.place
        return ".".join(key for key in self.place.schema_path(0) if isinstance(key, str))

    def field_name(self) -> str:
        """Return the place as a field of the schema, or as the name of a loader."""
        if self.place is None or isinstance(self.place, str):
            return self.place or "unknown"
        return self.place.field_name


_log: ContextVar[QueryLog | None] = ContextVar("pcf_query_log", default=None)


def current_log() -> QueryLog | None:
    """Return the log of the statements that are sent here; None when nothing counts them."""
    return _log.get()


class count_queries:  # noqa: N801 - a context manager, used like a function
    """Context manager that counts statements on every connection and of every kind, COPY included.

    Savepoints count; BEGIN, COMMIT and ROLLBACK do not. ``keep_texts`` collects the statements with
    their placeholders. ``limit`` is the number of times that a statement may be sent before the log
    reports it in ``repeated``; 0 is no limit.
    """

    __slots__ = ("_keep_texts", "_limit", "_token")

    def __init__(self, *, keep_texts: bool = False, limit: int = 0) -> None:
        self._keep_texts = keep_texts
        self._limit = limit

    def __enter__(self) -> QueryLog:
        statements: list[str] | None = [] if self._keep_texts else None
        log = QueryLog(statements=statements, outer=_log.get(), limit=self._limit)
        self._token = _log.set(log)
        return log

    def __exit__(self, *_: object) -> None:
        _log.reset(self._token)


@contextmanager
def meant_repetitions() -> Iterator[None]:
    """Count no repetitions in the block: each step of its work sends the same statements."""
    logs, log = [], current_log()
    while log is not None:
        logs.append((log, log.limit))
        log.limit, log = 0, log.outer
    try:
        yield
    finally:
        for log, limit in logs:
            log.limit = limit


class _ForeignReads:
    """Counts the reads of threads that carry no request. The reads may belong to any request."""

    count = 0


class watch_reads:  # noqa: N801 - a context manager, used like a function
    """Context manager that watches for undeclared reads of the block and of the threads it starts.

    Threads take the watch along in their context (``pcf.database.statements.for_thread``).
    """

    __slots__ = ("_foreign_reads", "_place", "_token")

    def __init__(self) -> None:
        self._foreign_reads = _ForeignReads.count
        self._place: str | None = None

    def __enter__(self) -> Self:
        self._token = _watch.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watch.reset(self._token)

    def note(self) -> None:
        """Note an undeclared read at the current place."""
        if self._place is None:
            log = _log.get()
            self._place = "unknown" if log is None else log.field_name()

    @property
    def place(self) -> str | None:
        """The place of the first undeclared read; None without such a read."""
        if self._place is None and self._foreign_reads != _ForeignReads.count:
            return FOREIGN_THREAD
        return self._place


_watch: ContextVar[watch_reads | None] = ContextVar("pcf_read_watch", default=None)


def note_read() -> None:
    """Take note of a statement that may read, unless its reads are declared."""
    watch = _watch.get()
    if watch is not None:
        watch.note()
    elif _log.get() is None and not _is_accounted_for():
        _ForeignReads.count += 1


def note_exchange() -> None:
    """Take note of an exchange with PostgreSQL that may belong to a statement without a timer."""
    watch = _watch.get()
    if watch is not None:
        watch.note()


def _is_accounted_for() -> bool:
    """Return whether this thread belongs to the engine, or to a request without an operation."""
    has_request = request_id.get() != NO_REQUEST
    return has_request or current_thread().name.startswith(ENGINE_THREADS)


def note_reads_of_other_backend(*, connection: Any, **_: Any) -> None:
    """Have a connection note its statements; the receiver of Django's ``connection_created``.

    The connections of ``pcf.database.backend`` note theirs themselves.
    """
    if not hasattr(connection, "commit_outcome") and _noted not in connection.execute_wrappers:
        connection.execute_wrappers.append(_noted)


def _noted(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    """Run a statement of another backend as Django does, and note it."""
    note_read()
    return execute(sql, params, many, context)


def declared(read: Callable[[*Ts], T], *args: *Ts) -> T:
    """Call ``read``, whose reads the caller declares, and return what it returns."""
    token = _watch.set(None)
    try:
        return read(*args)
    finally:
        _watch.reset(token)


class declared_reads:  # noqa: N801 - a context manager, used like a function
    """Context manager for statements whose reads the caller declares."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _watch.set(None)

    def __exit__(self, *_: object) -> None:
        _watch.reset(self._token)


def undeclared_kind(kinds: Iterable[str]) -> str:
    """Return the place of a read whose dependency has one of these ``kinds``."""
    return f"the kind {min(kinds)}, which no Touch declares"


def report_undeclared_read(place: str) -> None:
    """Log that a response is not stored, once in ``REPORT_INTERVAL`` seconds for each place."""
    now = monotonic()
    if now - _reported.get(place, -REPORT_INTERVAL) < REPORT_INTERVAL:
        return
    _reported[place] = now
    undeclared_logger.warning(
        "responses are not stored: undeclared read at %s", place, extra={"fields": {"place": place}}
    )


def report_n_plus_one(queries: QueryLog) -> None:
    """Log and count the statements that a request sent too often.

    The place is the field whose resolver, or the loader whose batch, exceeded the limit.
    """
    metrics.db_repeated_statements.inc()
    for statement, place in queries.repeated.items():
        times, text = queries.counts[statement], normalize(statement)
        logger.warning(
            "N+1 at %s: %d times %s",
            place,
            times,
            text,
            extra={"fields": {"place": place, "times": times, "statement": text}},
        )
