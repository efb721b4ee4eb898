"""Limits for the connections of a process: what gunicorn's ASGI worker lacks.

One sweep a quarter of a second looks for connections (``connection``) whose time is over:

=======================================  ====================================================
a client                                 has
=======================================  ====================================================
that has sent no whole request head      ``timeouts.head`` seconds from the head's first byte,
                                         or from the connection's begin
that does not read its answer            ``server.write`` seconds; less when all unread answers
                                         together have more than ``server.max_unread_bytes``
that is silent while the process ends    ``server.idle_at_end`` seconds
whose connection the server has closed   ``server.linger`` seconds to read the answer and to
                                         close its side; what it sends meanwhile is dropped,
                                         since a reset would take the answer from it
=======================================  ====================================================

A process has ``server.max_connections`` at most, and ``server.max_connections_per_address`` of one
address. At a limit the connection that was idle longest makes room; where none is idle the new one
is closed.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from pcf import metrics
from pcf.apps import config
from pcf.server.connection import Connection, current_connection
from pcf.server.repeats import Repeats

SWEEP = 0.25  # seconds between two looks
SETTLING = 0.05  # seconds in which the server notes that it has sent an answer


class Connections:
    """The connections of one process."""

    def __init__(self, most: int, keepalive: float) -> None:
        """``most`` is how many the system's limit of file descriptors allows; ``keepalive`` is for
        how many seconds a connection may be idle.
        """
        settings = config().server
        self.keepalive = keepalive
        self._most = min(settings.max_connections, most)
        behind_proxies = config().rates.trusted_proxies > 0
        self._most_of_address = 0 if behind_proxies else settings.max_connections_per_address
        self._open: dict[Connection, None] = {}  # the one that was idle longest first
        self._by_address: Counter[str] = Counter()
        self.is_ending = False
        self.may_repeat = True  # the server need not see every request
        self.repeats: Repeats | None = None  # once there is something to repeat
        self.repeated = 0  # answers that the server knows nothing of

    def __len__(self) -> int:
        return len(self._open)

    def guarded(self, application: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
        """Return the ASGI application that tells connections when they have a request."""

        async def guarded(scope: dict[str, Any], receive: Any, send: Any) -> None:
            connection = current_connection()
            if connection is None:
                await application(scope, receive, send)
                return
            if connection.is_closing:  # the client knows that this request is not answered
                return
            connection.begin(scope)
            try:
                await application(scope, receive, connection.announcing(send))
            finally:
                connection.finish()

        return guarded

    def add(self, connection: Connection) -> bool:
        """Count a new connection; False where it has no room."""
        address, limit = connection.address, self._most_of_address
        if limit and self._by_address[address] >= limit and not self._make_room("address", address):
            return False
        if len(self._open) >= self._most and not self._make_room("process"):
            return False
        self._open[connection] = None
        self._by_address[address] += 1
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        if connection in self._open:
            del self._open[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def used(self, connection: Connection) -> None:
        """Note that a connection was idle until now."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    async def end(self, patience: float) -> None:
        """Let every answer that begins from now on be the last of its connection.

        Returns once no answer is under way that began before: the server may close any connection
        then. Waits ``patience`` seconds at most.
        """
        self.is_ending = True
        for _ in range(round(patience / SETTLING)):
            if not any(connection.counts_on_more for connection in self._open):
                break
            await asyncio.sleep(SETTLING)
        await asyncio.sleep(SETTLING)

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

    def _make_room(self, reason: str, address: str | None = None) -> bool:
        for connection in self._open:
            if connection.is_idle and address in (None, connection.address):
                connection.end(reason)
                self.remove(connection)
                return True
        metrics.connections_ended.labels(reason).inc()
        return False
