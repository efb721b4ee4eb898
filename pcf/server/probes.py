"""Probes and metrics, for any Host: load balancers and Kubernetes ask by IP address.

/livez is answered on the event loop, so it tells of the loop. The others are answered in a thread
that is no request's, so they need no free thread.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pcf.http.exposition import exposition
from pcf.http.health import Probe, alive, details, ready

_IN_THREADS: dict[str, Callable[[], Probe]] = {
    "/readyz": ready,
    "/health": details,
    "/metrics": exposition,
}
_METHODS = ("GET", "HEAD")
_BODY = (b"content-length", b"transfer-encoding")
_NOT_ALLOWED = Probe(405, "text/plain", b"method not allowed\n")


class Probes:
    """Answers probes; those that come while one of their kind is under way get its answer."""

    paths = frozenset({"/livez", *_IN_THREADS})

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Task[Probe]] = {}

    async def answer(
        self, scope: dict[str, Any], send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        """Answer a probe."""
        path = scope["path"]
        if scope["method"] not in _METHODS:
            probe = _NOT_ALLOWED
        elif path == "/livez":
            probe = alive()
        else:
            asked = self._asked.get(path)
            if asked is None or asked.done():
                asked = asyncio.ensure_future(asyncio.to_thread(_IN_THREADS[path]))
                self._asked[path] = asked
            probe = await asyncio.shield(asked)
        headers = [
            (b"Content-Type", probe.content_type.encode()),
            (b"Content-Length", str(len(probe.body)).encode()),
            (b"Cache-Control", b"no-store"),
        ]
        if scope["http_version"][0] == "1" and any(
            name in _BODY and value != b"0" for name, value in scope["headers"]
        ):
            headers.append((b"Connection", b"close"))  # nobody reads the body
        if probe.status == _NOT_ALLOWED.status:
            headers.append((b"Allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": probe.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else probe.body
        await send({"type": "http.response.body", "body": body})
