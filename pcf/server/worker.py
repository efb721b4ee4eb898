"""gunicorn's ASGI worker, and the limits for its client connections.

A worker that gunicorn asks to end accepts no more connections. It answers requests on open
connections with ``Connection: close``, and closes the idle ones (``server.idle_at_end``). Then it
lets gunicorn close the rest, at a time when no client expects an answer.

A sweep every ``SWEEP_INTERVAL`` seconds ends the connections whose time is over:

==========================================  =====================================================
client                                      time until the server ends the connection
==========================================  =====================================================
that has not sent a whole request head      ``timeouts.head`` seconds from the first byte of the
                                            head, or from the begin of the connection
that does not read its answer               ``server.write`` seconds; less when all unread
                                            answers exceed ``server.max_unread_bytes`` together
that is silent while the process ends       ``server.idle_at_end`` seconds
whose connection the server has closed      ``server.linger`` seconds, in which the client reads
                                            the answer and closes its side; the server drops
                                            what the client sends meanwhile, since a reset would
                                            destroy the answer
==========================================  =====================================================

A process has at most ``server.max_connections`` connections, and at most
``server.max_connections_per_address`` of one address. At such a limit the longest idle connection
makes room for a new one. If none is idle, the new connection is closed. The service as a whole has
the limits of all its processes together.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any

from pcf._compat.gunicorn import BaseWorker
from pcf.conf import config
from pcf.observability import metrics
from pcf.server.connection import ClientConnection, current_connection
from pcf.server.fast_path import MAX_HEADERS, MAX_LINE_BYTES, FastPath
from pcf.server.messages import ASGIApplication, Receive, Scope, Send
from pcf.server.process import give_back_memory, unblock_signals

try:
    from uvloop import Loop as EventLoop
except ImportError:  # uvloop has no wheel for this system
    from asyncio import SelectorEventLoop as EventLoop

SWEEP_INTERVAL = 0.25  # seconds
SETTLE_TIME = 0.05  # seconds that the server needs to notice that an answer is sent


class ConnectionLimits:
    """The connections of one process, and their limits."""

    def __init__(self, max_connections: int, keepalive: float) -> None:
        """Allow ``max_connections``, or fewer by the settings.

        A connection may be idle for ``keepalive`` seconds.
        """
        settings = config().server
        self.keepalive = keepalive
        self._max_connections = min(settings.max_connections, max_connections)
        is_behind_proxy = config().rates.trusted_proxies > 0  # one address for all clients
        self._max_per_address = 0 if is_behind_proxy else settings.max_connections_per_address
        self._open: dict[ClientConnection, None] = {}  # the longest idle one first
        self._by_address: Counter[str] = Counter()
        self.is_ending = False
        self.allows_fast_path = True  # False where the server has to see every request
        self.fast_path: FastPath | None = None  # set by the server's first GraphQL request
        self.scheme_headers: tuple[str, ...] = ()  # the server reads the scheme from these
        self.fast_path_answers = 0

    def __len__(self) -> int:
        return len(self._open)

    def guarded(self, application: ASGIApplication) -> ASGIApplication:
        """Return ``application`` wrapped so that connections know of their requests."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            connection = current_connection()
            if connection is None:
                await application(scope, receive, send)
                return
            if connection.is_closing:  # the last answer told the client that none follows
                return
            connection.begin(scope)
            try:
                await application(scope, receive, connection.announcing(send))
            finally:
                connection.finish()

        return guarded

    def add(self, connection: ClientConnection) -> bool:
        """Add a new connection. Return False where there is no room."""
        address, limit = connection.address, self._max_per_address
        if limit and self._by_address[address] >= limit and not self._make_room("address", address):
            return False
        if len(self._open) >= self._max_connections and not self._make_room("process"):
            return False
        self._open[connection] = None
        self._by_address[address] += 1
        return True

    def remove(self, connection: ClientConnection) -> None:
        """Remove a lost connection."""
        if connection in self._open:
            del self._open[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def mark_used(self, connection: ClientConnection) -> None:
        """Note that a connection becomes idle now."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    async def end(self, max_wait: float) -> None:
        """Make every further answer the last one of its connection.

        Returns once no earlier answer is in progress and the server knows all open connections,
        after ``max_wait`` seconds at most. The server may close any connection then.
        """
        self.is_ending = True
        for _ in range(round(max_wait / SETTLE_TIME)):
            if not any(connection.delays_end for connection in self._open):
                break
            await asyncio.sleep(SETTLE_TIME)
        await asyncio.sleep(SETTLE_TIME)

    def sweep(self) -> None:
        """End the connections whose time is over."""
        now = monotonic()
        unread = 0
        idle_since = now - config().server.idle_at_end if self.is_ending else 0.0
        for connection in list(self._open):
            connection.check(now, idle_since)
            unread += connection.unread
        for connection in list(self._open) if unread > config().server.max_unread_bytes else ():
            if unread <= config().server.max_unread_bytes:
                break
            if connection.unread:
                unread -= connection.unread
                connection.end("unread")

    def _make_room(self, limit: str, address: str | None = None) -> bool:
        for connection in self._open:
            if connection.is_idle and address in (None, connection.address):
                connection.end(limit)
                self.remove(connection)
                return True
        metrics.connections_ended.labels(limit).inc()
        return False


MEMORY_INTERVAL = 60.0  # seconds after which the worker gives freed memory back
END_RESERVE = 2  # seconds of graceful_timeout that are left for gunicorn's own end
SPARE_FILES = 256  # file descriptors for databases, files and libraries


class GuardedLoop(EventLoop):
    """An event loop whose servers put ``ClientConnection`` in front of their own protocol."""

    backlog: int  # connections that wait to be accepted
    connections: ConnectionLimits

    async def create_server(
        self, protocol_factory: Callable[[], Any], *args: Any, **options: Any
    ) -> Any:
        """Create a server as asyncio does, with guarded connections."""

        def make_connection() -> asyncio.Protocol:
            return ClientConnection(self.connections, protocol_factory)

        options["backlog"] = self.backlog  # gunicorn leaves it at asyncio's 100
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = config().timeouts.head
        return await super().create_server(make_connection, *args, **options)


class Worker(BaseWorker):
    """gunicorn's ASGI worker; no client can take more than its share of connections and memory."""

    def init_signals(self) -> None:
        """Replace gunicorn's event loop before anything is bound to it."""
        loop = GuardedLoop()
        self.replace_loop(loop)
        files = raise_file_limit()
        max_connections = max(files - SPARE_FILES, files // 2)
        self.connections = ConnectionLimits(max_connections, self.cfg.keepalive)
        loop.backlog, loop.connections = self.cfg.backlog, self.connections
        super().init_signals()

    def run(self) -> None:
        """Serve until gunicorn asks the worker to end."""
        self.asgi = self.connections.guarded(self.asgi)
        self._memory_given_back = monotonic()
        # gunicorn does not count the answers of the fast path, so this class checks the limit.
        self._max_answers = self.take_max_requests()
        self._ending: asyncio.Task[None] | None = None
        self.connections.scheme_headers = self.scheme_headers
        self.connections.allows_fast_path = not self.needs_every_request(
            line_bytes=MAX_LINE_BYTES, fields=MAX_HEADERS
        )
        # uvloop loses signals that come before it runs, so they stay blocked until it does.
        self.loop.call_soon(unblock_signals)
        self.loop.call_soon(self._sweep)
        super().run()

    def handle_exit_signal(self) -> None:
        """Accept no more connections, and end once every client knows."""
        if self._ending is None:
            self.stop_accepting()
            self._ending = self.loop.create_task(self._end())

    async def _end(self) -> None:
        await self.connections.end(max(1, self.cfg.graceful_timeout - END_RESERVE))
        self.stop()

    def _sweep(self) -> None:
        answers = self.nr + self.connections.fast_path_answers
        if self._ending is None and self.alive and answers >= self._max_answers:
            # as gunicorn says it
            self.log.info("Autorestarting worker after %d requests.", answers)
            self.handle_exit_signal()
        self.connections.sweep()
        if monotonic() - self._memory_given_back > MEMORY_INTERVAL:
            self._memory_given_back = monotonic()
            self.loop.run_in_executor(None, give_back_memory)
        self.loop.call_later(SWEEP_INTERVAL, self._sweep)


def raise_file_limit() -> int:
    """Raise the process's limit of file descriptors to its need, as far as the system allows.

    Returns the number of file descriptors that the process may use.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config().server.max_connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft
