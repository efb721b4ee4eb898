"""The ASGI application: hits on the event loop, everything else in threads.

=====================  ==========================================================================
a request              is answered
=====================  ==========================================================================
known by its bytes     on the loop, when the cache has its response (the *fast path*)
any other GraphQL      by the service, in a thread
refused before it is   by Django's view, in a thread: all that is no POST of one well-formed
understood             request, and no GET that is a hit
Django's pages         by Django, in a thread (``pages``)
probes, metrics        see ``probes``
=====================  ==========================================================================

Django's middleware is passed by where it would add nothing but headers (``pcf.http.chain``). An
entry that the engine does not know sends every GraphQL request through the whole chain.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.db import close_old_connections
from django.http import HttpResponseBase

from pcf.apps import config, forwarding_headers, thread_count
from pcf.cache import watch
from pcf.cache.gate import gate
from pcf.cache.responses import token_digest
from pcf.cache.stream import RedisStream
from pcf.errors import ClientError
from pcf.execution.recent import Recent
from pcf.http import borders, logs
from pcf.http.arrival import Arrival
from pcf.http.chain import unknown_middleware
from pcf.http.headers import GRAPHQL_PATH
from pcf.http.middleware import attended
from pcf.http.protocol import JSON, GraphQLResponse, make_request, parse_body
from pcf.http.refusals import internal_error, refused
from pcf.http.service import GraphQLService
from pcf.server.answers import Answer, answer_of, headers_of_hit
from pcf.server.connection import Connection, current_connection
from pcf.server.pages import Body, Headers, Pages, Scope, encoded, stream
from pcf.server.probes import Probes
from pcf.server.reading import (
    POST,
    Disconnected,
    ReadRequest,
    Receive,
    headers_of,
    in_origin_form,
    read_body,
    read_request,
)
from pcf.server.repeats import Repeat, Repeats, is_repeatable, origin_of
from pcf.server.threads import Pipe, Threads
from pcf.timeouts import TimeoutContext

Send = Callable[[dict[str, Any]], Awaitable[None]]

logger = logging.getLogger("pcf.http")

REFUSING = 1.0  # seconds to refuse a request whose body did not come in time
_ORIGINS = 64  # whose default headers are remembered; clients choose the Host header
_CLOSE = (b"Connection", b"close")


class Runtime:
    """What one process has while its event loop runs."""

    def __init__(self, service: GraphQLService) -> None:
        settings = config().server
        self.loop = asyncio.get_running_loop()
        self.threads = Threads(
            self.loop, thread_count(), computing=settings.computing, most=settings.max_queued
        )
        self.stream = RedisStream(gate(), self.loop)
        self.repeats: Repeats | None = None  # the access log and traces see every request
        if not (config().logs.access or config().traces.enabled):
            size = config().cache.remembered_requests
            self.repeats = Repeats(service.hits, self.stream, headers_of_hit, size)
        watch.start()

    def close(self) -> None:
        """End what was begun."""
        watch.stop()
        self.threads.close()
        self.stream.close()


class Application:
    """The ASGI application of a process; ``make_service`` is called at every request and may
    remember.

    Its threads and its connection to Redis begin with the lifespan or with the first request, so
    a process that is forked has its own.
    """

    def __init__(self, pages: Pages, make_service: Callable[[], GraphQLService]) -> None:
        self._pages = pages
        self._make_service = make_service
        self._probes = Probes()
        self._started: Runtime | None = None
        self._default_headers: Recent[tuple[Any, ...], tuple[Headers | None]] = Recent(_ORIGINS)
        forwarding = forwarding_headers()
        self._forwarding = tuple(name.decode() for name in forwarding)
        self._origin = frozenset({b"host", *forwarding})
        self._whole_chain = bool(unknown_middleware())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's lifespan."""
        kind = scope["type"]
        if kind == "http":
            path = scope["path"]
            if path[:1] != "/":
                scope = in_origin_form(scope)
                path = scope["path"]
            if path == GRAPHQL_PATH and not self._whole_chain:
                await self._graphql(scope, receive, send)
            elif path in self._probes.paths:
                await self._probes.answer(scope, receive, send)
            else:
                await self._page(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:  # no WebSockets
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._runtime()
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._started is not None:
                    self._started.close()
                    self._started = None
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _runtime(self) -> Runtime:
        if self._started is None:
            self._started = Runtime(self._make_service())
        return self._started

    async def _graphql(self, scope: Scope, receive: Receive, send: Send) -> None:
        runtime = self._started or self._runtime()
        headers = headers_of(scope)
        arrival = Arrival.of(headers)
        logs.request_id.set(arrival.request_id)  # of this request's task, and of its thread
        try:
            body = await read_body(headers, receive, arrival, http1=scope["http_version"][0] == "1")
        except Disconnected:
            return
        origin = self._origin_of(scope, headers)
        read = read_request(scope, headers, body, arrival)
        if read is not None and body.is_whole:
            answer = None
            try:
                answer = await self._hit(runtime, origin, headers, read, arrival)
            except Exception:  # a thread finds the answer, or what is wrong
                with attended(arrival):
                    logger.exception("unexpected error on the event loop")
            if answer is not None:
                await self._send(answer, send)
                return
        work = partial(self._work, scope, headers, body, arrival, origin, read)
        await self._answer(runtime, work, scope, headers, body, arrival, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        arrival = Arrival.of(headers)
        logs.request_id.set(arrival.request_id)  # of this request's task, and of its thread
        try:
            body = await read_body(headers, receive, arrival, http1=scope["http_version"][0] == "1")
        except Disconnected:
            return
        work = partial(self._respond, scope, body, arrival)
        await self._answer(self._runtime(), work, scope, headers, body, arrival, send)

    async def _hit(
        self,
        runtime: Runtime,
        origin: tuple[Any, ...],
        headers: dict[str, str],
        read: ReadRequest,
        arrival: Arrival,
    ) -> Answer | None:
        """The answer where the cache has the response; None when a thread has to tell."""
        defaults = self._default_headers.find(origin)
        if defaults is None or defaults[0] is None:
            return None
        if arrival.timeout.remaining() < config().timeouts.cache:
            return None  # the rest of the time belongs to the answer
        hits = self._make_service().hits
        short = hits.short(read.request, arrival)
        if short is None:
            return None
        known, shortcut = short
        entry = await runtime.stream.entry(shortcut)
        if entry is None:
            return None
        response = hits.response(known, entry, read.request, arrival)
        connection = current_connection()
        if connection is not None and runtime.repeats is not None:
            self._learn(connection, runtime.repeats, headers, read, arrival, defaults[0])
        return answer_of(headers, arrival, response, read.request.media, defaults[0])

    @staticmethod
    def _learn(
        connection: Connection,
        repeats: Repeats,
        headers: dict[str, str],
        read: ReadRequest,
        arrival: Arrival,
        defaults: Headers,
    ) -> None:
        """Have the connection know these bytes the next time."""
        request = read.request
        if arrival.known_as is not None and is_repeatable(headers, request):
            token = token_digest(request.token) if request.token else None
            unsigned, origin = request._replace(token=None), origin_of(headers)
            connection.learn(repeats, Repeat(arrival.known_as, token, unsigned, origin, defaults))

    async def _answer(
        self,
        runtime: Runtime,
        work: Callable[[], Answer],
        scope: Scope,
        headers: dict[str, str],
        body: Body,
        arrival: Arrival,
        send: Send,
    ) -> None:
        """Send what ``work`` returns in a thread, or what is to be said without it."""
        deadline = arrival.timeout
        if body.error is not None:  # perhaps because of the deadline
            deadline = TimeoutContext.start("http", REFUSING)
        with attended(arrival):
            try:
                answer = await runtime.threads.run(work, deadline)
            except ClientError as error:
                answer = answer_of(headers, arrival, refused(error), JSON, [])
            except Exception:
                logger.exception("unexpected error outside of execution")
                answer = answer_of(headers, arrival, internal_error(), JSON, [])
        if not body.is_whole and scope["http_version"][0] == "1":
            # what comes next on this connection is the rest of the body
            answer = answer._replace(headers=[*answer.headers, _CLOSE])
        if answer.stream is not None:
            await self._send_stream(runtime, answer, answer.stream, arrival, send)
        else:
            await self._send(answer, send)

    @staticmethod
    async def _send(answer: Answer, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _send_stream(
        self,
        runtime: Runtime,
        answer: Answer,
        response: HttpResponseBase,
        arrival: Arrival,
        send: Send,
    ) -> None:
        """Send the pieces of a streaming response as a thread makes them.

        Raises what the response raises: the server then ends the connection, by which the client
        knows that the answer is not whole.
        """
        pipe = Pipe(runtime.loop, arrival.timeout)
        making = runtime.loop.create_task(
            runtime.threads.run(partial(stream, response, pipe), arrival.timeout)
        )
        making.add_done_callback(lambda _: pipe.end())
        try:
            await send(
                {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
            )
            while (piece := await pipe.get()) is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await making
        finally:
            pipe.close()
            making.cancel()
            if not pipe.is_begun:  # no thread was free for it
                runtime.loop.run_in_executor(None, response.close)
        await send({"type": "http.response.body", "body": b""})

    # --- in threads

    def _work(
        self,
        scope: Scope,
        headers: dict[str, str],
        body: Body,
        arrival: Arrival,
        origin: tuple[Any, ...],
        read: ReadRequest | None,
    ) -> Answer:
        """Answer a GraphQL request; Django refuses what is none."""
        service = self._make_service()
        if read is not None:
            with attended(arrival):
                defaults = self._defaults(scope, origin)
                if defaults is not None:
                    response = service.hits.answer(read.request, arrival)
                    if response is None and scope["method"] == "POST":
                        response = _execute(service, scope, arrival, read)
                    if response is not None:
                        close_old_connections()
                        return answer_of(headers, arrival, response, read.request.media, defaults)
        try:
            return self._respond(scope, body, arrival)
        finally:
            service.hits.abandon(arrival)

    def _respond(self, scope: Scope, body: Body, arrival: Arrival) -> Answer:
        """Answer as Django does."""
        response = self._pages.respond(scope, body, arrival)
        if not response.streaming:
            try:
                content = bytes(response.content)  # type: ignore[attr-defined]
            finally:
                response.close()
            return Answer(response.status_code, encoded(response), content)
        close_old_connections()  # whatever thread streams has connections of its own
        return Answer(response.status_code, encoded(response), stream=response)

    def _defaults(self, scope: Scope, origin: tuple[Any, ...]) -> Headers | None:
        """The headers that Django's middleware adds to every answer that goes the same way.

        None when middleware does not let such a request through.
        """
        found = self._default_headers.find(origin)
        if found is None:
            found = (self._pages.default_headers(scope, self._origin),)
            self._default_headers.add(origin, found)
        return found[0]

    def _origin_of(self, scope: Scope, headers: dict[str, str]) -> tuple[Any, ...]:
        get = headers.get
        return (
            scope["scheme"],
            scope.get("server"),
            get("host"),
            *[get(name) for name in self._forwarding],
        )


def _execute(
    service: GraphQLService, scope: Scope, arrival: Arrival, read: ReadRequest
) -> GraphQLResponse | None:
    """What the service answers to the one request in a POST; None when it is not just that."""
    try:
        parameters = parse_body(JSON, read.asked[len(POST) :])
        if not isinstance(parameters, dict):
            return None
        request = make_request(parameters, **read.head)
    except ClientError:
        return None
    borders.begin(Application, scope)
    try:
        return service.answer(request, arrival.timeout, arrival)
    except Exception:
        logger.exception("unexpected error outside of execution")
        return internal_error()
    finally:
        borders.end(Application)
