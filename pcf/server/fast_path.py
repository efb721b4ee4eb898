"""The fast path: GraphQL requests in their usual form skip the protocol of the server.

gunicorn's protocol parses requests of every form, and makes a task and several messages for each.
That costs more than a cache hit. Most clients send GraphQL requests in one form, which
``parse_request`` reads. The form is so narrow that no two parsers read it differently. The server
gets all other bytes, and parses them itself. RFC 9110 and RFC 9112 define the terms.

The fast path answers hits on the event loop and everything else in the request threads, as
``application`` does. It learns from the server what the addresses and the proxy's headers mean for
a request: until the server has told it of a combination, the server answers.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from pcf._compat.gunicorn import answer_head
from pcf.cache.async_redis import AsyncRedis
from pcf.conf import graphql_path
from pcf.lru import LRUCache
from pcf.observability import logs
from pcf.server.endpoint import CacheQuestion, GraphQLEndpoint
from pcf.server.messages import (
    CONNECTION_CLOSE,
    Answer,
    Body,
    Headers,
    ReceivedRequest,
    Scope,
    UnparsedRequest,
)
from pcf.server.threads import RequestThreads

MAX_REQUEST_BYTES = 16_384  # of a request in its usual form, with its body
MAX_LINE_BYTES = 4_094  # of a line of the head, gunicorn's default
MAX_HEADERS = 64

_END_OF_HEAD = b"\r\n\r\n"
_WITHOUT_BODY = frozenset({204, 304})  # statuses, RFC 9110 section 6.4.1

# A target in origin form (RFC 9112 section 3.2.1) without percent-encoding in its path. Clients
# also send braces and quotation marks in a query, which RFC 3986 does not allow.
_REQUEST_LINE = re.compile(r"""(GET|POST) (/[A-Za-z0-9._~/-]*)(?:\?([!"$-~]*))? HTTP/1\.1""")
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
# Headers about the connection or about the framing of the message. The server handles them.
_FRAMING = frozenset(
    {
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class ParsedRequest(NamedTuple):
    """A request in its usual form. ``headers`` have lower-case names, each name once."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Body


def parse_request(data: bytes) -> ParsedRequest | None:
    """Return the request that ``data`` consists of; None for a request in another form.

    The usual form: GET or POST with a plain path; printable ASCII in the head; each header once,
    its name of letters, digits and hyphens; a Host; a connection that stays open; for POST a
    Content-Length that equals the number of bytes after the head; for GET no body.
    """
    end = data.find(_END_OF_HEAD)
    head = data[:end] if end > 0 and len(data) <= MAX_REQUEST_BYTES else b""
    lines = head.decode("latin-1").split("\r\n")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None or not head.isascii() or not "".join(lines).isprintable():
        return None
    if len(lines) > MAX_HEADERS + 1 or max(map(len, lines)) > MAX_LINE_BYTES:
        return None
    headers = _parse_headers(lines[1:])
    body = _body_of(match[1], headers, data, end + len(_END_OF_HEAD))
    return (
        None if body is None else ParsedRequest(match[1], match[2], match[3] or "", headers, body)
    )


def _parse_headers(lines: list[str]) -> dict[str, str]:
    """Return the headers of a request in its usual form; no headers for another form."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.replace("-", "").isalnum():
            return {}
        headers[name.lower()] = value.strip(" ")
    is_usual = (
        len(headers) == len(lines)
        and _FRAMING.isdisjoint(headers)
        and _HOST.fullmatch(headers.get("host", ""))
        and headers.get("connection", "keep-alive").lower() == "keep-alive"
    )
    return headers if is_usual else {}


def _body_of(method: str, headers: dict[str, str], data: bytes, start: int) -> Body | None:
    """Return the body from ``start`` on; None if the headers do not declare exactly this body."""
    if not headers:
        return None
    declared = headers.get("content-length")
    length = len(data) - start
    if method == "GET":
        return Body() if declared is None and not length else None
    return Body(data[start:], length) if length and declared == str(length) else None


def request_bytes(scope: Scope, first: bytes) -> int:
    """Return the size of the request with this scope and these first bytes; -1 where unknown."""
    if scope.get("http_version", "1.1") != "1.1":  # HTTP/1.0 has other answers, HTTP/2 no heads
        return -1
    head = first.find(_END_OF_HEAD)
    size = 0
    for name, value in scope["headers"]:
        if name == b"content-length":
            size = int(value)
        elif name == b"transfer-encoding":
            return -1
    return -1 if head < 0 else head + len(_END_OF_HEAD) + size


def encode_answer(answer: Answer, *, closes: bool) -> bytes:
    """Return the bytes of an answer; ``closes`` announces the end of the connection."""
    status, headers, body, _, own = answer
    lines = [answer_head(status).removesuffix(b"\r\n")]
    if own:
        lines.append(own)
    lines += map(b": ".join, headers)
    if not (own or status in _WITHOUT_BODY or _has_length(headers)):
        lines.append(b"Content-Length: %d" % len(body))
    if closes:
        lines.append(b": ".join(CONNECTION_CLOSE))
    return b"\r\n".join((*lines, b"", body))


def _has_length(headers: Headers) -> bool:
    return any(name.lower() == b"content-length" for name, _ in headers)


logger = logging.getLogger("pcf.http")

_MAX_TEMPLATES = 1_024  # clients and proxies choose the keys
# The server sets these keys of a scope for each request; the others are the same for a template.
_PER_REQUEST = frozenset(
    {"method", "path", "raw_path", "query_string", "headers", "client", "state", "extensions"}
)

TemplateKey = tuple[Any, ...]
"""The server's address, and the client's with the values of headers that may set the scheme."""


class FastPath:
    """The fast path of one process; for the event loop alone."""

    def __init__(
        self, endpoint: GraphQLEndpoint, redis: AsyncRedis, threads: RequestThreads
    ) -> None:
        self.endpoint = endpoint
        self.redis = redis
        self.threads = threads
        self.path = graphql_path()
        self._templates: LRUCache[TemplateKey, Scope] = LRUCache(_MAX_TEMPLATES)

    def learn(self, key: TemplateKey, scope: Scope) -> None:
        """Keep what the server says about the requests with this key."""
        if self._templates.get(key) is None:
            template = {name: scope[name] for name in scope if name not in _PER_REQUEST}
            self._templates.set(key, template)

    def template(self, key: TemplateKey) -> Scope | None:
        """Return what the scopes of all requests with this key share; None for an unknown key."""
        return self._templates.get(key)


class Exchange:
    """One request on the fast path, until ``send`` gets its answer; None if there is none."""

    def __init__(
        self,
        fast_path: FastPath,
        received: ReceivedRequest,
        unparsed: UnparsedRequest,
        send: Callable[[Answer | None], None],
    ) -> None:
        self._fast_path = fast_path
        self._received = received
        self._unparsed = unparsed
        self._send = send
        # No function here leads back to this object: the collector would have to free the cycle.
        self._cancel_short: Callable[[], None] | None = None
        self._task: asyncio.Task[Answer] | None = None
        self._is_cancelled = False

    def start(self) -> None:
        """Ask the cache, or a thread where the event loop cannot ask."""
        question = self._fast_path.endpoint.question(self._received, self._unparsed)
        if question is None:
            self._start_thread()
            return
        read = question.direct_read
        callback = partial(self._on_replies, question)
        self._fast_path.redis.read(read.packed, read.reply_count, callback)

    def cancel(self) -> None:
        """Give up: the client is gone."""
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()
        elif self._cancel_short is not None:
            self._cancel_short()
            self._send(None)

    def _on_replies(
        self, question: CacheQuestion, run_id: bytes, replies: list[Any] | None
    ) -> None:
        hit = self._fast_path.endpoint.hit
        answer = hit(question, run_id, replies, self._received, self._unparsed)
        if answer is None and not self._is_cancelled:
            self._start_thread()
        else:
            self._send(answer)

    def _start_thread(self) -> None:
        received, fast_path = self._received, self._fast_path
        self._cancel_short = fast_path.endpoint.start_short(
            fast_path.threads, received, self._unparsed, self._send
        )
        if self._cancel_short is not None:
            return
        # A thread may pass the request on to Django, which reads the headers of the scope.
        received.scope["headers"] = [
            (name.encode(), value.encode()) for name, value in received.headers.items()
        ]
        self._task = asyncio.get_running_loop().create_task(self._answer_in_thread())
        self._task.add_done_callback(self._on_answer)

    async def _answer_in_thread(self) -> Answer:
        logs.request_id.set(self._received.state.request_id)  # for this task and its thread
        endpoint, threads = self._fast_path.endpoint, self._fast_path.threads
        answer = await endpoint.answer_in_thread(threads, self._received, self._unparsed)
        if answer.stream is not None:
            raise TypeError("an answer of the GraphQL view must not stream")
        return answer

    def _on_answer(self, task: "asyncio.Task[Answer]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("unexpected error on the fast path", exc_info=error)
        self._send(None if error is not None or task.cancelled() else task.result())
