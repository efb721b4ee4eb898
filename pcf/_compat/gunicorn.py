"""gunicorn 27: the attributes and steps of its ASGI worker that PCF's worker relies on.

gunicorn documents that a worker class may derive from one of its own. It does not document what a
derived class may touch. ``BaseWorker`` gives these names and steps a meaning:

- ``loop`` exists before ``init_signals()``, which is the first to bind anything to it.
- ``run()`` serves ``asgi`` on ``loop`` until ``alive`` is false, and then closes all connections.
- ``handle_exit_signal()`` runs on the loop when gunicorn asks the worker to end (SIGTERM).
- ``nr`` counts the requests. The worker ends itself once ``nr`` reaches ``max_requests``.
- ``servers`` are the asyncio servers of its listening sockets, made by ``loop.create_server``.

``answer_head`` returns what gunicorn writes before the application's headers.
"""

import asyncio
import sys
from functools import lru_cache
from typing import Any

from gunicorn.asgi.protocol import _get_cached_date_header as date_header
from gunicorn.asgi.protocol import _get_cached_status_line as status_line
from gunicorn.config import Config
from gunicorn.workers.gasgi import ASGIWorker

__all__ = ["BaseWorker", "answer_head"]

# Hooks and protocols that only gunicorn's own parser serves
_SETTINGS = ("post_request", "pre_request", "protocol", "proxy_protocol")
_SERVER = b"Server: gunicorn/asgi\r\n"


def answer_head(status: int) -> bytes:
    """Return the status line, the Server and the Date header of an answer in HTTP/1.1."""
    return _head(status, date_header())


@lru_cache(maxsize=8)  # several statuses in one second
def _head(status: int, date: bytes) -> bytes:
    return bytes(status_line((1, 1), status) + _SERVER + date)


class BaseWorker(ASGIWorker):
    """gunicorn's ASGI worker with names for the steps that a derived worker changes."""

    alive: bool
    asgi: Any
    cfg: Any
    log: Any
    loop: Any
    max_requests: int
    nr: int
    servers: list[asyncio.Server]

    def replace_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run on ``loop`` instead of gunicorn's; to be called in ``init_signals``."""
        self.loop.close()
        self.loop = loop
        asyncio.set_event_loop(loop)

    @property
    def scheme_headers(self) -> tuple[str, ...]:
        """The headers, in lower case, by which gunicorn may choose the scheme of a request."""
        return tuple(sorted(name.lower() for name in self.cfg.secure_scheme_headers))

    def needs_every_request(self, *, line_bytes: int, fields: int) -> bool:
        """Return whether gunicorn's settings need it to see every request.

        The other requests have at most ``fields`` headers, and lines of ``line_bytes`` at most.
        """
        cfg, usual = self.cfg, Config().settings
        return bool(
            self.log.access_log_enabled
            or any(cfg.settings[name].get() != usual[name].get() for name in _SETTINGS)
            or 0 < cfg.limit_request_line < line_bytes
            or 0 < cfg.limit_request_field_size < line_bytes
            or cfg.limit_request_fields < fields
        )

    def take_max_requests(self) -> int:
        """Return gunicorn's limit of requests, and switch it off for gunicorn."""
        limit, self.max_requests = self.max_requests, sys.maxsize
        return limit

    def stop_accepting(self) -> None:
        """Accept no more connections."""
        for server in self.servers:
            server.close()

    def stop(self) -> None:
        """Close all connections and end the worker."""
        self.alive = False
