"""Probes and metrics, for any Host: load balancers and Kubernetes ask by IP address.

/livez is answered on the event loop, so it tells of the loop. The others are answered in a thread
that is no request's, so they need no free thread.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pcf.http.arrival import Arrival
from pcf.http.exposition import exposition
from pcf.http.health import ProbeAnswer, alive, details, ready
from pcf.server.reading import Disconnected, Receive, headers_of, read_body

_IN_THREADS: dict[str, Callable[[], ProbeAnswer]] = {
    "/readyz": ready,
    "/health": details,
    "/metrics": exposition,
}
_METHODS = ("GET", "HEAD")
_NOT_ALLOWED = ProbeAnswer(405, "text/plain", b"method not allowed\n")


class Probes:
    """Answers probes; those that come while one of their kind is under way get its answer."""

    paths = frozenset({"/livez", *_IN_THREADS})

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Task[ProbeAnswer]] = {}

    async def answer(
        self,
        scope: dict[str, Any],
        receive: Receive,
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a probe; its body, if there is one, is read and means nothing."""
        path = scope["path"]
        http1 = scope["http_version"][0] == "1"
        try:
            body = await read_body(headers_of(scope), receive, Arrival.of({}), http1=http1)
        except Disconnected:
            return
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
        if http1 and not body.is_whole:
            headers.append((b"Connection", b"close"))  # the rest of the body may still come
        if probe.status == _NOT_ALLOWED.status:
            headers.append((b"Allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": probe.status, "headers": headers})
        content = b"" if scope["method"] == "HEAD" else probe.body
        await send({"type": "http.response.body", "body": content})
