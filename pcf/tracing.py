"""Traces by OpenTelemetry, where they are switched on; nothing of it is imported otherwise.

A span says what was done and how much of it: kinds, names that code chooses, numbers, the shapes of
statements. Never a viewer, a key, a variable or the text of a document.

Off, ``span`` hands out one object that does nothing and ``record`` returns at once. When exporting
fails, spans are lost and requests are not affected: the SDK exports from a thread of its own and
drops what its queue cannot hold.
"""

from contextlib import AbstractContextManager, nullcontext
from time import time_ns
from typing import Any

_NOTHING: AbstractContextManager[None] = nullcontext()


class Tracing:
    """The process's tracer: None until ``use`` is called, once, at the start."""

    def __init__(self) -> None:
        self.tracer: Any = None

    def use(self, tracer: Any) -> None:
        """Trace with ``tracer``, an OpenTelemetry ``Tracer``; None switches it off."""
        self.tracer = tracer


tracing = Tracing()


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """A span around a block, the parent of those that begin inside it."""
    if tracing.tracer is None:
        return _NOTHING
    opened: AbstractContextManager[Any] = tracing.tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False
    )
    return opened


def record(name: str, seconds: float, **attributes: str | int) -> None:
    """A span of work that has just ended and took ``seconds``."""
    if tracing.tracer is None:
        return
    ended = time_ns()
    started = ended - int(seconds * 1e9)
    tracing.tracer.start_span(name, start_time=started, attributes=attributes).end(ended)
