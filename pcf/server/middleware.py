"""ASGI middleware around the whole application: the access log and the traces.

``pcf.asgi`` adds each of them only where the settings ask for it (``logs.access``,
``traces.enabled``). Both see every request, so the fast path is off then.
"""

import logging
from time import perf_counter
from typing import Any

from pcf.observability.logs import log_fields, safe_method, safe_path
from pcf.observability.tracing import tracing
from pcf.server.messages import ASGIApplication, Receive, Scope, Send

logger = logging.getLogger("pcf.access")

_FIELDS_OF_HEADERS = {
    b"content-length": "bytes",
    b"cache-status": "cache",
    b"x-request-id": "request_id",
}


class AccessLogMiddleware:
    """An ASGI application that logs one line for each request to ``application``.

    The duration ends when the application has passed the last byte to the server. A request whose
    application raises has its line too.
    """

    def __init__(self, application: ASGIApplication) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and log the answer."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started = perf_counter()
        fields: dict[str, Any] = {}
        token = log_fields.set(fields)

        async def send_and_note(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                _note_start(fields, message)
            await send(message)

        try:
            await self._application(scope, receive, send_and_note)
        finally:
            log_fields.reset(token)
            _log(scope, fields, started)


def _note_start(fields: dict[str, Any], message: dict[str, Any]) -> None:
    fields["status"] = message["status"]
    for name, value in message["headers"]:
        field = _FIELDS_OF_HEADERS.get(name.lower())
        if field is not None:
            fields[field] = int(value) if field == "bytes" else value.decode("latin-1")


def _log(scope: Scope, fields: dict[str, Any], started: float) -> None:
    fields["method"] = safe_method(scope["method"])
    fields["path"] = safe_path(scope["path"])
    fields["seconds"] = round(perf_counter() - started, 6)
    request_id = fields.pop("request_id", "-")
    logger.info(
        "%s %s %s",
        fields["method"],
        fields["path"],
        fields.get("status", "-"),
        extra={"fields": fields, "request_id": request_id},
    )


class TracingMiddleware:
    """An ASGI application that runs ``application`` in a span.

    The span continues the client's trace (W3C Trace Context, header ``traceparent``). The client
    decides whether its trace is sampled, so a proxy should remove the header of unknown clients.

    When no tracer has started, requests run without a span.
    """

    def __init__(self, application: ASGIApplication) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application in a span."""
        if tracing.tracer is None or scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 (an optional extra)
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        parent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        method, route = safe_method(scope["method"]), safe_path(scope["path"])
        with tracing.tracer.start_as_current_span(
            f"{method} {route}",
            context=TraceContextTextMapPropagator().extract({"traceparent": parent}),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
            record_exception=False,
        ) as span:

            async def send_and_note(message: dict[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._application(scope, receive, send_and_note)
