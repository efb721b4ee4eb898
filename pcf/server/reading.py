"""From an ASGI scope to a request: headers, body, and the GraphQL request in it."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from hashlib import sha256
from inspect import iscoroutine
from types import coroutine
from typing import Any, NamedTuple

from pcf.apps import config
from pcf.errors import ClientError
from pcf.http.arrival import Arrival
from pcf.http.headers import read_head
from pcf.http.protocol import GraphQLRequest, media_type
from pcf.server.pages import Body, Scope

Receive = Callable[[], Coroutine[Any, Any, dict[str, Any]]]

GET, POST = b"GET ", b"POST "
_NOT_BEGUN = object()
_JSON = frozenset(
    {"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"}
)


class Disconnected(Exception):
    """The client is gone before its request was read."""


class ReadRequest(NamedTuple):
    """A GraphQL request as it came: what its ``head`` says, by the names of GraphQLRequest's
    fields, also as a ``request`` without a text; and the bytes that say what is ``asked``.
    """

    head: dict[str, Any]
    request: GraphQLRequest
    asked: bytes


def in_origin_form(scope: Scope) -> Scope:
    """Return the scope of a request whose target is a whole URL (RFC 9112 section 3.2.2).

    The URL's authority takes the place of the Host header. Other targets stay as they are.
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
    """Return the headers by their names in lower case; values of one name are joined by commas.

    Names with an underscore are left out: proxies take them for names with a hyphen.
    """
    raw = scope["headers"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(headers) != len(raw):
        headers.clear()
        for name, value in raw:
            text, key = value.decode("latin-1"), name.decode("latin-1")
            headers[key] = f"{headers[key]},{text}" if key in headers else text
    if "_" in "".join(headers):
        headers = {name: value for name, value in headers.items() if "_" not in name}
    return headers


async def read_body(
    headers: dict[str, str], receive: Receive, arrival: Arrival, *, http1: bool = True
) -> Body:
    """Read the body, as long as it is not too large and does not keep us waiting.

    With ``http1`` headers say whether there is one (RFC 9112 section 6.3); HTTP/2 needs none.

    A client may be silent for ``server.body_silence`` seconds, and has as a whole what the
    request's deadline leaves. Raises Disconnected.
    """
    limit = config().documents.max_body_bytes
    given = headers.get("content-length")
    if http1 and given is None and "transfer-encoding" not in headers:
        return Body()
    declared = int(given) if given and given.isascii() and given.isdigit() else None
    if declared is not None and declared > limit:
        return Body(length=declared)
    pieces: list[bytes] = []
    size, more = 0, declared != 0
    silence = config().server.body_silence
    try:
        while more and size <= limit:
            receiving = receive()
            done, found = first_step(receiving)
            if not done:
                async with asyncio.timeout(min(silence, arrival.timeout.remaining())):
                    found = await (receiving if found is _NOT_BEGUN else rest_of(receiving, found))
            message: dict[str, Any] = found
            if message["type"] == "http.disconnect":
                raise Disconnected
            piece = message.get("body", b"")
            size += len(piece)
            pieces.append(piece)
            more = message.get("more_body", False)
    except TimeoutError:
        return Body(length=declared or size, error=TimeoutError("the body did not come in time"))
    if more or size > limit:
        return Body(length=size)
    content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return Body(content, size if declared is None else declared)


def first_step(awaitable: Any) -> tuple[bool, Any]:
    """Run ``awaitable`` up to where it waits.

    Returns (True, its result), or (False, what it waits for) for ``rest_of``. Most bodies have come
    when they are asked for, and a time limit costs more than they do. Awaitables of other kinds,
    as granian has them, are not begun.
    """
    if not iscoroutine(awaitable):
        return False, _NOT_BEGUN
    try:
        return False, awaitable.send(None)
    except StopIteration as ended:
        return True, ended.value


@coroutine
def rest_of(begun: Any, waits_for: Any) -> Generator[Any, Any, Any]:
    """Run what ``first_step`` has begun to its end; returns its result."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001 - it is for the coroutine
            step, value = begun.throw, error
        else:
            step, value = begun.send, sent
        try:
            waits_for = step(value)
        except StopIteration as ended:
            return ended.value


def read_request(
    scope: Scope, headers: dict[str, str], body: Body, arrival: Arrival
) -> ReadRequest | None:
    """Return the GraphQL request as it came; None where Django has to refuse it."""
    method = scope["method"]
    if method == "GET":
        asked = GET + scope["query_string"]
    elif (
        method == "POST"
        and body.length is not None
        and body.is_whole
        and headers.get("content-type", "").lower() in _JSON
        and "content-encoding" not in headers
    ):
        asked = POST + body.content
    else:
        return None
    client = scope.get("client")
    try:
        media = media_type(headers.get("accept"))
        head = read_head(headers, method, client[0] if client else None, media)
    except ClientError:
        return None
    arrival.known_as = sha256(asked).digest()
    return ReadRequest(head, GraphQLRequest("", **head), asked)
