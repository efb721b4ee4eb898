"""One connection of a client, between asyncio's transport and the server's protocol.

It uses asyncio's public hooks alone, so it knows nothing of the server. See ``connections`` for its
limits, and ``repeats`` for requests that are answered without the server.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import Any

from pcf import metrics
from pcf.apps import config
from pcf.server.repeats import MOST, Key, Repeat, Repeats

# A request that was received begins within three turns of the event loop, however slow they are.
TURNS = 16
# The C parser moves all that it holds for every chunk of a body: what is read at once is handed on
# in slices, or 256 KiB of chunks of one byte would hold the event loop for half a second.
SLICE = 16_384  # bytes
UNSEEN = 8  # the part of the keep-alive's time in which the server may see no request
CLOSE = (b"Connection", b"close")

_current: "ContextVar[Connection | None]" = ContextVar("pcf_connection", default=None)


class Connection(asyncio.Protocol):
    """One connection: the protocol of a transport, in front of the server's own protocol.

    The server's protocol begins with the client's first byte: a silent client costs next to
    nothing.
    """

    def __init__(self, connections: Any, make_inner: Callable[[], Any]) -> None:
        """``connections`` are those of the process; ``make_inner`` makes the server's protocol."""
        self._connections = connections
        self._make_inner = make_inner
        self._inner: Any = None
        self._transport: Any = None
        self._way: Any = None  # from whom to whom
        self._requests = 0
        self._begun = 0  # requests so far
        self._fed = 0  # bytes that the server has got since it waited for a request
        self._first: bytes | None = None  # the first of them
        self._fed_since = 0.0  # when they came
        self._expected = 0  # bytes of the request under way, as far as that is known
        self._held: list[bytes] | None = None  # what comes while a repeated request is answered
        self._multiplexed = False  # HTTP/2, whose frames are no heads
        self._announced = False  # that the connection ends
        self._since = monotonic()  # when it was last used
        self._read_by: float | None = self._since + config().timeouts.head
        self._head_begun = True
        self._written_by: float | None = None
        self._closed_by: float | None = None
        self._flushed = False
        self._half_closed = False  # by the client
        self.address = ""
        self.counts_on_more = False  # an answer is under way that announces no end

    @property
    def is_closing(self) -> bool:
        """Whether the server has closed it."""
        return self._closed_by is not None

    @property
    def is_idle(self) -> bool:
        """Whether it has no request and is not about to end."""
        return not self._requests and self._closed_by is None

    @property
    def unread(self) -> int:
        """How many bytes its client has not taken yet."""
        size: int = self._transport.get_write_buffer_size()
        return size

    def begin(self, scope: dict[str, Any] | None = None) -> None:
        """Note that a request has come; called in the server's own task."""
        if scope is not None and self._first is not None:
            self._expected = _size_of(scope, self._first)
        self._requests += 1
        self._begun += 1
        self._read_by = None
        self.counts_on_more = scope is None  # else from when the answer begins

    def announcing(self, send: Any) -> Any:
        """Return ``send`` that adds to an answer that the connection ends, if the process does."""
        if self._multiplexed:
            return send

        def announce(message: dict[str, Any]) -> Any:
            if message["type"] != "http.response.start":
                return send(message)
            if self._connections.is_ending:
                self._announced = True
                others = [each for each in message["headers"] if each[0].lower() != b"connection"]
                message = {**message, "headers": [*others, CLOSE]}
            else:
                self.counts_on_more = True
            return send(message)

        return announce

    def finish(self) -> None:
        """Note that a request has been answered."""
        self._requests -= 1
        if self._fed == self._expected:  # the server waits for a request, and has nothing of it
            self._fed = 0
        self._first = None
        self.counts_on_more = False
        if self._announced:
            self.close()
        elif not self._requests:
            self._since = monotonic()
            self._read_by = self._since + self._connections.keepalive
            self._head_begun = self._multiplexed
            self._connections.used(self)
            if self._half_closed:
                self._close_unless_begun(self._begun, TURNS)

    def _close_unless_begun(self, begun: int, turns: int) -> None:
        """Close it when no request begins in so many turns of the loop.

        A client that sends no more may have sent several requests at once. Between two of them
        the connection looks idle.
        """
        if begun != self._begun:
            return
        if turns:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._close_unless_begun, begun, turns - 1)
        else:
            self.close()

    def check(self, now: float, idle_since: float) -> None:
        """End it when its time was over at ``now``, or when it is idle since before that time."""
        if self._closed_by is not None:
            self._check_closing(now, self._closed_by)
        elif self._written_by is not None and now >= self._written_by:
            self.end("unread")
        elif self._read_by is not None and now >= self._read_by:
            if self._head_begun:
                self.end("head")
            else:
                self.close()
        elif self.is_idle and self._since < idle_since:
            self.close()

    def end(self, reason: str) -> None:
        """Close it at once."""
        metrics.connections_ended.labels(reason).inc()
        self._transport.abort()

    def close(self) -> None:
        """Send what is to be sent, then wait for the client to close its side."""
        if self._closed_by is not None:
            return
        self._closed_by = monotonic() + config().server.write
        if self._transport.can_write_eof() and not self._half_closed:
            if not self._transport.is_reading():
                self._transport.resume_reading()
            self._transport.write_eof()
        else:  # nothing is left to be read, or TLS says good-bye by itself
            self._transport.close()

    def _check_closing(self, now: float, closed_by: float) -> None:
        if not self._flushed and not self.unread:
            self._flushed = True
            self._closed_by = now + config().server.linger
        elif now >= closed_by:
            if self._flushed:
                self._transport.abort()
            else:
                self.end("unread")

    # --- what asyncio calls

    def connection_made(self, transport: Any) -> None:
        """Begin, unless there is no room."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        tls = transport.get_extra_info("ssl_object")
        self._way = (self.address, transport.get_extra_info("sockname"), tls is not None)
        self._multiplexed = tls is not None and tls.selected_alpn_protocol() == "h2"
        if not self._connections.add(self):
            self._closed_by = 0.0
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand data on; the first of a head sets its deadline."""
        if self._closed_by is not None:
            return
        if self._held is not None:
            self._held.append(data)
            self._transport.pause_reading()
            return
        if not self._head_begun and not self._requests:
            self._head_begun = True
            self._read_by = monotonic() + config().timeouts.head
        if not self._fed and not self._requests and self._repeats(data):
            return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Hand data on to the server."""
        if not self._fed:
            self._first = data
            self._fed_since = monotonic()
        self._fed += len(data)
        if self._inner is None:
            self._begin_inner()
        if len(data) <= SLICE:
            self._inner.data_received(data)
            return
        for place in range(0, len(data), SLICE):
            if not self.is_closing:
                self._inner.data_received(data[place : place + SLICE])

    def learn(self, repeats: Repeats, repeat: Repeat) -> None:
        """Have the request under way known by its bytes, if it came in one piece and alone."""
        first = self._first
        if not self._connections.may_repeat:
            return
        if first is not None and self._fed == self._expected == len(first) <= MOST:
            self._connections.repeats = repeats
            repeats.learn(self._key(first), repeat)

    def _key(self, data: bytes) -> Key:
        return (sha256(data).digest(), self._way)

    def _repeats(self, data: bytes) -> bool:
        """Answer a request that is known by its bytes; False where the server has to."""
        repeats = self._connections.repeats
        if repeats is None or len(data) > MOST or self._connections.is_ending or self.unread:
            return False
        repeat = repeats.find(self._key(data))
        if repeat is None or self._multiplexed or self._is_due():
            return False
        self._held = []
        self.begin()
        repeats.answer(repeat, partial(self._answer, data))
        return True

    def _is_due(self) -> bool:
        """Whether the server has to get a request, lest it takes the connection for idle.

        It closes what is idle for ``keepalive`` seconds, and counts from the last request that it
        has seen. Without keep-alive it has to announce the end on every answer.
        """
        keepalive = self._connections.keepalive
        if self._inner is None:
            return not keepalive
        return bool(monotonic() - self._fed_since >= keepalive / UNSEEN)

    def _answer(self, data: bytes, answer: bytes | None) -> None:
        """Send the answer to a repeated request; without one the server gets its bytes."""
        held, self._held = self._held or [], None
        if self.is_closing or self._transport.is_closing():
            self.finish()
            return
        if answer is not None:
            self._transport.write(answer)
            self._connections.repeated += 1
        self.finish()
        if answer is None:
            self._feed(data)
        if held:
            self._transport.resume_reading()
            for each in held:
                self.data_received(each)

    def _begin_inner(self) -> None:
        self._inner = self._make_inner()
        token = _current.set(self)  # for the tasks that the inner protocol creates
        try:
            self._inner.connection_made(ServersTransport(self, self._transport))
        finally:
            _current.reset(token)
        if self._written_by is not None:  # a repeated answer is unread
            self._inner.pause_writing()

    def eof_received(self) -> bool:
        """The client sends no more; it still gets the answers to what it has sent."""
        if self._closed_by is not None or (self._inner is None and not self._requests):
            return False
        self._half_closed = True
        if not self._requests:
            self._close_unless_begun(self._begun, TURNS)
        return True

    def pause_writing(self) -> None:
        """The client does not read: give it a time."""
        self._written_by = monotonic() + config().server.write
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client reads."""
        self._written_by = None
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._connections.remove(self)
        if self._inner is not None:
            self._inner.connection_lost(exc)


def _size_of(scope: dict[str, Any], first: bytes) -> int:
    """How many bytes the request with this scope has, whose first bytes are given; else -1."""
    if scope.get("http_version", "1.1") != "1.1":  # HTTP/1.0 has other answers, HTTP/2 has no heads
        return -1
    head = first.find(b"\r\n\r\n")
    size = 0
    for name, value in scope["headers"]:
        if name == b"content-length":
            size = int(value)
        elif name == b"transfer-encoding":
            return -1
    return -1 if head < 0 else head + 4 + size


def current_connection() -> Connection | None:
    """The connection of the request that is under way here; None under another server."""
    return _current.get()


class ServersTransport:
    """What the server's protocol takes for its transport: closing leaves the client time."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self.write = transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write_eof(self) -> None:
        """See ``Connection.close``."""
        self._connection.close()

    def close(self) -> None:
        """See ``Connection.close``."""
        self._connection.close()

    def is_closing(self) -> bool:
        """Whether the server or the client has closed the connection."""
        return self._connection.is_closing or self._transport.is_closing()
