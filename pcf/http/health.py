"""Probes: alive, ready, and the details.

/livez says that the process answers; it asks no one else. /readyz says whether requests can be
served: PostgreSQL answers and its migrations are applied. Redis is reported but not needed: without
it requests are served from PostgreSQL. /health gives the details as JSON.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from pcf.cache.gate import gate

Check = Callable[[], str]


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


def _examine() -> dict[str, dict[str, Any]]:
    report: dict[str, dict[str, Any]] = {}
    for name, (check, needed) in CHECKS.items():
        started = perf_counter()
        try:
            entry: dict[str, Any] = {"ok": True, "detail": check()}
        except Exception as error:  # noqa: BLE001 (a probe reports whatever is wrong)
            detail = str(error) if isinstance(error, Trouble) else type(error).__name__
            entry = {"ok": False, "detail": detail}
        entry["needed"] = needed
        entry["seconds"] = round(perf_counter() - started, 4)
        report[name] = entry
    return report


def _is_ready(report: dict[str, dict[str, Any]]) -> bool:
    return all(entry["ok"] for entry in report.values() if entry["needed"])


def livez(_request: HttpRequest) -> HttpResponse:
    """200 while the process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(_request: HttpRequest) -> HttpResponse:
    """200 when requests can be served, else 503; one line a check."""
    report = _examine()
    lines = [f"{name}: {'ok' if entry['ok'] else 'failed'}" for name, entry in report.items()]
    status = 200 if _is_ready(report) else 503
    return HttpResponse("\n".join(lines) + "\n", status=status, content_type="text/plain")


def health(_request: HttpRequest) -> JsonResponse:
    """Every check with its detail and duration in seconds."""
    report = _examine()
    ready = _is_ready(report)
    well = all(entry["ok"] for entry in report.values())
    status = "ok" if well else ("degraded" if ready else "failed")
    return JsonResponse({"status": status, "checks": report}, status=200 if ready else 503)
