"""The span of an HTTP request, and the tracer behind all spans (OpenTelemetry, an extra)."""

from typing import Any

from pcf.config import Traces
from pcf.http.access import METHODS, Application, shown_path
from pcf.tracing import tracing


def start_tracing(settings: Traces, exporter: Any = None) -> None:
    """Trace from now on, a share of ``settings.sampled`` of the requests that bring no decision.

    Where to is OpenTelemetry's own settings (``OTEL_EXPORTER_OTLP_ENDPOINT`` and so on); an
    ``exporter`` is given spans at once instead. Raises ImportError where requirements-otel.txt is
    not installed.
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


class Traced:
    """An ASGI application in a span that continues the caller's trace (W3C ``traceparent``).

    A caller that sampled its trace is followed, so let the proxy in front drop the header where
    strangers can send it.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """As ASGI's."""
        if tracing.tracer is None or scope["type"] != "http":  # or nobody started the tracer
            await self._application(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 (an optional extra)
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        parent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = shown_path(scope["path"])
        with tracing.tracer.start_as_current_span(
            f"{method} {route}",
            context=TraceContextTextMapPropagator().extract({"traceparent": parent}),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
            record_exception=False,
        ) as opened:

            async def told(message: dict[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    opened.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._application(scope, receive, told)
