"""Requests out of ASGI messages, and answers for ASGI messages.

https://asgi.readthedocs.io/en/stable/specs/www.html
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from hashlib import sha256
from inspect import iscoroutine
from types import coroutine
from typing import Any, NamedTuple

from django.http import HttpResponseBase

from pcf.conf import config
from pcf.errors import ClientError
from pcf.http.headers import finish_response, header_fields
from pcf.http.request import GraphQLRequest, media_type
from pcf.http.request_state import REQUEST_ID, RequestState
from pcf.http.response import GraphQLResponse
from pcf.timeouts import TimeoutContext

Scope = dict[str, Any]
Receive = Callable[[], Coroutine[Any, Any, dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
OriginKey = tuple[Any, ...]
"""What the headers that middleware adds depend on: scheme, server, Host and proxy headers."""

CONNECTION_CLOSE = (b"Connection", b"close")
_NOT_STARTED = object()
_JSON_CONTENT_TYPES = frozenset(
    {"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"}
)


class Disconnected(Exception):
    """The client closed the connection before the server had the whole request."""


class Body(NamedTuple):
    """The body of a request, as far as the server has read it.

    ``length`` is its number of bytes. That is the length of ``content``, or more where the server
    stopped reading; None where the request has no body. ``error`` says that the body came too late.
    """

    content: bytes = b""
    length: int | None = None
    error: OSError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the server has read the body to its end, so that another request may follow."""
        return self.error is None and len(self.content) == (self.length or 0)


class ReceivedRequest(NamedTuple):
    """A request with its body. ``headers`` have lower-case names, as ``headers_of`` returns.

    ``origin_key`` is the endpoint's key of the origin where the caller knows it.
    """

    scope: Scope
    headers: dict[str, str]
    body: Body
    state: RequestState
    origin_key: OriginKey | None = None


class UnparsedRequest(NamedTuple):
    """A GraphQL request whose headers the server has read, and whose document it has not.

    ``fields`` are the fields of a GraphQLRequest that the headers give. ``request`` is a
    GraphQLRequest of these fields with an empty document.
    """

    fields: Mapping[str, Any]
    request: GraphQLRequest


class Answer(NamedTuple):
    """An answer for the server: a body, or a streaming response of Django.

    ``own`` are the lines of the headers of a GraphQL response, its length among them. They come
    before ``headers``. CRLF separates them.
    """

    status: int
    headers: Headers
    body: bytes = b""
    stream: HttpResponseBase | None = None
    own: bytes = b""

    @property
    def all_headers(self) -> Headers:
        """All headers as ASGI has them."""
        own: list[Any] = [line.split(b": ", 1) for line in self.own.split(b"\r\n") if line]
        return [(name, value) for name, value in own] + self.headers


# --- reading a request


def in_origin_form(scope: Scope) -> Scope:
    """Return the scope of a request whose target is an absolute URL (RFC 9112 section 3.2.2).

    The URL's authority replaces the Host header. Other targets stay as they are.
    """
    scheme, _, rest = scope["path"].partition("://")
    if scheme.lower() not in ("http", "https"):
        return scope
    authority, slash, path = rest.partition("/")
    headers = [header for header in scope["headers"] if header[0] != b"host"]
    return {
        **scope,
        "path": slash + path if slash else "/",
        "headers": [(b"host", authority.encode("latin-1", "replace")), *headers],
    }


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers by lower-case name; commas join the values of one name.

    Semicolons join cookies, which HTTP/2 may split (RFC 9113 section 8.2.3). Names with an
    underscore are left out, because proxies take them for names with a hyphen.
    """
    raw = scope["headers"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(headers) != len(raw):
        headers.clear()
        for name, value in raw:
            text, key = value.decode("latin-1"), name.decode("latin-1")
            separator = "; " if key == "cookie" else ","
            headers[key] = f"{headers[key]}{separator}{text}" if key in headers else text
    if "_" in "".join(headers):
        headers = {name: value for name, value in headers.items() if "_" not in name}
    return headers


async def read_body(
    headers: dict[str, str], receive: Receive, deadline: TimeoutContext, *, http1: bool = True
) -> Body:
    """Read the body up to ``documents.max_body_bytes``.

    In HTTP/1 the headers say whether there is a body (RFC 9112 section 6.3). HTTP/2 needs none.

    A client may be silent for ``server.body_silence`` seconds. The whole body has the time that
    ``deadline`` leaves. Raises Disconnected.
    """
    limit = config().documents.max_body_bytes
    given = headers.get("content-length")
    if http1 and given is None and "transfer-encoding" not in headers:
        return Body()
    declared = int(given) if given and given.isascii() and given.isdigit() else None
    if declared is not None and declared > limit:
        return Body(length=declared)
    chunks: list[bytes] = []
    size, more = 0, declared != 0
    silence = config().server.body_silence
    try:
        while more and size <= limit:
            receiving = receive()
            is_done, found = run_first_step(receiving)
            if not is_done:
                async with asyncio.timeout(min(silence, deadline.remaining())):
                    found = await (
                        receiving if found is _NOT_STARTED else rest_of(receiving, found)
                    )
            message: dict[str, Any] = found
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            chunks.append(chunk)
            more = message.get("more_body", False)
    except TimeoutError:
        return Body(length=declared or size, error=TimeoutError("the body did not come in time"))
    if more or size > limit:
        return Body(length=size)
    content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return Body(content, size if declared is None else declared)


def run_first_step(awaitable: Any) -> tuple[bool, Any]:
    """Run a coroutine up to the first future that it waits for.

    Returns (True, its result), or (False, that future) for ``rest_of``. Most bodies are there at
    once, and a timeout costs more than reading them. Other awaitables, as granian passes them, are
    not started.
    """
    if not iscoroutine(awaitable):
        return False, _NOT_STARTED
    try:
        return False, awaitable.send(None)
    except StopIteration as ended:
        return True, ended.value


@coroutine
def rest_of(started: Any, future: Any) -> Generator[Any, Any, Any]:
    """Run a coroutine that waits for ``future`` after ``run_first_step``; return its result."""
    while True:
        try:
            sent = yield future
        except BaseException as error:  # noqa: BLE001 - the coroutine handles it
            step, value = started.throw, error
        else:
            step, value = started.send, sent
        try:
            future = step(value)
        except StopIteration as ended:
            return ended.value


def read_request(received: ReceivedRequest) -> UnparsedRequest | None:
    """Return the GraphQL request as far as its headers tell; None where Django has to refuse it.

    Sets ``raw_digest`` of ``received.state``.
    """
    scope, body = received.scope, received.body
    is_post = scope["method"] == "POST"
    if is_post and (body.length is None or not body.is_whole):
        return None
    unparsed = read_head(scope, received.headers)
    if unparsed is not None:
        content = body.content if is_post else b""
        received.state.raw_digest = raw_digest(identity_of(scope), content)
    return unparsed


def read_head(scope: Scope, headers: Mapping[str, str]) -> UnparsedRequest | None:
    """Return the GraphQL request as far as its head tells; None where Django has to refuse it."""
    method, client = scope["method"], scope.get("client")
    if method == "POST":
        is_json = headers.get("content-type", "").lower() in _JSON_CONTENT_TYPES
        if not is_json or "content-encoding" in headers:
            return None
    elif method != "GET":
        return None
    try:
        media = media_type(headers.get("accept"))
        fields = header_fields(headers, method, client[0] if client else None, media)
    except ClientError:
        return None
    return UnparsedRequest(fields, GraphQLRequest("", **fields))


def identity_of(scope: Scope) -> bytes:
    """Return the part of ``raw_digest``'s text that the scope of a GET or POST gives."""
    return b"POST " if scope["method"] == "POST" else b"GET " + scope["query_string"]


def raw_digest(identity: bytes, content: bytes) -> bytes:
    """Return the digest of a request with this identity (``identity_of``) and this body."""
    return sha256(identity + content).digest()


# --- answering


def answer_of(
    origin: str | None,
    state: RequestState,
    response: GraphQLResponse,
    media: str,
    default_headers: Headers,
) -> Answer:
    """Return the answer to a request from ``origin``, and count it."""
    status, own = finish_response(origin, response, media)
    own[REQUEST_ID] = state.request_id
    # One text is encoded faster than each name and each value.
    lines = "\r\n".join(map(": ".join, own.items())).encode("latin-1")
    return Answer(status, default_headers, response.body, own=lines)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send an answer with its whole body."""
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": answer.all_headers}
    )
    await send({"type": "http.response.body", "body": answer.body})
