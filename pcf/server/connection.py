"""A client's connection, between asyncio's transport and the server's protocol.

``ClientConnection`` uses the public hooks of ``asyncio.Protocol`` alone, so it works in front of
any server's protocol. It has three tasks:

- to end the connection when the client exceeds its time (``worker`` lists the limits);
- to close the connection so that the client can read the last answer;
- to answer GraphQL requests in their usual form without the server (``fast_path``).
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import monotonic
from typing import Any, Protocol

from pcf.conf import config
from pcf.observability import metrics
from pcf.server.fast_path import Exchange, FastPath, encode_answer, request_bytes
from pcf.server.known_heads import RequestReader
from pcf.server.messages import CONNECTION_CLOSE, Answer, Scope, Send
from pcf.server.server_transport import ServerTransport

# The server begins a received request within three turns of the event loop, however slow they are.
MAX_TURNS = 16
# gunicorn's C parser moves all its bytes for every chunk of a body. Slices keep the bytes few.
# 256 KiB with chunks of one byte would block the event loop for half a second.
SLICE_BYTES = 16_384
# The server sees a request of a connection at least once in this part of the keep-alive time.
KEEPALIVE_PART = 1 / 8
LATE_PART = 1 / 2  # an answer of the fast path that comes so late announces the end

_current: "ContextVar[ClientConnection | None]" = ContextVar("pcf_connection", default=None)


def current_connection() -> "ClientConnection | None":
    """Return the connection of the current request; None under another server than gunicorn."""
    return _current.get()


class Connections(Protocol):
    """What a connection needs from the set of connections that it belongs to."""

    allows_fast_path: bool
    fast_path: FastPath | None
    fast_path_answers: int
    is_ending: bool
    keepalive: float
    scheme_headers: tuple[str, ...]

    def add(self, connection: "ClientConnection") -> bool:
        """Add a new connection; return False where there is no room."""

    def remove(self, connection: "ClientConnection") -> None:
        """Remove a lost connection."""

    def mark_used(self, connection: "ClientConnection") -> None:
        """Note that a connection becomes idle now."""


class ClientConnection(asyncio.Protocol):
    """One connection: the protocol of a transport, in front of the server's own protocol.

    The server's protocol begins with the client's first byte, so a silent client costs little.

    When the client sends no whole head, or does not read its answer, ``check`` ends the connection.
    The server gets all bytes that the fast path does not take, as if there were no fast path.
    """

    def __init__(self, connections: Connections, make_protocol: Callable[[], Any]) -> None:
        """Belong to ``connections``; ``make_protocol`` makes the server's protocol."""
        self._connections = connections
        self._make_protocol = make_protocol
        self._protocol: Any = None
        self._transport: Any = None
        self._has_tls = False
        self._reader: RequestReader  # of the requests on the fast path; made with the transport
        self.address = ""
        self._is_multiplexed = False  # HTTP/2: no heads on the connection, several requests at once
        # --- requests
        self._open_requests = 0
        self._begun_requests = 0
        self.has_open_answer = False  # an answer in progress that announces no end
        self._announced_end = False
        # --- bytes that the server got since it last waited for a request
        self._fed_bytes = 0
        self._fed_since = 0.0
        self._first_bytes: bytes | None = None
        self._request_bytes = 0  # size of the request in progress; -1 where unknown
        self._exchange: Exchange | None = None  # the request on the fast path
        self._held: list[bytes] = []  # received meanwhile
        # --- times, by the monotonic clock
        self._used_at = monotonic()
        self._read_by: float | None = self._used_at + config().timeouts.head
        self._head_begun = True
        self._write_by: float | None = None
        self._close_by: float | None = None
        # --- the end
        self._is_flushed = False
        self._client_closed = False  # the client has closed its side

    @property
    def is_closing(self) -> bool:
        """Whether the server has closed the connection."""
        return self._close_by is not None

    @property
    def is_idle(self) -> bool:
        """Whether the connection has no request and is not closing."""
        return not self._open_requests and self._close_by is None

    @property
    def delays_end(self) -> bool:
        """Whether the end of a process waits for the connection: the server does not know it."""
        return self.has_open_answer or self._protocol is None

    @property
    def unread(self) -> int:
        """The number of bytes that the client has not taken yet."""
        size: int = self._transport.get_write_buffer_size()
        return size

    # --- requests, as the application sees them

    def begin(self, scope: Scope | None = None) -> None:
        """Note the begin of a request; called in the server's task, or without a scope."""
        if scope is not None and self._first_bytes is not None:
            self._request_bytes = request_bytes(scope, self._first_bytes)
        self._open_requests += 1
        self._begun_requests += 1
        self._read_by = None
        self.has_open_answer = scope is None  # a request with a scope: see announcing

    def announcing(self, send: Send) -> Send:
        """Return ``send`` that adds ``Connection: close`` to an answer while the process ends."""
        if self._is_multiplexed:
            return send

        def announce(message: dict[str, Any]) -> Any:
            if message["type"] != "http.response.start":
                return send(message)
            if self._connections.is_ending:
                self._announced_end = True
                others = [each for each in message["headers"] if each[0].lower() != b"connection"]
                message = {**message, "headers": [*others, CONNECTION_CLOSE]}
            else:
                self.has_open_answer = True
            return send(message)

        return announce

    def finish(self) -> None:
        """Note the end of an answer."""
        self._open_requests -= 1
        if self._fed_bytes == self._request_bytes:  # the server has no byte of the next request
            self._fed_bytes = 0
        self._first_bytes = None
        self.has_open_answer = False
        if self._announced_end:
            self.close()
        elif not self._open_requests:
            self._used_at = monotonic()
            self._read_by = self._used_at + self._connections.keepalive
            self._head_begun = self._is_multiplexed
            self._connections.mark_used(self)
            if self._client_closed:
                self._close_unless_begun(self._begun_requests, MAX_TURNS)

    def teach(self, fast_path: FastPath, scope: Scope, headers: Mapping[str, str]) -> None:
        """Have the fast path learn the scope of the server's request in progress."""
        if not self._connections.allows_fast_path or self._is_multiplexed:
            return
        self._connections.fast_path = fast_path
        if len(headers) == len(scope["headers"]):  # each once: ``headers`` has joined the others
            key = self._reader.template_key(headers, self._connections.scheme_headers)
            fast_path.learn(key, scope)

    # --- limits and the end

    def check(self, now: float, idle_since: float) -> None:
        """End the connection if its time is over at ``now``, or if it is idle since longer."""
        if self._close_by is not None:
            self._check_closing(now, self._close_by)
        elif self._write_by is not None and now >= self._write_by:
            self.end("unread")
        elif self._read_by is not None and now >= self._read_by:
            if self._head_begun:
                self.end("head")
            else:
                self.close()
        elif self.is_idle and self._used_at < idle_since:
            self.close()

    def _check_closing(self, now: float, close_by: float) -> None:
        if not self._is_flushed and not self.unread:
            self._is_flushed = True
            self._close_by = now + config().server.linger
        elif now >= close_by:
            if self._is_flushed:
                self._transport.abort()
            else:
                self.end("unread")

    def end(self, limit: str) -> None:
        """Close the connection at once, because of a limit."""
        metrics.connections_ended.labels(limit).inc()
        self._transport.abort()

    def close(self) -> None:
        """Send the rest of the answer, then wait until the client closes its side."""
        if self._close_by is not None:
            return
        self._close_by = monotonic() + config().server.write
        if self._transport.can_write_eof() and not self._client_closed:
            if not self._transport.is_reading():
                self._transport.resume_reading()
            self._transport.write_eof()
        else:  # the client sends no more, or TLS has its own end of a connection
            self._transport.close()

    def _close_unless_begun(self, begun: int, turns: int) -> None:
        """Close unless a request begins within this number of turns of the event loop.

        A client that closes its side may have sent several requests at once. Between two of them
        the connection looks idle.
        """
        if begun != self._begun_requests:
            return
        if turns:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._close_unless_begun, begun, turns - 1)
        else:
            self.close()

    # --- the protocol of asyncio

    def connection_made(self, transport: Any) -> None:
        """Begin the connection, or end it where there is no room."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        client = peer[:2] if isinstance(peer, tuple) else None
        self.address = client[0] if client else ""
        tls = transport.get_extra_info("ssl_object")
        self._has_tls = tls is not None
        server = (transport.get_extra_info("sockname"), self._has_tls)
        self._reader = RequestReader(server, client)
        self._is_multiplexed = tls is not None and tls.selected_alpn_protocol() == "h2"
        if not self._connections.add(self):
            self._close_by = 0.0
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer a request on the fast path, or pass the bytes on to the server.

        The first byte of a head sets the deadline of the head.
        """
        if self._close_by is not None:
            return
        if self._exchange is not None:
            self._held.append(data)
            self._transport.pause_reading()
            return
        if not self._head_begun and not self._open_requests:
            self._head_begun = True
            self._read_by = monotonic() + config().timeouts.head
        if not self._fed_bytes and not self._open_requests and self._try_fast_path(data):
            return
        self._feed(data)

    def eof_received(self) -> bool:
        """Note that the client closed its side; it still gets the answers to its requests."""
        if self._close_by is not None or (self._protocol is None and not self._open_requests):
            return False
        self._client_closed = True
        if not self._open_requests:
            self._close_unless_begun(self._begun_requests, MAX_TURNS)
        return not self._has_tls  # TLS ends in both directions; asyncio logs a warning

    def pause_writing(self) -> None:
        """Set a deadline for the client, which does not read."""
        self._write_by = monotonic() + config().server.write
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Remove the deadline of the client, which reads again."""
        self._write_by = None
        if self._protocol is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        self._close_by = self._close_by or 0.0
        self._connections.remove(self)
        if self._exchange is not None:
            self._exchange.cancel()
        if self._protocol is not None:
            self._protocol.connection_lost(exc)

    # --- the server's protocol

    def _feed(self, data: bytes) -> None:
        """Pass bytes on to the server."""
        if not self._fed_bytes:
            self._first_bytes = data
            self._fed_since = monotonic()
        self._fed_bytes += len(data)
        if self._protocol is None:
            self._begin_protocol()
        if len(data) <= SLICE_BYTES:
            self._protocol.data_received(data)
            return
        for start in range(0, len(data), SLICE_BYTES):
            if not self.is_closing:
                self._protocol.data_received(data[start : start + SLICE_BYTES])

    def _begin_protocol(self) -> None:
        self._protocol = self._make_protocol()
        token = _current.set(self)  # for the tasks that the server's protocol creates
        try:
            self._protocol.connection_made(
                ServerTransport(self._transport, self.close_for_server, self.is_closed_for_server)
            )
        finally:
            _current.reset(token)
        if self._write_by is not None:  # an answer of the fast path is unread
            self._protocol.pause_writing()

    # --- the fast path

    def _try_fast_path(self, data: bytes) -> bool:
        """Take a request in its usual form. Return False where the server has to answer."""
        connections = self._connections
        fast_path = connections.fast_path
        if fast_path is None or connections.is_ending or self.unread:
            return False
        if self._is_multiplexed or self._server_needs_request():
            return False
        found = self._reader.read(data, fast_path, connections.scheme_headers)
        if found is None:
            return False
        self._exchange = Exchange(fast_path, *found, self._send_answer)
        self.begin()
        self._exchange.start()
        return True

    def _server_needs_request(self, part: float = KEEPALIVE_PART) -> bool:
        """Return whether the server saw no request for this part of the keep-alive time.

        The server closes a connection ``keepalive`` seconds after the last request that it saw.
        Without keep-alive it has to announce the end in every answer.
        """
        keepalive = self._connections.keepalive
        if self._protocol is None:
            return not keepalive
        return bool(monotonic() - self._fed_since >= keepalive * part)

    def _send_answer(self, answer: Answer | None) -> None:
        """Send the answer of the fast path. Without one the connection ends."""
        self._exchange = None
        held, self._held = self._held, []
        if self.is_closing or self._transport.is_closing():
            self.finish()
            return
        if answer is None:
            self.finish()
            self._transport.abort()
            return
        if self._connections.is_ending or self._server_needs_request(LATE_PART):
            self._announced_end = True
        self._transport.write(encode_answer(answer, closes=self._announced_end))
        self._connections.fast_path_answers += 1
        self.finish()
        if held and not self.is_closing:
            self._transport.resume_reading()
            for each in held:
                self.data_received(each)

    def close_for_server(self) -> None:
        """Close the connection as the server asks, after the answer of the fast path."""
        if self._exchange is None:
            self.close()
        else:
            self._announced_end = True

    def is_closed_for_server(self) -> bool:
        """Return whether the server or the client has closed the connection."""
        return self.is_closing or bool(self._transport.is_closing())
