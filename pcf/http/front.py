"""In front of Django: hits of the response cache, answered from the bytes of the request.

A request that is known by its bytes needs one round trip to Redis and nothing of Django. Whatever
is not a hit goes on to Django as if nothing had been in front of it, with what was found out: its
body, its id, its deadline and what the cache said. Errors are Django's, too.

When Redis fails nothing is answered here.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from io import BytesIO
from typing import Any

from pcf.apps import config, proxy_variables
from pcf.errors import ClientError
from pcf.http.arrival import REQUEST_ID, Arrival, arrival_of
from pcf.http.heads import GRAPHQL_PATH, finish, impatient, read_head
from pcf.http.middleware import answered, attended
from pcf.http.protocol import GraphQLRequest, media_type
from pcf.http.service import GraphQLService

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = tuple[tuple[str, str], ...]

FRAME = "pcf.frame"  # in the environ of a request that asks for the frame
_JSON = frozenset(
    {"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"}
)
_WAYS = 64  # ways in whose frame is remembered; clients choose the Host header
_LINES = {status: f"{status.value} {status.phrase}" for status in HTTPStatus}


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
        """Answer a hit, hand over everything else."""
        if environ.get("PATH_INFO") != GRAPHQL_PATH or environ["REQUEST_METHOD"] not in _METHODS:
            return self._application(environ, start)
        arrival = arrival_of(environ)
        with attended(arrival):
            hit = self._hit(environ, arrival)
            if hit is not None:
                answered()
                start(hit.status, hit.headers)
                return (hit.body,)
        try:
            return self._application(environ, start)
        finally:
            self._make_service().hits.abandon(arrival)

    def _hit(self, environ: dict[str, Any], arrival: Arrival) -> "_Answer | None":
        try:
            media = media_type(environ.get("HTTP_ACCEPT"))
            request = GraphQLRequest("", **read_head(environ, media))
        except ClientError:
            return None
        frame = self._frame(environ)
        if frame is None or request.no_store:
            return None
        arrival.known_as = _digest(environ, arrival)
        if arrival.known_as is None:
            return None
        response = self._make_service().hits.answer(request, arrival)
        if response is None:
            return None
        status, headers = finish(environ, response, media)
        headers[REQUEST_ID] = arrival.request_id
        return _Answer(_LINES[HTTPStatus(status)], [*headers.items(), *frame], response.body)

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
_METHODS = ("POST", "GET")
_REQUIRED = ("PATH_INFO", "SCRIPT_NAME", "SERVER_PROTOCOL", "REMOTE_ADDR", "wsgi.errors",
             "wsgi.version", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes


def _digest(environ: dict[str, Any], arrival: Arrival) -> bytes | None:
    """What stands for the bytes that say what is asked; None where Django has to say no.

    The body of a POST is read, and left in ``wsgi.input`` to be read again.
    """
    if environ["REQUEST_METHOD"] == "GET":
        return sha256(b"GET " + environ.get("QUERY_STRING", "").encode("latin-1")).digest()
    length = environ.get("CONTENT_LENGTH") or ""
    if (
        not length.isdigit()
        or int(length) > config().documents.max_body_bytes
        or environ.get("CONTENT_TYPE", "").lower() not in _JSON
        or environ.get("HTTP_CONTENT_ENCODING")
    ):
        return None
    source = environ["wsgi.input"]
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
    return sha256(b"POST " + body).digest() if len(body) == int(length) else None


class _Broken(BytesIO):
    """A body that could not be read; whoever reads it again is told the same."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def read(self, _size: int | None = -1, /) -> bytes:
        raise self._error
