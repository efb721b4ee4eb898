"""Deadlines: one ``TimeoutContext`` a request, handed down layer by layer.

All times are seconds on ``time.monotonic()``, so a changed wall clock moves no deadline.
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
    """A layer ran out of its time.

    ``layer`` names the layer whose limit was reached, ``limit`` is that limit in seconds. For the
    log: ``statement`` is the fingerprint of the SQL statement that was cut short, ``path`` the
    response's field that was being executed, where these are known.
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
    """So little is left that the layer's work would not be worth beginning."""

    def __init__(self, layer: str, limit: float) -> None:
        super().__init__(layer, limit)
        self.args = ("Insufficient time remaining",)


class TimeoutContext(NamedTuple):
    """A deadline, the layer it belongs to, and how to derive the layers below.

    ``bound_by`` and ``limit`` say whose limit the deadline really is: the layer's own, or that of
    an outer layer with less time left. ``reserve`` is what the layer keeps for itself, in seconds:
    the layers below end so much earlier.
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
        """A new outermost deadline, ``limit`` seconds from now.

        ``limits`` are the layers' own limits for ``child_budget``. ``reserve`` is what this layer
        keeps for itself; ``reserves`` what the layers below keep: by name, ``""`` for every other
        name, and where that is missing as much as the layer above. All are seconds.
        """
        deadline = monotonic() + limit
        return cls(layer, deadline, layer, limit, limits or {}, reserve, reserves or {})

    def remaining(self) -> float:
        """Seconds left; 0.0 when the deadline has passed."""
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
        """The error that says whose limit was reached."""
        return DeadlineExceeded(self.bound_by, self.limit)

    def require(self, seconds: float) -> None:
        """Raise ``InsufficientTime`` when fewer than ``seconds`` are left."""
        if self.deadline - monotonic() < seconds:
            raise InsufficientTime(self.bound_by, self.limit)

    def child_budget(self, layer: str, limit: float | None = None) -> "TimeoutContext":
        """The deadline of a layer below: its own limit, never later than this one allows.

        The child ends ``reserve`` seconds (at most a tenth of what is left) before this deadline,
        so that this layer can still answer. A layer with neither ``limit`` nor a configured one
        has all that is left.
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
    """The deadline that applies here, or None outside a request."""
    return _current.get()


class _Activation:
    """A class rather than a generator: every request and level goes through it."""

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
    """``function``, to be called in another thread as if it were called here.

    A new thread knows nothing of the request it works for. What is returned runs with the deadline,
    the request id and every other context variable as they are now; it may be called in several
    threads at once. The deadline stays the request's: work that outlives it is cut short. A
    function that asks the database wants ``pcf.database.threads.for_thread``.
    """
    context = copy_context()

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.copy().run(function, *args, **kwargs)

    return run
