"""The ASGI application: GraphQL, the pages of Django, the probes; the middleware around it.

The fast path (``fast_path``) answers GraphQL requests in their usual form without the messages of
ASGI. The application gets all other requests, and those of servers other than gunicorn.

``pcf.asgi`` adds a middleware only where the settings ask for it: the access log
(``logs.access``), the traces (``traces.enabled``). Both see every request, so the fast path is off
then.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from django.http import HttpResponseBase

from pcf.cache import outbox_relay
from pcf.cache.async_redis import AsyncRedis
from pcf.cache.redis_gateway import redis_gateway
from pcf.conf import config, graphql_path, thread_count
from pcf.http.middleware import unknown_middleware
from pcf.http.request_state import RequestState
from pcf.http.service import GraphQLService
from pcf.observability import logs
from pcf.observability.tracing import tracing
from pcf.server.connection import current_connection
from pcf.server.django_handler import DjangoHandler, send_chunks
from pcf.server.endpoint import GraphQLEndpoint, run_in_thread
from pcf.server.fast_path import FastPath
from pcf.server.messages import (
    CONNECTION_CLOSE,
    Answer,
    ASGIApplication,
    Disconnected,
    Receive,
    ReceivedRequest,
    Scope,
    Send,
    headers_of,
    in_origin_form,
    read_body,
    read_request,
    send_answer,
)
from pcf.server.probes import Probes
from pcf.server.threads import ChunkQueue, RequestThreads
from pcf.timeouts import TimeoutContext

logger = logging.getLogger("pcf.access")


class ProcessState:
    """The threads, the connection to Redis and the fast path of one process with an event loop."""

    def __init__(self, endpoint: GraphQLEndpoint) -> None:
        settings = config().server
        self.loop = asyncio.get_running_loop()
        self.threads = RequestThreads(
            self.loop,
            thread_count(),
            computing=settings.computing,
            max_queued=settings.max_queued,
            greenlets=settings.greenlets,
        )
        self.redis = AsyncRedis(redis_gateway(), self.loop)
        self.fast_path: FastPath | None = None  # the access log and traces need every request
        if not (config().logs.access or config().traces.enabled):
            self.fast_path = FastPath(endpoint, self.redis, self.threads)
        outbox_relay.start()

    def close(self) -> None:
        """Stop the relay, end the threads after their jobs, and close the connection to Redis."""
        outbox_relay.stop()
        self.threads.close()
        self.redis.close()


class Application:
    """The ASGI application of a process.

    The process state begins with the lifespan or with the first request, so each forked process has
    its own. When Redis does not answer, threads answer from PostgreSQL. When a thread does not
    return, the client gets its timeout at the deadline.
    """

    def __init__(
        self, django_handler: DjangoHandler, make_service: Callable[[], GraphQLService]
    ) -> None:
        """Serve ``make_service()``; the endpoint calls it for every request."""
        self._django_handler = django_handler
        self._make_service = make_service
        self._endpoint = GraphQLEndpoint(django_handler, make_service)
        self._probes = Probes()
        self._graphql_path = graphql_path()
        self._process: ProcessState | None = None
        self._needs_whole_chain = bool(unknown_middleware())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's lifespan."""
        kind = scope["type"]
        if kind == "http":
            path = scope["path"]
            if path[:1] != "/":
                scope = in_origin_form(scope)
                path = scope["path"]
            if path == self._graphql_path and not self._needs_whole_chain:
                await self._respond(scope, receive, send, is_graphql=True)
            elif path in self._probes.paths:
                await self._probes.answer(scope, receive, send)
            else:
                await self._respond(scope, receive, send, is_graphql=False)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:  # there are no WebSockets
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._start_process()
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._process is not None:
                    self._process.close()
                    self._process = None
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _start_process(self) -> ProcessState:
        if self._process is None:
            self._make_service()  # a wrong schema fails the start
            self._process = ProcessState(self._endpoint)
        return self._process

    # --- on the event loop

    async def _respond(
        self, scope: Scope, receive: Receive, send: Send, *, is_graphql: bool
    ) -> None:
        process = self._process or self._start_process()
        headers = headers_of(scope)
        state = RequestState.from_headers(headers)
        logs.request_id.set(state.request_id)  # for the request's task and its thread
        http1 = scope["http_version"][0] == "1"
        try:
            body = await read_body(headers, receive, state.timeout, http1=http1)
        except Disconnected:
            return
        received = ReceivedRequest(scope, headers, body, state)
        if is_graphql:
            if process.fast_path is not None:
                _teach(process.fast_path, received)
            answer = await self._answer_graphql(process, received)
        else:
            work = partial(self._django_handler.answer, received)
            answer = await run_in_thread(process.threads, work, received)
        if http1 and not body.is_whole:  # the next bytes are the rest of the body
            answer = answer._replace(headers=[*answer.headers, CONNECTION_CLOSE])
        if answer.stream is not None:
            await self._send_stream(process, answer, answer.stream, state.timeout, send)
        else:
            await send_answer(answer, send)

    async def _answer_graphql(self, process: ProcessState, received: ReceivedRequest) -> Answer:
        unparsed = read_request(received)
        if unparsed is not None and received.body.is_whole:
            question = self._endpoint.question(received, unparsed)
            if question is not None:
                run_id, replies = await process.redis.replies(question.direct_read)
                answer = self._endpoint.hit(question, run_id, replies, received, unparsed)
                if answer is not None:
                    return answer
        return await self._endpoint.answer_in_thread(process.threads, received, unparsed)

    @staticmethod
    async def _send_stream(
        process: ProcessState,
        answer: Answer,
        response: HttpResponseBase,
        deadline: TimeoutContext,
        send: Send,
    ) -> None:
        """Send the chunks of a streaming response while a thread produces them.

        Raises what the response raises. The server then ends the connection, so the client knows
        that the answer is incomplete.
        """
        chunks = ChunkQueue(process.loop, deadline)
        producer = process.loop.create_task(
            process.threads.run(partial(send_chunks, response, chunks), deadline)
        )
        producer.add_done_callback(lambda _: chunks.end())
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status,
                    "headers": answer.all_headers,
                }
            )
            while (chunk := await chunks.get()) is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await producer
        finally:
            chunks.close()
            producer.cancel()
            if not chunks.has_producer:  # no thread was free, so none closes the response
                process.loop.run_in_executor(None, response.close)
        await send({"type": "http.response.body", "body": b""})


def _teach(fast_path: FastPath, received: ReceivedRequest) -> None:
    """Tell the fast path of this request's connection and scope."""
    connection = current_connection()
    if connection is not None and received.scope["http_version"] == "1.1":
        connection.teach(fast_path, received.scope, received.headers)


# --- the access log and the traces, around the application

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
        token = logs.log_fields.set(fields)

        async def send_and_note(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                _note_start(fields, message)
            await send(message)

        try:
            await self._application(scope, receive, send_and_note)
        finally:
            logs.log_fields.reset(token)
            _log(scope, fields, started)


def _note_start(fields: dict[str, Any], message: dict[str, Any]) -> None:
    fields["status"] = message["status"]
    for name, value in message["headers"]:
        field = _FIELDS_OF_HEADERS.get(name.lower())
        if field is not None:
            fields[field] = int(value) if field == "bytes" else value.decode("latin-1")


def _log(scope: Scope, fields: dict[str, Any], started: float) -> None:
    fields["method"] = logs.safe_method(scope["method"])
    fields["path"] = logs.safe_path(scope["path"])
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
        method, route = logs.safe_method(scope["method"]), logs.safe_path(scope["path"])
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
