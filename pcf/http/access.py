"""The access log: one line a request, where ``logs.access`` asks for it.

It stands around the whole application, so it sees what the Django application never does. When it
is switched off it is not there at all.
"""

import logging
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from time import perf_counter
from typing import Any

logger = logging.getLogger("pcf.access")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PATHS = frozenset({"/graphql", "/livez", "/readyz", "/health", "/metrics"})
_facts: ContextVar[dict[str, Any] | None] = ContextVar("pcf_access", default=None)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def note(**facts: Any) -> None:
    """Add to the line of the current request, if there will be one.

    Facts are about the request as such: its kind, numbers, durations. Never values it came with.
    """
    noted = _facts.get()
    if noted is not None:
        noted.update(facts)


class AccessLog:
    """A WSGI application that logs what another one answers.

    The path is shown where it is one of the service's own, others as ``/admin/``, ``/static/`` or
    ``other``: a path may hold anything. The duration ends with the last byte handed over.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """As WSGI's."""
        started = perf_counter()
        facts: dict[str, Any] = {}
        token = _facts.set(facts)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            facts["status"] = int(status[:3])
            for name, value in headers:
                lowered = name.lower()
                if lowered == "content-length":
                    facts["bytes"] = int(value)
                elif lowered == "cache-status":
                    facts["cache"] = value
                elif lowered == "x-request-id":
                    facts["request_id"] = value
            return start_response(status, headers, *rest)

        try:
            body = self._application(environ, start)
        except BaseException:
            self._log(environ, facts, started)
            raise
        finally:
            _facts.reset(token)
        return _Body(body, lambda: self._log(environ, facts, started))

    @staticmethod
    def _log(environ: dict[str, Any], facts: dict[str, Any], started: float) -> None:
        method = environ.get("REQUEST_METHOD", "")
        facts["method"] = method if method in _METHODS else "other"
        facts["path"] = _path(environ.get("PATH_INFO", ""))
        facts["seconds"] = round(perf_counter() - started, 6)
        identity = facts.pop("request_id", "-")
        logger.info(
            "%s %s %s",
            facts["method"],
            facts["path"],
            facts.get("status", "-"),
            extra={"facts": facts, "request_id": identity},
        )


class _Body:
    """A response's body; says when it is closed."""

    def __init__(self, body: Iterable[bytes], closed: Callable[[], None]) -> None:
        self._body = body
        self._closed = closed

    def __iter__(self) -> Any:
        return iter(self._body)

    def close(self) -> None:
        """As WSGI's: the server calls it when everything was sent, or cannot be."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._closed()


def _path(path: str) -> str:
    if path in _PATHS:
        return path
    for known in ("/admin/", "/static/"):
        if path.startswith(known):
            return known
    return "other"
