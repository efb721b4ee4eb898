"""The GraphQL endpoint of the server: on the event loop, in greenlets, and in threads.

=================================  ===============================================================
a request to the endpoint          is answered
=================================  ===============================================================
a hit on a known request           on the event loop
a short query of the fast path     in a greenlet on the event loop, by the service
a POST of one GraphQL request,     in a thread, by the service
a GET that is a hit
any other                          in a thread, by Django's view, which answers or refuses it
=================================  ===============================================================

GraphQL requests skip Django's middleware where it would only add headers
(``pcf.http.middleware``). If the settings list a middleware that the engine does not know, every
GraphQL request goes through the whole chain.
"""

import logging
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

from pcf.cache.entries import DirectRead
from pcf.cache.keys import token_digest
from pcf.conf import config, forwarding_headers
from pcf.errors import ClientError
from pcf.http import middleware
from pcf.http.error_responses import error_response, internal_error_response
from pcf.http.known_requests import KnownRequest
from pcf.http.middleware import activate_request
from pcf.http.request import JSON, GraphQLRequest, make_request, parse_body
from pcf.http.request_state import EarlyLookup, ReadOperation
from pcf.http.response import GraphQLResponse
from pcf.http.service import GraphQLService
from pcf.lru import LRUCache
from pcf.observability import logs
from pcf.server.django_handler import DjangoHandler
from pcf.server.messages import (
    Answer,
    Headers,
    OriginKey,
    ReceivedRequest,
    Scope,
    UnparsedRequest,
    answer_of,
)
from pcf.server.threads import RequestThreads
from pcf.timeouts import TimeoutContext

logger = logging.getLogger("pcf.http")

REFUSAL_TIME = 1.0  # seconds for the refusal of a request whose body came too late
MAX_SHORT_BYTES = 16_384  # of the body of a short request: the event loop parses it
_MAX_ORIGINS = 64  # origin keys with remembered default headers; clients choose the Host header


class CacheQuestion(NamedTuple):
    """What the event loop asks the cache: a known request and the commands that read its response.

    ``default_headers`` are the headers of the answer that Django's middleware adds.
    """

    known: KnownRequest
    direct_read: DirectRead
    default_headers: Headers


class GraphQLEndpoint:
    """Answers GraphQL requests whose headers and body are there; used on the loop and in threads.

    When Redis does not answer, threads answer from PostgreSQL.
    """

    def __init__(
        self, django_handler: DjangoHandler, make_service: Callable[[], GraphQLService]
    ) -> None:
        self._django_handler = django_handler
        self._make_service = make_service
        self._default_headers: LRUCache[OriginKey, tuple[Headers | None]] = LRUCache(_MAX_ORIGINS)
        proxy_headers = forwarding_headers()
        self._proxy_headers = tuple(name.decode() for name in proxy_headers)
        self._origin_headers = frozenset({b"host", *proxy_headers})

    # --- on the event loop

    def question(
        self, received: ReceivedRequest, unparsed: UnparsedRequest
    ) -> CacheQuestion | None:
        """Return what to ask the cache on the event loop; None where a thread has to answer."""
        try:
            return self._question(received, unparsed)
        except Exception:  # a thread answers, and reports a lasting error
            with activate_request(received.state):
                logger.exception("unexpected error before the question to the cache")
            return None

    def _question(
        self, received: ReceivedRequest, unparsed: UnparsedRequest
    ) -> CacheQuestion | None:
        request, state = unparsed.request, received.state
        (default_headers,) = self._default_headers.get(self._origin_key(received)) or (None,)
        if default_headers is None:
            return None
        if state.timeout.remaining() < config().timeouts.cache:
            return None  # the thread needs the rest of the time
        token = token_digest(request.token) if request.token else None
        known_requests = self._make_service().known_requests
        found = known_requests.direct_read(state.raw_digest, token, request)
        return None if found is None else CacheQuestion(*found, default_headers)

    def hit(
        self,
        question: CacheQuestion,
        run_id: bytes,
        replies: list[Any] | None,
        received: ReceivedRequest,
        unparsed: UnparsedRequest,
    ) -> Answer | None:
        """Return the answer to a cache hit. Return None for a miss: a thread has to answer.

        ``run_id`` and ``replies`` are what ``AsyncRedis.read`` gives its callback.
        """
        if replies is None:
            return None
        request, state = unparsed.request, received.state
        try:
            entry = question.direct_read.read(run_id, replies)
            if entry is None:
                return None
            known_requests = self._make_service().known_requests
            response = known_requests.respond(question.known, entry, request, state)
            origin = received.headers.get("origin")
            return answer_of(origin, state, response, request.media, question.default_headers)
        except Exception:  # a thread answers, and reports a lasting error
            with activate_request(state):
                logger.exception("unexpected error on the event loop")
            return None

    async def answer_in_thread(
        self,
        threads: RequestThreads,
        received: ReceivedRequest,
        unparsed: UnparsedRequest | None,
    ) -> Answer:
        """Return the answer of a thread."""
        return await run_in_thread(threads, partial(self._answer, received, unparsed), received)

    def start_short(
        self,
        threads: RequestThreads,
        received: ReceivedRequest,
        unparsed: UnparsedRequest,
        send: Callable[[Answer], None],
    ) -> Callable[[], None] | None:
        """Have a greenlet answer a short query (``pcf.http.short_queries``), then call ``send``.

        Returns a function that cancels the request; None for a request that is no short query.
        """
        if (short := self._read_short(received, unparsed)) is None:
            return None
        state = received.state
        context = copy_context()
        context.run(logs.request_id.set, state.request_id)

        def on_done(answer: Answer | None, error: Exception | None) -> None:
            if answer is None:
                answer = context.copy().run(_error_answer, received, error)
            send(answer)

        try:
            work = partial(self._answer_short, received, *short)
            return threads.start_short(work, state.timeout, context, on_done).cancel
        except ClientError as error:  # Overloaded
            on_done(None, error)
            return lambda: None

    def _read_short(
        self, received: ReceivedRequest, unparsed: UnparsedRequest
    ) -> tuple[GraphQLRequest, ReadOperation, Headers] | None:
        body = received.body
        if received.scope["method"] != "POST" or len(body.content) > MAX_SHORT_BYTES:
            return None
        (default_headers,) = self._default_headers.get(self._origin_key(received)) or (None,)
        if default_headers is None or not middleware.only_django_listens():
            return None
        digest, short_queries = received.state.raw_digest, self._make_service().short_queries
        try:
            short = short_queries.known(digest, unparsed.request)
            if short is None:
                request = _parse(received, unparsed)
                short = request and short_queries.read(request, digest)
        except Exception:  # a thread answers, and reports a lasting error
            with activate_request(received.state):
                logger.exception("unexpected error before a short request")
            return None
        return None if short is None else (*short, default_headers)

    def _origin_key(self, received: ReceivedRequest) -> OriginKey:
        return received.origin_key or self.origin_key(received.scope, received.headers)

    def origin_key(self, scope: Scope, headers: Mapping[str, str]) -> OriginKey:
        """Return what the headers that middleware adds to an answer depend on."""
        get = headers.get
        return (
            scope["scheme"],
            scope.get("server"),
            get("host"),
            *[get(name) for name in self._proxy_headers],
        )

    # --- in threads

    def _answer(self, received: ReceivedRequest, unparsed: UnparsedRequest | None) -> Answer:
        """Answer by the service, or by Django's view where it has to refuse."""
        service = self._make_service()
        state = received.state
        if unparsed is not None:
            request = unparsed.request
            with activate_request(state):
                default_headers = self._find_default_headers(received)
                if default_headers is not None:
                    response = service.known_requests.answer(request, state)
                    if isinstance(response, EarlyLookup):
                        state.early_lookup, response = response, None
                    if response is None and received.scope["method"] == "POST":
                        parsed = _parse(received, unparsed)
                        response = parsed and _execute(service, received, parsed)
                    if response is not None:
                        origin = received.headers.get("origin")
                        return answer_of(origin, state, response, request.media, default_headers)
        try:
            return self._django_handler.answer(received)
        finally:
            service.known_requests.abandon(state)

    def _answer_short(
        self, received: ReceivedRequest, request: GraphQLRequest, read: ReadOperation,
        default_headers: Headers,
    ) -> Answer:  # fmt: skip
        """Answer a short request by the service; called in a greenlet."""
        service, state = self._make_service(), received.state
        try:
            with activate_request(state):
                response = service.known_requests.answer(request, state)
                if response is None or isinstance(response, EarlyLookup):
                    state.early_lookup = response
                    response = _execute(service, received, request, read)
                origin = received.headers.get("origin")
                return answer_of(origin, state, response, request.media, default_headers)
        finally:
            service.known_requests.abandon(state)

    def _find_default_headers(self, received: ReceivedRequest) -> Headers | None:
        """Return the headers that Django's middleware adds to every answer with this origin key.

        Returns None when the middleware refuses such a request.
        """
        origin_key = self._origin_key(received)
        found = self._default_headers.get(origin_key)
        if found is None:
            found = (self._django_handler.default_headers(received.scope, self._origin_headers),)
            self._default_headers.set(origin_key, found)
        return found[0]


async def run_in_thread(
    threads: RequestThreads, work: Callable[[], Answer], received: ReceivedRequest
) -> Answer:
    """Return what ``work`` returns in a thread, or the answer to its failure."""
    state = received.state
    deadline = state.timeout
    if received.body.error is not None:  # possibly because the deadline is over
        deadline = TimeoutContext.start("http", REFUSAL_TIME)
    with activate_request(state):
        try:
            return await threads.run(work, deadline)
        except Exception as error:  # noqa: BLE001 - the client gets an answer to it
            return _error_answer(received, error)


def _error_answer(received: ReceivedRequest, error: Exception | None) -> Answer:
    """Return the answer to a failure of the work for a request; log an unexpected one."""
    response: GraphQLResponse
    if isinstance(error, ClientError):
        response = error_response(error)
    else:
        logger.error("unexpected error outside of execution", exc_info=error)
        response = internal_error_response()
    return answer_of(received.headers.get("origin"), received.state, response, JSON, [])


def _parse(received: ReceivedRequest, unparsed: UnparsedRequest) -> GraphQLRequest | None:
    """Return the request of a POST. Return None unless it holds one valid request."""
    try:
        parameters = parse_body(JSON, received.body.content)
        return make_request(parameters, **unparsed.fields) if isinstance(parameters, dict) else None
    except ClientError:
        return None


def _execute(
    service: GraphQLService, received: ReceivedRequest, request: GraphQLRequest,
    read: ReadOperation | None = None,
) -> GraphQLResponse:  # fmt: skip
    """Return the service's response to the request of a POST."""
    middleware.send_request_started(GraphQLEndpoint, received.scope)
    try:
        return service.answer(request, received.state.timeout, received.state, read=read)
    except Exception:
        logger.exception("unexpected error outside of execution")
        return internal_error_response()
    finally:
        middleware.send_request_finished(GraphQLEndpoint)
