"""Probes and metrics: /livez, /readyz, /health and /metrics.

- /livez says that the process answers; it checks nothing else.
- /readyz says whether the service can serve requests: PostgreSQL answers, and its migrations are
  applied. Redis is reported but not needed, because PostgreSQL serves all requests without Redis.
  A PostgreSQL that takes no writes is reported, too; it serves queries.
- /health gives the details of /readyz as JSON.
- /metrics gives the metrics in Prometheus's exposition format.

/readyz and /health answer within ``server.probe`` seconds, even when PostgreSQL or Redis hangs.

``Probes`` answers for any Host, since load balancers and Kubernetes ask by IP address. The event
loop answers /livez, so that probe checks the loop. A thread outside of the request threads answers
the others, so they need no free request thread. Another server than PCF's takes Django's views.
"""

import asyncio
import json
from collections.abc import Callable
from threading import Lock, Thread
from time import monotonic, perf_counter
from typing import Any, NamedTuple

import prometheus_client
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView

from pcf._compat.django import count_unapplied_migrations
from pcf.cache.redis_gateway import CacheUnavailable, redis_gateway
from pcf.conf import config
from pcf.http.request_state import open_timeout
from pcf.observability import multiprocess
from pcf.server.messages import (
    CONNECTION_CLOSE,
    Answer,
    Body,
    Disconnected,
    Receive,
    Scope,
    Send,
    headers_of,
    read_body,
    send_answer,
)
from pcf.timeouts import TimeoutContext, activate

Check = Callable[[], str]
"""A check returns a detail for the report, and raises an exception when the check fails."""

Report = dict[str, dict[str, Any]]
"""By the name of the check: ``ok``, ``detail``, ``seconds`` and ``needed``."""


class CheckFailed(Exception):
    """A check has failed; the probe may show the message."""


class ProbeAnswer(NamedTuple):
    """The response to a probe."""

    status: int
    content_type: str
    body: bytes


def check_database() -> str:
    """Ask PostgreSQL for a row; return the version of PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return ".".join(map(str, connection.get_database_version()))


def check_writes() -> str:
    """Check that PostgreSQL takes writes. Raises CheckFailed.

    A session keeps the ``default_transaction_read_only`` that it was opened with, so an old session
    that is read-only is replaced, and a new one tells.
    """
    database: Any = connection
    if _is_read_only():
        if database.is_session_old:
            database.renew_sessions()
            database.close()
        if _is_read_only():
            raise CheckFailed("PostgreSQL is read-only")
    return "taken"


def _is_read_only() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        return bool(cursor.fetchone()[0] == "on")


def check_migrations() -> str:
    """Compare the migrations on disk with the applied ones. Raises CheckFailed."""
    count = count_unapplied_migrations()
    if count:
        are = "migration is" if count == 1 else "migrations are"
        raise CheckFailed(f"{count} {are} not applied")
    return "applied"


def check_cache() -> str:
    """Check that Redis answers and that the response cache is usable. Raises CheckFailed."""
    try:
        redis_gateway().ping()
    except CacheUnavailable as error:
        raise CheckFailed("Redis does not answer") from error
    problem = redis_gateway().problem()
    if problem is not None:
        raise CheckFailed(problem)
    return "answers"


CHECKS: dict[str, tuple[Check, bool]] = {  # the check, and whether readiness needs it
    "database": (check_database, True),
    "migrations": (check_migrations, True),
    "writes": (check_writes, False),
    "cache": (check_cache, False),
}


class _CheckRun:
    """One run of one check, in a thread of its own.

    When PostgreSQL or Redis hangs, the run goes on until its deadline. The probe does not wait for
    the run, and later probes do not start a second one.
    """

    def __init__(self, check: Check, seconds: float) -> None:
        self._check = check
        self._started = perf_counter()
        self._deadline = TimeoutContext.start("probe", seconds)
        self._result: tuple[bool, str] | None = None
        self._seconds = 0.0
        self._thread = Thread(target=self._run, name="pcf-probe", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the check has ended."""
        return self._result is not None

    def entry(self, until: float) -> dict[str, Any]:
        """Wait for the result, until ``until`` (seconds, monotonic) at most; return its entry."""
        self._thread.join(max(0.0, until - monotonic()))
        seconds = self._seconds if self.is_over else perf_counter() - self._started
        ok, detail = self._result or (False, f"no answer within {config().server.probe:g} s")
        return {"ok": ok, "detail": detail, "seconds": round(seconds, 4)}

    def _run(self) -> None:
        try:
            with activate(self._deadline):
                result = (True, self._check())
        except Exception as error:  # noqa: BLE001 - a probe reports every error
            result = (False, str(error) if isinstance(error, CheckFailed) else type(error).__name__)
        finally:
            self._seconds = perf_counter() - self._started
            connections.close_all()
        self._result = result


_lock = Lock()
_running: dict[str, _CheckRun] = {}


def run_checks() -> Report:
    """Run all checks in parallel; return after ``server.probe`` seconds at the latest.

    A check that still runs for an earlier probe is not started again.
    """
    seconds = config().server.probe
    until = monotonic() + seconds
    with _lock:
        for name, (check, _) in CHECKS.items():
            if name not in _running or _running[name].is_over:
                _running[name] = _CheckRun(check, seconds)
        runs = dict(_running)
    return {
        name: {**runs[name].entry(until), "needed": needed} for name, (_, needed) in CHECKS.items()
    }


def alive() -> ProbeAnswer:
    """Return 200."""
    return ProbeAnswer(200, "text/plain", b"ok\n")


def ready() -> ProbeAnswer:
    """Return 200 if the service can serve requests, else 503; the body has a line per check."""
    report = run_checks()
    lines = [f"{name}: {'ok' if entry['ok'] else 'failed'}\n" for name, entry in report.items()]
    return ProbeAnswer(200 if _is_ready(report) else 503, "text/plain", "".join(lines).encode())


def details() -> ProbeAnswer:
    """Return the report as JSON, with the status of ``ready``."""
    report = run_checks()
    is_ready = _is_ready(report)
    all_ok = all(entry["ok"] for entry in report.values())
    status = "ok" if all_ok else ("degraded" if is_ready else "failed")
    body = json.dumps({"status": status, "checks": report}).encode()
    return ProbeAnswer(200 if is_ready else 503, "application/json", body)


def exposition() -> ProbeAnswer:
    """Return the sums of all processes' metrics, then the resources of each process.

    django-prometheus adds up the processes. Its own metrics by view and path are not installed: the
    engine's metrics say more and cost less.
    """
    response: HttpResponse = ExportToDjangoView(HttpRequest())
    registry = prometheus_client.CollectorRegistry()
    multiprocess.register(registry)
    body = response.content + prometheus_client.generate_latest(registry)
    return ProbeAnswer(200, response["Content-Type"], body)


def _is_ready(report: Report) -> bool:
    return all(entry["ok"] for entry in report.values() if entry["needed"])


# --- Django's views, for servers other than PCF's


def livez(_request: HttpRequest) -> HttpResponse:
    """Return ``alive`` as a response of Django."""
    return _to_django(alive())


def readyz(_request: HttpRequest) -> HttpResponse:
    """Return ``ready`` as a response of Django."""
    return _to_django(ready())


def health(_request: HttpRequest) -> HttpResponse:
    """Return ``details`` as a response of Django."""
    return _to_django(details())


@require_safe
def metrics_view(_request: HttpRequest) -> HttpResponse:
    """Return ``exposition`` as a response of Django."""
    return _to_django(exposition())


def _to_django(answer: ProbeAnswer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)


_IN_THREADS: dict[str, Callable[[], ProbeAnswer]] = {
    "/readyz": ready,
    "/health": details,
    "/metrics": exposition,
}
_METHODS = ("GET", "HEAD")
_NOT_ALLOWED = ProbeAnswer(405, "text/plain", b"method not allowed\n")


class Probes:
    """Answers to probes.

    Probes that come while one of the same path is in progress share its answer. When PostgreSQL or
    Redis does not respond, ``pcf.server.probes`` bounds the time of the answer.
    """

    paths = frozenset({"/livez", *_IN_THREADS})

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[ProbeAnswer]] = {}

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a probe. Its body, if there is one, is read and ignored."""
        http1 = scope["http_version"][0] == "1"
        try:
            body = await read_body(headers_of(scope), receive, open_timeout(), http1=http1)
        except Disconnected:
            return
        if scope["method"] in _METHODS:
            probe = await self._run(scope["path"])
        else:
            probe = _NOT_ALLOWED
        await send_answer(_answer_of(probe, scope, body), send)

    async def _run(self, path: str) -> ProbeAnswer:
        if path == "/livez":
            return alive()
        running = self._running.get(path)
        if running is None or running.done():
            running = asyncio.ensure_future(asyncio.to_thread(_IN_THREADS[path]))
            self._running[path] = running
        return await asyncio.shield(running)  # other clients wait for it too


def _answer_of(probe: ProbeAnswer, scope: Scope, body: Body) -> Answer:
    headers = [
        (b"Content-Type", probe.content_type.encode()),
        (b"Content-Length", str(len(probe.body)).encode()),
        (b"Cache-Control", b"no-store"),
    ]
    if scope["http_version"][0] == "1" and not body.is_whole:
        headers.append(CONNECTION_CLOSE)  # the next bytes are the rest of the body
    if probe.status == _NOT_ALLOWED.status:
        headers.append((b"Allow", b"GET, HEAD"))
    return Answer(probe.status, headers, b"" if scope["method"] == "HEAD" else probe.body)
