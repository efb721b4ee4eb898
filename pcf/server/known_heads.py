"""The last head of a connection: a client that sends the same head again needs no second parse.

Most clients send the same head with each request of a connection. Only the digits of Content-Length
change. ``RequestReader`` keeps the last head of its connection, and all that follows from the head
alone (``KnownHead``). The next request is compared with the bytes of that head. ``parse_request``
reads a request with another head.

A connection keeps one head of at most MAX_KNOWN_HEAD bytes. The head ends with the connection. Some
clients and proxies send another head each time. After MAX_UNUSED heads in a row that did not come
again, the connection keeps none.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pcf.http.request_state import RequestState
from pcf.server.fast_path import (
    MAX_REQUEST_BYTES,
    FastPath,
    ParsedRequest,
    TemplateKey,
    parse_request,
)
from pcf.server.messages import (
    Body,
    OriginKey,
    ReceivedRequest,
    Scope,
    UnparsedRequest,
    identity_of,
    raw_digest,
    read_head,
)

# Such a head stays within the limits of ``parse_request`` when its length gets more digits.
MAX_KNOWN_HEAD = 2_048
MAX_UNUSED = 4

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)

_NO_BODY = Body()
FoundRequest = tuple[ReceivedRequest, UnparsedRequest]


class KnownHead(NamedTuple):
    """A head in its usual form, and what follows from it alone.

    ``before`` are its bytes before the digits of Content-Length. ``after`` are its bytes behind
    them, the blank line included. For a GET, ``before`` is the whole head and ``after`` is empty.

    ``headers`` and ``scope`` are those of the first request. Each request gets a copy.

    All this holds as long as the server reads the scheme from ``scheme_headers``, and as long as
    ``key`` has this ``template``.
    """

    before: bytes
    after: bytes
    headers: dict[str, str]
    scope: Scope
    unparsed: UnparsedRequest
    identity: bytes
    origin_key: OriginKey
    key: TemplateKey
    template: Scope
    scheme_headers: tuple[str, ...]

    def body_of(self, data: bytes) -> Body | None:
        """Return the body, if ``data`` is one request with this head; None for other bytes.

        The declared length must be the decimal number of the bytes after the head, as ``%d`` writes
        it. So a sign, a space, a leading zero or a second length has no place in it.
        """
        if len(data) > MAX_REQUEST_BYTES:
            return None
        if not self.after:
            return _NO_BODY if data == self.before else None
        before, _, content = data.partition(self.after)  # the first blank line ends the head
        length = len(content)
        is_known = length and before == b"%b%d" % (self.before, length)
        return Body(content, length) if is_known else None

    def request(self, body: Body) -> FoundRequest:
        """Return a request that has just come in with this head and this body."""
        headers = self.headers.copy()
        if body.length is not None:
            headers["content-length"] = str(body.length)
        state = RequestState.from_headers(headers)
        state.raw_digest = raw_digest(self.identity, body.content)
        received = ReceivedRequest(self.scope.copy(), headers, body, state, self.origin_key)
        return received, self.unparsed


class RequestReader:
    """Reads the requests of one connection that are in their usual form."""

    def __init__(self, endpoints: Any, client: tuple[Any, ...] | None) -> None:
        """``endpoints`` tells the server's addresses apart; ``client`` is as in a scope."""
        self._endpoints = endpoints
        self._client = client
        self._address = client[0] if client else ""
        self._head: KnownHead | None = None
        self._unused = 0  # heads in a row that were kept, and did not come again

    def template_key(
        self, headers: Mapping[str, str], scheme_headers: tuple[str, ...]
    ) -> TemplateKey:
        """Return the key of a request whose scheme may depend on ``scheme_headers``."""
        if headers.keys().isdisjoint(scheme_headers):
            return (self._endpoints,)
        # The server asks whether it trusts the address only where there is such a header.
        return (self._endpoints, self._address, *map(headers.get, scheme_headers))

    def read(
        self, data: bytes, fast_path: FastPath, scheme_headers: tuple[str, ...]
    ) -> FoundRequest | None:
        """Return the request that ``data`` consists of, as the endpoint reads it.

        Returns None where the server has to answer.
        """
        head = self._head
        if (
            head is not None
            and (body := head.body_of(data)) is not None
            and fast_path.template(head.key) is head.template
            and head.scheme_headers == scheme_headers
        ):
            self._unused = 0
            return head.request(body)
        request = parse_request(data)
        if request is None or request.path != fast_path.path:
            return None
        head = self._read_head(data, request, fast_path, scheme_headers)
        if head is None:
            return None
        if self._head is not None:
            self._unused += 1
        is_short = len(data) - len(request.body.content) <= MAX_KNOWN_HEAD
        self._head = head if is_short and self._unused < MAX_UNUSED else None
        return head.request(request.body)

    def _read_head(
        self,
        data: bytes,
        request: ParsedRequest,
        fast_path: FastPath,
        scheme_headers: tuple[str, ...],
    ) -> KnownHead | None:
        """Return the head of ``request``, whose bytes are ``data``."""
        key = self.template_key(request.headers, scheme_headers)
        if (template := fast_path.template(key)) is None:
            return None
        scope = {
            **template,
            "method": request.method,
            "path": request.path,
            "raw_path": request.path.encode(),
            "query_string": request.query.encode(),
            "client": self._client,
        }
        unparsed = read_head(scope, request.headers)
        if unparsed is None:
            return None
        origin_key = fast_path.endpoint.origin_key(scope, request.headers)
        return KnownHead(
            *_around_length(data, len(data) - len(request.body.content)),
            request.headers,
            scope,
            unparsed,
            identity_of(scope),
            origin_key,
            key,
            template,
            scheme_headers,
        )


def _around_length(data: bytes, end: int) -> tuple[bytes, bytes]:
    """Return ``KnownHead.before`` and ``KnownHead.after`` for the head that ends at ``end``.

    The head is in its usual form: it has CRLF at the end of its lines alone, and each name once. So
    a line that begins with "Content-Length:" is the header.
    """
    digits = _LENGTH.search(data, 0, end)
    if digits is None:
        return data[:end], b""
    return data[: digits.start(1)], data[digits.end(1) : end]
