"""In front of Django: requests for the GraphQL address, answered from what the server hands over.

A hit that is known by its bytes needs one round trip to Redis and nothing else. Any other POST of
one well-formed request goes straight to the service. Django makes the rest: whatever is refused
before it is understood, GET requests that are no hits, batches, GraphiQL. It is handed over as if
nothing had been in front, with what was found out: its body, its id, its deadline and what the
cache said.

Of Django's middleware an answer has what all answers have: its headers (``_frame``), and that a
request is refused for its host or for coming without TLS. Its signals of a request's start and end
are sent where something is executed (``pcf.http.borders``).
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from hashlib import sha256
from io import BytesIO
from typing import Any, NamedTuple

from pcf.apps import config, proxy_variables
from pcf.cache.shortcuts import Shortcut
from pcf.errors import ClientError
from pcf.http import borders
from pcf.http.arrival import CLIENT, REQUEST_ID, Arrival, ReadRequest, arrival_of
from pcf.http.heads import GRAPHQL_PATH, finish, impatient, read_head
from pcf.http.hits import Known
from pcf.http.middleware import answered, attended
from pcf.http.protocol import (
    JSON,
    REASONS,
    GraphQLRequest,
    GraphQLResponse,
    make_request,
    media_type,
    parse_body,
)
from pcf.http.refusals import internal_error
from pcf.http.service import GraphQLService

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = tuple[tuple[str, str], ...]

logger = logging.getLogger("pcf.http")

FRAME = "pcf.frame"  # in the environ of a request that asks for the frame
_JSON = frozenset(
    {"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"}
)
_WAYS = 64  # ways in whose frame is remembered; clients choose the Host header
_LINES = {status: f"{status} {reason}" for status, reason in REASONS.items()}


class Front:
    """The WSGI application in front of Django's.

    ``make_service`` is called at every request and may remember.
    """

    def __init__(
        self, application: Application, make_service: Callable[[], GraphQLService]
    ) -> None:
        self._application = application
        self._make_service = make_service
        self._frames: OrderedDict[tuple[Any, ...], Headers | None] = OrderedDict()
        self._way = (*_WAY, *proxy_variables())

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer, or hand over to Django."""
        if environ.get("PATH_INFO") != GRAPHQL_PATH or environ["REQUEST_METHOD"] not in _METHODS:
            return self._application(environ, start)
        arrival = arrival_of(environ)
        with attended(arrival):
            answer = self._answer(environ, arrival)
            if answer is not None:
                answered()
                start(answer.status, answer.headers)
                return (answer.body,)
        try:
            return self._application(environ, start)
        finally:
            self._make_service().hits.abandon(arrival)

    def recognise(self, environ: dict[str, Any]) -> "ShortRequest | None":
        """The request with this environ, where the short way to a hit is known; None for any other,
        which is to come to ``__call__`` with the same environ. Waits for nothing.
        """
        if environ["PATH_INFO"] != GRAPHQL_PATH or environ["REQUEST_METHOD"] not in _METHODS:
            return None
        arrival = arrival_of(environ)
        frame = self._frames.get(tuple(map(environ.get, self._way)))
        if frame is None or arrival.timeout.layer == CLIENT:  # whose deadline a thread keeps
            return None
        read = _read(environ, arrival)
        short = read and self._make_service().hits.short(read.request, arrival)
        return ShortRequest(environ, arrival, frame, *short) if short else None

    def answer(self, requests: "Sequence[ShortRequest]") -> "list[Answer | None]":
        """The answers to ``requests`` in their order, with one question to Redis; None for those
        that are no hits, which are to come to ``__call__``.
        """
        hits = self._make_service().hits
        answers: list[Answer | None] = []
        entries = hits.take([each.shortcut for each in requests])
        for (environ, arrival, frame, known, _), entry in zip(requests, entries, strict=True):
            answer = None
            if entry is not None and arrival.read is not None:
                request = arrival.read.request
                response = hits.response(known, entry, request, arrival)
                answer = _dressed(environ, arrival, frame, response, request.media)
            answers.append(answer)
        return answers

    def _answer(self, environ: dict[str, Any], arrival: Arrival) -> "Answer | None":
        """None when it is Django's to answer."""
        frame = self._frame(environ)
        read = None if frame is None else _read(environ, arrival)
        if frame is None or read is None:
            return None
        service = self._make_service()
        response = service.hits.answer(read.request, arrival)
        if response is None and environ["REQUEST_METHOD"] == "POST":
            response = _execute(service, environ, arrival, read)
        if response is None:
            return None
        return _dressed(environ, arrival, frame, response, read.request.media)

    def _frame(self, environ: dict[str, Any]) -> Headers | None:
        """The headers that Django's middleware adds to every answer that goes the same way.

        None when Django does not let such a request through: to a foreign host, or without TLS.
        """
        way = tuple(map(environ.get, self._way))
        try:
            return self._frames[way]
        except KeyError:
            frame = self._frames[way] = self._ask_for_frame(environ)
            while len(self._frames) > _WAYS:
                self._frames.popitem(last=False)
            return frame

    def _ask_for_frame(self, environ: dict[str, Any]) -> Headers | None:
        asked = {name: environ[name] for name in (*self._way, *_REQUIRED) if name in environ}
        asked |= {"REQUEST_METHOD": "GET", "CONTENT_LENGTH": "0", "wsgi.input": BytesIO()}
        told: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            told.extend((status, headers))

        # In a context of its own: this is not the answer that the watchdog waits for.
        answer = Context().run(self._application, {**asked, FRAME: True}, start)
        if hasattr(answer, "close"):
            answer.close()
        status, headers = told
        if not status.startswith("200 "):
            return None
        return tuple(h for h in headers if h[0] not in (REQUEST_ID, "Content-Length"))


_WAY = ("wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT")
_GET, _POST = b"GET ", b"POST "
_METHODS = ("POST", "GET")
_REQUIRED = ("PATH_INFO", "SCRIPT_NAME", "SERVER_PROTOCOL", "REMOTE_ADDR", "wsgi.errors",
             "wsgi.version", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once")  # fmt: skip


class ShortRequest(NamedTuple):
    """A request to whose response the short way is known."""

    environ: dict[str, Any]
    arrival: Arrival
    frame: Headers
    known: Known
    shortcut: Shortcut


class Answer(NamedTuple):
    """A whole answer: status line, headers and body."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes


def _dressed(
    environ: dict[str, Any],
    arrival: Arrival,
    frame: Headers,
    response: GraphQLResponse,
    media: str,
) -> Answer:
    status, headers = finish(environ, response, media)
    headers[REQUEST_ID] = arrival.request_id
    return Answer(_LINES[status], [*headers.items(), *frame], response.body)


def _read(environ: dict[str, Any], arrival: Arrival) -> ReadRequest | None:
    """The request as it came; None where Django has to say no. However often it is asked, the body
    is read once.
    """
    if arrival.read is None:
        try:
            head = read_head(environ, media_type(environ.get("HTTP_ACCEPT")))
        except ClientError:
            return None
        asked = _asked(environ, arrival)
        if asked is None:
            return None
        arrival.known_as = sha256(asked).digest()
        arrival.read = ReadRequest(head, GraphQLRequest("", **head), asked)
    return arrival.read


def _asked(environ: dict[str, Any], arrival: Arrival) -> bytes | None:
    """The bytes that say what is asked; None where Django has to say no.

    The body of a POST is read, and left in ``wsgi.input`` to be read again.
    """
    if environ["REQUEST_METHOD"] == "GET":
        return _GET + str(environ.get("QUERY_STRING", "")).encode("latin-1")
    length = environ.get("CONTENT_LENGTH") or ""
    if (
        not length.isdigit()
        or int(length) > config().documents.max_body_bytes
        or environ.get("CONTENT_TYPE", "").lower() not in _JSON
        or environ.get("HTTP_CONTENT_ENCODING")
    ):
        return None
    source, body = environ["wsgi.input"], b""
    try:
        if type(source) is BytesIO:  # it has come as a whole: see pcf.http.worker
            body = source.read(int(length))
        else:
            with impatient(environ, arrival.timeout):
                body = source.read(int(length))
    except OSError as error:
        environ["wsgi.input"] = _Broken(error)
        return None
    environ["wsgi.input"] = BytesIO(body)
    return _POST + body if len(body) == int(length) else None


def _execute(
    service: GraphQLService, environ: dict[str, Any], arrival: Arrival, read: ReadRequest
) -> GraphQLResponse | None:
    """What the service answers to the one request in a POST; None when it is not just that."""
    try:
        parameters = parse_body(JSON, read.asked[len(_POST) :])
        if not isinstance(parameters, dict):
            return None
        request = make_request(parameters, **read.head)
    except ClientError:
        return None
    borders.begin(Front, environ)
    try:
        return service.answer(request, arrival.timeout, arrival)
    except Exception:
        logger.exception("unexpected error outside of execution")
        return internal_error()
    finally:
        borders.end(Front)


class _Broken(BytesIO):
    """A body that could not be read; whoever reads it again is told the same."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def read(self, _size: int | None = -1, /) -> bytes:
        raise self._error
