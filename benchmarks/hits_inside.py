"""How long hits take inside the process, from the WSGI environ to the bytes. See ``hits``."""

import io
import json
from time import perf_counter
from typing import Any
from wsgiref.util import setup_testing_defaults

from pcf.wsgi import application

TIMES = 3_000


def durations(query: str, token: str) -> dict[str, tuple[float, float]]:
    """Median and 95th percentile in ms, by what was asked."""
    graph = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"
    return {
        "a hit, inside the process": _measure(query, token),
        "a hit of 135 kB": _measure(graph, token),
        "a hit of 135 kB, gzip": _measure(graph, token, HTTP_ACCEPT_ENCODING="gzip"),
    }


def _measure(query: str, token: str, **headers: str) -> tuple[float, float]:
    body = json.dumps({"query": query}).encode()
    taken = []
    for _ in range(TIMES):
        environ: dict[str, Any] = {
            "PATH_INFO": "/graphql",
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "wsgi.input": io.BytesIO(body),
            **headers,
        }
        setup_testing_defaults(environ)
        told: list[Any] = []
        started = perf_counter()
        answer = application(environ, lambda *status, told=told: told.extend(status))
        b"".join(answer)
        taken.append(perf_counter() - started)
        if hasattr(answer, "close"):
            answer.close()
    assert ("Cache-Status", "pcf; hit") in told[1], told  # noqa: S101
    taken.sort()
    return taken[TIMES // 2] * 1000, taken[TIMES * 95 // 100] * 1000
