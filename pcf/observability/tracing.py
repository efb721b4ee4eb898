"""Traces by OpenTelemetry; nothing of OpenTelemetry is imported while they are off.

A span holds kinds, names that the code chooses, numbers, and statements without their parameters.
It never holds a viewer, a cache key, a variable or the text of a document.

While traces are off, ``span`` returns one shared object that does nothing, and ``record`` returns
at once. When the export fails, spans are lost and requests are not affected: the SDK exports in its
own thread and drops what its queue cannot hold.
"""

from contextlib import AbstractContextManager, nullcontext
from time import time_ns
from typing import Any

from pcf.conf.sections import TraceSettings

_NO_SPAN: AbstractContextManager[None] = nullcontext()


class Tracing:
    """The tracer of the process; None until ``use`` is called, once, at the start."""

    def __init__(self) -> None:
        self.tracer: Any = None

    def use(self, tracer: Any) -> None:
        """Trace with ``tracer``, an OpenTelemetry ``Tracer``; None switches traces off."""
        self.tracer = tracer


tracing = Tracing()


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """Return a context manager that puts a block into a span.

    Spans that begin inside the block are its children.
    """
    if tracing.tracer is None:
        return _NO_SPAN
    opened: AbstractContextManager[Any] = tracing.tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False
    )
    return opened


def record(name: str, seconds: float, **attributes: str | int) -> None:
    """Record a span of work that took ``seconds`` and ends now."""
    if tracing.tracer is None:
        return
    ended = time_ns()
    started = ended - int(seconds * 1e9)
    tracing.tracer.start_span(name, start_time=started, attributes=attributes).end(ended)


def start_tracing(settings: TraceSettings, exporter: Any = None) -> None:
    """Trace a share of ``settings.sampled`` of the requests whose client made no decision.

    OpenTelemetry's own settings say where the spans go (``OTEL_EXPORTER_OTLP_ENDPOINT`` and so on).
    An ``exporter`` gets each span at once instead. Raises ImportError without the packages of
    requirements-otel.txt.
    """
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 (an optional extra)
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        SimpleSpanProcessor,
    )
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sampled)),
        resource=Resource.create({"service.name": "pcf"}),
    )
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracing.use(provider.get_tracer("pcf"))
