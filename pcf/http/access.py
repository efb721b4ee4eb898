"""The access log: one line a request, where ``logs.access`` asks for it.

It stands around the whole application, so it sees what the Django application never does. When it
is switched off it is not there at all.
"""

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from time import perf_counter
from typing import Any

logger = logging.getLogger("pcf.access")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PATHS = frozenset({"/graphql", "/livez", "/readyz", "/health", "/metrics"})
_facts: ContextVar[dict[str, Any] | None] = ContextVar("pcf_access", default=None)

_FROM_HEADERS = {
    b"content-length": "bytes",
    b"cache-status": "cache",
    b"x-request-id": "request_id",
}

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def note(**facts: Any) -> None:
    """Add to the line of the current request, if there will be one.

    Facts are about the request as such: its kind, numbers, durations. Never values it came with.
    """
    noted = _facts.get()
    if noted is not None:
        noted.update(facts)


class AccessLog:
    """An ASGI application that logs what another one answers.

    The path is shown where it is one of the service's own, others as ``/admin/``, ``/static/`` or
    ``other``: a path may hold anything. The duration ends with the last byte handed over.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """As ASGI's."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started = perf_counter()
        facts: dict[str, Any] = {}
        token = _facts.set(facts)

        async def told(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                _take_facts(facts, message)
            await send(message)

        try:
            await self._application(scope, receive, told)
        finally:
            _facts.reset(token)
            _log(scope, facts, started)


def _take_facts(facts: dict[str, Any], start: dict[str, Any]) -> None:
    facts["status"] = start["status"]
    for name, value in start["headers"]:
        key = _FROM_HEADERS.get(name.lower())
        if key is not None:
            facts[key] = int(value) if key == "bytes" else value.decode("latin-1")


def _log(scope: dict[str, Any], facts: dict[str, Any], started: float) -> None:
    method = scope["method"]
    facts["method"] = method if method in METHODS else "other"
    facts["path"] = shown_path(scope["path"])
    facts["seconds"] = round(perf_counter() - started, 6)
    identity = facts.pop("request_id", "-")
    logger.info(
        "%s %s %s",
        facts["method"],
        facts["path"],
        facts.get("status", "-"),
        extra={"facts": facts, "request_id": identity},
    )


def shown_path(path: str) -> str:
    """``path`` where it is one of the service's own, else what may be told of it."""
    if path in _PATHS:
        return path
    for known in ("/admin/", "/static/"):
        if path.startswith(known):
            return known
    return "other"
