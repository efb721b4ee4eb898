"""gunicorn's ASGI worker, with limits for its connections (``connections``)."""

import asyncio
import resource
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

from gunicorn.workers.gasgi import ASGIWorker

from pcf.apps import config
from pcf.processes import give_back_memory, take_signals
from pcf.server.connection import Connection
from pcf.server.connections import SWEEP, Connections

try:
    from uvloop import Loop as EventLoop
except ImportError:  # no wheel for this system
    from asyncio import SelectorEventLoop as EventLoop

TIDY = 60.0  # seconds after which memory that was freed is given back
SPARE = 256  # file descriptors for all that is no client: databases, files, libraries


class GuardedLoop(EventLoop):
    """An event loop whose servers count their connections and bound them."""

    backlog: int  # connections that wait to be accepted
    connections: Connections

    async def create_server(
        self, protocol_factory: Callable[[], Any], *args: Any, **options: Any
    ) -> Any:
        """As asyncio's."""

        def guarded() -> asyncio.Protocol:
            return Connection(self.connections, protocol_factory)

        options["backlog"] = self.backlog  # gunicorn leaves it at asyncio's 100
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = config().timeouts.head
        return await super().create_server(guarded, *args, **options)


class Worker(ASGIWorker):
    """As gunicorn's; no client can keep what belongs to others.

    A worker that is asked to end accepts no more connections, answers what comes on open ones with
    ``Connection: close``, and closes those that are idle (``server.idle_at_end``). gunicorn closes
    what is open once ``alive`` is false, so that comes only when no client counts on more.
    """

    alive: bool
    asgi: Any
    cfg: Any
    log: Any
    loop: Any
    max_requests: int
    nr: int
    servers: list[Any]

    def init_signals(self) -> None:
        """Take the place of gunicorn's loop, before anything is bound to it."""
        self.loop.close()
        self.loop = GuardedLoop()
        asyncio.set_event_loop(self.loop)
        files = allowed_files()
        most = max(files - SPARE, files // 2)
        self.loop.backlog = self.cfg.backlog
        self.loop.connections = self.connections = Connections(most, self.cfg.keepalive)
        super().init_signals()

    def run(self) -> None:
        """Serve until the worker is told to end."""
        self.asgi = self.connections.guarded(self.asgi)
        self._tidied = monotonic()
        self._most_requests, self.max_requests = self.max_requests, sys.maxsize
        self._ending: asyncio.Task[None] | None = None
        self.connections.may_repeat = not self.log.access_log_enabled
        self.loop.call_soon(take_signals)  # uvloop loses those that come before it runs
        self.loop.call_soon(self._sweep)
        super().run()

    def handle_exit_signal(self) -> None:
        """Accept no more connections; end once every client knows."""
        if self._ending is None:
            for server in self.servers:
                server.close()
            self._ending = self.loop.create_task(self._end())

    async def _end(self) -> None:
        await self.connections.end(self.cfg.graceful_timeout / 2)
        self.alive = False

    def _sweep(self) -> None:
        answered = self.nr + self.connections.repeated
        if self.alive and answered >= self._most_requests:
            self.log.info("Autorestarting worker after %d requests.", answered)
            self.handle_exit_signal()
        self.connections.sweep()
        if monotonic() - self._tidied > TIDY:
            self._tidied = monotonic()
            self.loop.run_in_executor(None, give_back_memory)
        self.loop.call_later(SWEEP, self._sweep)


def allowed_files() -> int:
    """Return how many file descriptors this process may have; raises the limit to what it needs,
    as far as the system lets it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config().server.max_connections + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft
