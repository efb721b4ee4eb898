"""The engine's backoff policy, and the rules for statements that may be sent again."""

import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from random import uniform

import psycopg

from pcf.conf import config
from pcf.greenlets import pause
from pcf.timeouts import TimeoutContext

LOST_STATES = {  # SQLSTATE: the server ends the connection
    "57P01": "admin_shutdown",
    "57P02": "crash_shutdown",
    "57P03": "cannot_connect_now",
}
CONNECTION_LOST = "connection_lost"
ABORTED_STATES = {  # SQLSTATE of a rollback in favour of others; only transactions are sent again
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
}
READ_ONLY = "read_only_sql_transaction"

_READ_ONLY_STATE = "25006"
_OUT_OF_RESOURCES = ("53", "58")  # classes of SQLSTATE: insufficient resources, system error


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter: each delay is uniform in [0, initial * 2 ** n].

    ``initial`` and ``maximum`` are seconds, ``attempts`` is the largest number of retries. When
    attempts or time run out, the retries end and the caller raises the last error.
    """

    initial: float
    maximum: float
    attempts: int
    jitter: Callable[[float, float], float] = uniform
    sleep: Callable[[float], object] = pause

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait before retry number ``attempt``, counted from 0."""
        ceiling = self.initial * 2 ** min(attempt, 30)
        return self.jitter(0.0, min(self.maximum, ceiling))

    def retries(self, context: TimeoutContext | None) -> Iterator[int]:
        """Sleep before each retry and yield its number, until attempts or time run out.

        A sleep never reaches the deadline of ``context``.
        """
        for attempt in range(self.attempts):
            seconds = self.delay(attempt)
            if context is not None and seconds >= context.remaining():
                return
            self.sleep(seconds)
            yield attempt


def backoff() -> Backoff:
    """Return the backoff policy for the database, as configured now."""
    database = config().database
    return Backoff(
        initial=database.backoff_initial,
        maximum=database.backoff_max,
        attempts=database.retry_attempts,
    )


_idempotent: ContextVar[bool] = ContextVar("pcf_idempotent_reads", default=False)


class idempotent_reads:  # noqa: N801 - a context manager, used like a function
    """Context manager which declares that its SELECTs have no side effects and may be sent twice.

    PostgreSQL does not tell: a function in a SELECT may write. The declaration is for GraphQL
    queries, whose fields must be free of side effects (GraphQL specification, section 6.2.1).
    """

    __slots__ = ("_active", "_token")

    def __init__(self, active: bool = True) -> None:
        self._active = active

    def __enter__(self) -> None:
        self._token = _idempotent.set(self._active)

    def __exit__(self, *_: object) -> None:
        _idempotent.reset(self._token)


_SIDE_EFFECTS = re.compile(
    r";|\b(insert|update|delete|merge|into|nextval|setval|set_config|dblink\w*|lo_\w+|pg_\w*lock\w*"
    r"|pg_notify|pg_terminate_backend|pg_cancel_backend|for\s+(no\s+key|key|share))\b",
    re.IGNORECASE,
)
_READ = re.compile(r"[\s(]*(select|with|values|table)\b", re.IGNORECASE)


def may_retry(sql: str) -> bool:
    """Return whether ``sql`` was declared to be an idempotent read and looks like one.

    The check is conservative: a word that may write forbids the retry, even inside a literal.
    """
    return _idempotent.get() and bool(_READ.match(sql)) and not _SIDE_EFFECTS.search(sql)


def lost_reason(error: BaseException | None, connection: object) -> str | None:
    """Return the reason why the connection was lost; None when ``error`` has another cause."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return None
    state = error.sqlstate or ""
    if state in LOST_STATES:
        return LOST_STATES[state]
    if state.startswith("08") or getattr(connection, "closed", False):
        return CONNECTION_LOST
    return None


def is_read_only(error: BaseException | None) -> bool:
    """Return whether the server refused a write because its transactions are read-only.

    ``error`` is psycopg's, or an error with psycopg's among its causes.
    """
    while error is not None and getattr(error, "sqlstate", None) != _READ_ONLY_STATE:
        error = error.__cause__
    return error is not None


def is_out_of_resources(error: BaseException | None) -> bool:
    """Return whether the server lacks disk space, memory or another resource."""
    state = getattr(error, "sqlstate", None) or ""
    return state.startswith(_OUT_OF_RESOURCES)
