"""Deadlines: one ``TimeoutContext`` for each request, from which each layer derives its own.

All times are seconds on ``time.monotonic()``, so a change of the wall clock moves no deadline.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, copy_context
from functools import wraps
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec, TypeVar

from pcf.errors import ClientError

P = ParamSpec("P")
T = TypeVar("T")


class DeadlineExceeded(ClientError):
    """A layer exceeded its time limit.

    ``layer`` is the layer whose limit was reached, and ``limit`` is that limit in seconds. Two
    attributes are for the log, when they are known. ``statement`` is the fingerprint of the SQL
    statement that ran, and ``path`` is the response path of the field.
    """

    code = "TIMEOUT"
    statement: str | None = None
    path: Sequence[str | int] | None = None

    def __init__(self, layer: str, limit: float) -> None:
        super().__init__(f"The {layer} time limit of {limit:g} s was exceeded")
        self.layer = layer
        self.limit = limit

    @property
    def extensions(self) -> dict[str, Any]:
        """``code``, ``layer`` and ``limit`` in seconds."""
        return {"code": self.code, "layer": self.layer, "limit": self.limit}


class InsufficientTime(DeadlineExceeded):
    """Too little time is left to begin the work of the layer."""

    def __init__(self, layer: str, limit: float) -> None:
        super().__init__(layer, limit)
        self.args = ("Insufficient time remaining",)


class TimeoutContext(NamedTuple):
    """The deadline of one layer; ``child_budget`` derives the deadlines of the layers below.

    ``bound_by`` and ``limit`` name the limit that sets the deadline: the layer's own, or that of an
    outer layer with less time left. ``reserve`` is the time in seconds that the layer keeps for its
    own response; the layers below end earlier by that time. A context is immutable.
    """

    layer: str
    deadline: float
    bound_by: str
    limit: float
    limits: Mapping[str, float] = MappingProxyType({})
    reserve: float = 0.0
    reserves: Mapping[str, float] = MappingProxyType({})

    @classmethod
    def start(
        cls,
        layer: str,
        limit: float,
        *,
        limits: Mapping[str, float] | None = None,
        reserve: float = 0.0,
        reserves: Mapping[str, float] | None = None,
    ) -> "TimeoutContext":
        """Return a new outermost deadline, ``limit`` seconds from now.

        ``limits`` are the limits of the layers below, by name. ``reserve`` is the time that this
        layer keeps for itself. ``reserves`` are the times that the layers below keep, by name; the
        entry ``""`` stands for all other names. A layer without an entry keeps as much as the layer
        above. All values are seconds.
        """
        deadline = monotonic() + limit
        return cls(layer, deadline, layer, limit, limits or {}, reserve, reserves or {})

    def remaining(self) -> float:
        """Return the seconds that are left; 0.0 when the deadline has passed."""
        return max(0.0, self.deadline - monotonic())

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return monotonic() >= self.deadline

    def check(self) -> None:
        """Raise ``DeadlineExceeded`` when the deadline has passed."""
        if monotonic() >= self.deadline:
            raise self.exceeded()

    def exceeded(self) -> DeadlineExceeded:
        """Return the error that names the limit that was reached."""
        return DeadlineExceeded(self.bound_by, self.limit)

    def require(self, seconds: float) -> None:
        """Raise ``InsufficientTime`` when fewer than ``seconds`` are left."""
        if self.deadline - monotonic() < seconds:
            raise InsufficientTime(self.bound_by, self.limit)

    def leaving(self, seconds: float) -> "TimeoutContext":
        """Return a deadline that leaves ``seconds`` of this one, or two thirds of what is left."""
        now = monotonic()
        left = self.deadline - now
        return self._replace(deadline=now + max(left - seconds, left / 3))

    def child_budget(self, layer: str, limit: float | None = None) -> "TimeoutContext":
        """Return the deadline of a layer below: its own limit, within this deadline.

        The child ends ``reserve`` seconds before this deadline (at most a tenth of the time left),
        so this layer can still respond. The limit is ``limit``, or the layer's entry in ``limits``.
        A layer without a limit has all of the time left.
        """
        now = monotonic()
        left = max(0.0, self.deadline - now)
        latest = self.deadline - min(self.reserve, left / 10)
        own = limit if limit is not None else self.limits.get(layer)
        reserves = self.reserves
        kept = reserves.get(layer, reserves.get("", self.reserve)) if reserves else self.reserve
        if own is not None and now + own <= latest:
            return TimeoutContext(layer, now + own, layer, own, self.limits, kept, reserves)
        return TimeoutContext(layer, latest, self.bound_by, self.limit, self.limits, kept, reserves)


_current: ContextVar[TimeoutContext | None] = ContextVar("pcf_timeout", default=None)


def current_timeout() -> TimeoutContext | None:
    """Return the deadline that applies here; None outside a request."""
    return _current.get()


class _Activation:
    """The block of ``activate``; a class, because a generator would cost more in every request."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: TimeoutContext | None) -> None:
        self._context = context

    def __enter__(self) -> TimeoutContext | None:
        self._token = _current.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def activate(context: TimeoutContext | None) -> AbstractContextManager[TimeoutContext | None]:
    """Make ``context`` the current deadline for the block."""
    return _Activation(context)


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """Return ``function`` for use in another thread, with the context variables of this one.

    A new thread has no context variables. The returned function runs with the deadline, the request
    id and all others as they are now. Several threads may call it at the same time. The deadline
    stays the request's. A function that uses the database needs
    ``pcf.database.statements.for_thread``.
    """
    context = copy_context()

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.copy().run(function, *args, **kwargs)

    return run
