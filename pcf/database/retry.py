"""Repeating what failed: the engine's one backoff policy, and what may be repeated at all."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from random import uniform
from time import sleep

import psycopg

from pcf.compute import slot_released
from pcf.timeouts import TimeoutContext

LOST_STATES = {
    "57P01": "admin_shutdown",
    "57P02": "crash_shutdown",
    "57P03": "cannot_connect_now",
}
CONNECTION_LOST = "connection_lost"
OUT_OF_RESOURCES = ("53", "58")  # classes of SQLSTATE: insufficient resources, system error
ABORTED_STATES = {  # the server rolled back for the sake of another transaction
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
}
REASONS = (*LOST_STATES.values(), CONNECTION_LOST, *ABORTED_STATES.values())


class Commit(Enum):
    """How far a transaction came with its COMMIT."""

    NOT_SENT = "nothing is committed; so it is, too, when the server answered with an error"
    UNKNOWN = "sent, and the connection lost before the answer"
    DONE = "the server said so"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter: each pause is uniform in [0, initial * 2 ** n].

    ``initial`` and ``maximum`` are seconds, ``attempts`` is how many repetitions there may be.
    """

    initial: float
    maximum: float
    attempts: int
    jitter: Callable[[float, float], float] = uniform
    sleep: Callable[[float], object] = sleep

    def pause(self, attempt: int) -> float:
        """Seconds to wait before repetition number ``attempt``, counted from 0."""
        ceiling = self.initial * 2 ** min(attempt, 30)
        return self.jitter(0.0, min(self.maximum, ceiling))

    def repetitions(self, context: TimeoutContext | None) -> Iterator[int]:
        """Sleep, then yield the number of the repetition; end when attempts or time run out.

        Never sleeps up to or past the deadline of ``context``.
        """
        for attempt in range(self.attempts):
            seconds = self.pause(attempt)
            if context is not None and seconds >= context.remaining():
                return
            with slot_released():
                self.sleep(seconds)
            yield attempt


_idempotent: ContextVar[bool] = ContextVar("pcf_idempotent_reads", default=False)


@contextmanager
def idempotent_reads(active: bool = True) -> Iterator[None]:
    """Declare that the SELECTs of the block have no side effects and may be sent twice.

    PostgreSQL cannot be asked: a function in a SELECT may write. Meant for GraphQL queries, whose
    fields the specification (section 6.2.1) requires to be free of side effects.
    """
    token = _idempotent.set(active)
    try:
        yield
    finally:
        _idempotent.reset(token)


_SIDE_EFFECTS = re.compile(
    r";|\b(insert|update|delete|merge|into|nextval|setval|set_config|dblink\w*|lo_\w+|pg_\w*lock\w*"
    r"|pg_notify|pg_terminate_backend|pg_cancel_backend|for\s+(no\s+key|key|share))\b",
    re.IGNORECASE,
)
_READ = re.compile(r"[\s(]*(select|with|values|table)\b", re.IGNORECASE)


def may_repeat(sql: str) -> bool:
    """Whether ``sql`` was declared to be an idempotent read and looks like one.

    Errs on the safe side: a text that contains a suspicious word, even in a literal, may not.
    """
    return _idempotent.get() and bool(_READ.match(sql)) and not _SIDE_EFFECTS.search(sql)


def lost_reason(error: BaseException | None, connection: object) -> str | None:
    """Why the connection is gone, one of ``REASONS``; None when ``error`` means something else."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return None
    state = error.sqlstate or ""
    if state in LOST_STATES:
        return LOST_STATES[state]
    if state.startswith("08") or getattr(connection, "closed", False):
        return CONNECTION_LOST
    return None


def is_out_of_resources(error: BaseException | None) -> bool:
    """Whether the server lacks something that only its operator can give: disk, memory, files."""
    state = getattr(error, "sqlstate", None) or ""
    return state.startswith(OUT_OF_RESOURCES)
