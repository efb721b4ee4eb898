"""Probes: ready, and the details.

/readyz says whether requests can be served: PostgreSQL answers and its migrations are applied.
Redis is reported but not needed: without it requests are served from PostgreSQL. /health gives the
details as JSON. Both answer within ``server.probe`` seconds, whatever PostgreSQL and Redis do.
/livez says that the process answers, and asks no one else.
"""

import json
from collections.abc import Callable
from threading import Lock, Thread
from time import monotonic, perf_counter
from typing import Any, NamedTuple

from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse

from pcf.apps import config
from pcf.cache.gate import gate
from pcf.timeouts import TimeoutContext, activate

Check = Callable[[], str]
Report = dict[str, dict[str, Any]]


def check_database() -> str:
    """Ask PostgreSQL for a row; returns its version."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return ".".join(map(str, connection.get_database_version()))


class Trouble(Exception):
    """What is wrong, in words that a probe may show."""


def check_cache() -> str:
    """Whether Redis answers and the response cache can be used. Raises Trouble."""
    gate().ping()
    trouble = gate().trouble()
    if trouble is not None:
        raise Trouble(trouble)
    return "answers"


def check_migrations() -> str:
    """Compare the migrations on disk with those that were applied. Raises RuntimeError."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        raise RuntimeError(f"{len(plan)} migrations are not applied")
    return "applied"


CHECKS: dict[str, tuple[Check, bool]] = {  # with whether readiness needs it
    "database": (check_database, True),
    "migrations": (check_migrations, True),
    "cache": (check_cache, False),
}


class _Examination:
    """One run of one check, in a thread of its own."""

    def __init__(self, check: Check, seconds: float) -> None:
        self._check = check
        self._started = perf_counter()
        self._deadline = TimeoutContext.start("probe", seconds)
        self._found: tuple[bool, str] | None = None
        self._seconds = 0.0
        self._thread = Thread(target=self._run, name="pcf-probe", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the check has come to an end."""
        return self._found is not None

    def entry(self, until: float) -> dict[str, Any]:
        """What the check has found ``until`` that time, by monotonic()."""
        self._thread.join(max(0.0, until - monotonic()))
        taken = self._seconds if self.is_over else perf_counter() - self._started
        ok, detail = self._found or (False, f"no answer within {config().server.probe:g} s")
        return {"ok": ok, "detail": detail, "seconds": round(taken, 4)}

    def _run(self) -> None:
        try:
            with activate(self._deadline):
                found = (True, self._check())
        except Exception as error:  # noqa: BLE001 (a probe reports whatever is wrong)
            found = (False, str(error) if isinstance(error, Trouble) else type(error).__name__)
        finally:
            self._seconds = perf_counter() - self._started
            connections.close_all()
        self._found = found


_lock = Lock()
_running: dict[str, _Examination] = {}


def examine() -> Report:
    """Run all checks at once; return after ``server.probe`` seconds at the latest.

    A check that is still at work from an earlier probe is not begun twice.
    """
    seconds = config().server.probe
    until = monotonic() + seconds
    with _lock:
        for name, (check, _) in CHECKS.items():
            if name not in _running or _running[name].is_over:
                _running[name] = _Examination(check, seconds)
        examined = dict(_running)
    return {
        name: {**examined[name].entry(until), "needed": needed}
        for name, (_, needed) in CHECKS.items()
    }


class ProbeAnswer(NamedTuple):
    """What a probe is answered."""

    status: int
    content_type: str
    body: bytes


def ready() -> ProbeAnswer:
    """200 when requests can be served, else 503; one line a check."""
    report = examine()
    lines = [f"{name}: {'ok' if entry['ok'] else 'failed'}\n" for name, entry in report.items()]
    return ProbeAnswer(200 if _is_ready(report) else 503, "text/plain", "".join(lines).encode())


def details() -> ProbeAnswer:
    """Every check with its detail and duration in seconds."""
    report = examine()
    served = _is_ready(report)
    well = all(entry["ok"] for entry in report.values())
    status = "ok" if well else ("degraded" if served else "failed")
    body = json.dumps({"status": status, "checks": report}).encode()
    return ProbeAnswer(200 if served else 503, "application/json", body)


def alive() -> ProbeAnswer:
    """200 while the process answers."""
    return ProbeAnswer(200, "text/plain", b"ok\n")


def _is_ready(report: Report) -> bool:
    return all(entry["ok"] for entry in report.values() if entry["needed"])


def livez(_request: HttpRequest) -> HttpResponse:
    """See ``alive``."""
    return _response(alive())


def readyz(_request: HttpRequest) -> HttpResponse:
    """See ``ready``."""
    return _response(ready())


def health(_request: HttpRequest) -> HttpResponse:
    """See ``details``."""
    return _response(details())


def _response(probe: ProbeAnswer) -> HttpResponse:
    return HttpResponse(probe.body, status=probe.status, content_type=probe.content_type)
