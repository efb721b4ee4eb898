"""Measure cache hits inside the process, from the ASGI scope to the bytes, for ``hits``."""

import asyncio
import json
from time import perf_counter
from typing import Any

from pcf.asgi import application

TIMES = 3_000


def durations(query: str, token: str) -> dict[str, tuple[float, float]]:
    """Return the median and the 95th percentile in milliseconds by kind of request."""
    graph = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"
    gzip = (b"accept-encoding", b"gzip")
    with asyncio.Runner() as runner:
        return {
            "a hit, inside the process": runner.run(_measure(query, token)),
            "a hit of 135 kB": runner.run(_measure(graph, token)),
            "a hit of 135 kB, gzip": runner.run(_measure(graph, token, gzip)),
        }


async def _measure(query: str, token: str, *headers: tuple[bytes, bytes]) -> tuple[float, float]:
    body = json.dumps({"query": query}).encode()
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "root_path": "",
        "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "headers": [
            (b"host", b"localhost"), (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"authorization", f"Bearer {token}".encode()), *headers,
        ],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    times = []
    for _ in range(TIMES):
        messages.clear()
        started = perf_counter()
        await application(scope, receive, send)
        times.append(perf_counter() - started)
    assert (b"Cache-Status", b"pcf; hit") in messages[0]["headers"], messages  # noqa: S101
    times.sort()
    return times[TIMES // 2] * 1000, times[TIMES * 95 // 100] * 1000
