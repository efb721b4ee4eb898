"""Check deploy/ against a real Prometheus that scrapes a running service.

    make check-deploy

1. promtool checks the configuration and the rules, and runs deploy/prometheus/rules_test.yml.
2. gunicorn serves requests of every kind and Prometheus scrapes it with the rules. Every expression
   of the dashboard and of the rules has to return data.

The check needs promtool and prometheus (Debian: the package ``prometheus``), and the servers that
``dev.py exec`` provides.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from scripts.project import ROOT
from scripts.services import free_port

RULES = ROOT / "deploy/prometheus/rules.yml"
TESTS = ROOT / "deploy/prometheus/rules_test.yml"
CONFIG = ROOT / "deploy/prometheus/prometheus.yml"
DASHBOARD = ROOT / "deploy/grafana/dashboards/pcf.json"
ONLY_WITH_REPLICAS = "db_replica_"
COMPARISON = re.compile(r"\s(?:>|<|==)\s[\d.]+(?:\s\*\s[\d.]+)?")


def dashboard_expressions() -> dict[str, str]:
    """Return the dashboard's expressions by panel, with values for Grafana's variables."""
    found = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            found[f"panel {panel['title']} {target['refId']}"] = text
    return found


def rules() -> list[dict[str, Any]]:
    """Return all recording and alerting rules."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_expressions() -> dict[str, str]:
    """Return the expressions of the rules without comparisons, so that they always have data."""
    found = {}
    for rule in rules():
        name = rule.get("record") or rule["alert"]
        found[f"rule {name}"] = COMPARISON.sub("", rule["expr"])
    return found


def check_rules() -> bool:
    """Return whether promtool finds no fault."""
    commands: tuple[list[str | Path], ...] = (
        ["promtool", "check", "config", CONFIG],
        ["promtool", "check", "rules", "--lint-fatal", RULES],
        ["promtool", "test", "rules", TESTS],
    )
    statuses = [subprocess.run(argv, check=False).returncode for argv in commands]
    return not any(statuses)


@contextlib.contextmanager
def running(argv: list[str], env: dict[str, str], url: str, log: Path) -> Iterator[None]:
    """Run a server while the block runs. Exits unless it answers ``url`` within a minute."""
    with log.open("wb") as stream:
        process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=stream, stderr=stream)
        try:
            for _ in range(300):
                if process.poll() is not None:
                    sys.exit(f"{argv[0]} ended:\n{log.read_text()[-2000:]}")
                with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
                    break
                time.sleep(0.2)
            else:
                sys.exit(f"{argv[0]} is not ready:\n{log.read_text()[-2000:]}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def ask(url: str, query: str, token: str | None = None, **headers: str) -> None:
    """Send one GraphQL request and ignore the answer."""
    headers |= {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, headers)
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=30):
        pass


def send_requests(url: str) -> None:
    """Send requests of every kind: hits, misses, edges, writes, errors, timeouts."""
    graph = "{ users(first: 5) { name notes { title tags { name } author { name } } } }"
    for _ in range(4):
        ask(url, graph)
    ask(url, graph, "test-token", **{"Cache-Control": "no-store"})
    ask(url, 'mutation { createNote(input: {title: "a note"}) { note { id } } }', "test-token")
    ask(url, "{ nothing }")
    ask(url, "{ slowQuery(delay: 3) }", **{"X-Request-Timeout": "1.2"})


def value_of(prometheus: str, expression: str) -> list[Any]:
    """Return the result of an expression. Exits if Prometheus cannot evaluate it."""
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=10) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"{expression}: {error.read().decode()}")
    result: list[Any] = answer["data"]["result"]
    return result


def empty_expressions(url: str, prometheus: str) -> dict[str, str]:
    """Return the expressions that have no data after a minute of requests."""
    wanted = dashboard_expressions() | rule_expressions()
    wanted = {name: text for name, text in wanted.items() if not needs_replicas(text)}
    print(f"{len(wanted)} expressions of the dashboard and the rules", flush=True)
    deadline = time.monotonic() + 60
    while wanted and time.monotonic() < deadline:
        send_requests(url)
        time.sleep(1)
        wanted = {name: text for name, text in wanted.items() if not value_of(prometheus, text)}
    return wanted


def needs_replicas(expression: str) -> bool:
    """Return whether the expression has data only with replicas."""
    return ONLY_WITH_REPLICAS in expression and "vector(0)" not in expression


def check_expressions(folder: Path) -> bool:
    """Return whether every expression has data for a running service."""
    port, prometheus_port = free_port(), free_port()
    url, prometheus = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{prometheus_port}"
    env = os.environ | {"PORT": str(port), "DJANGO_SETTINGS_MODULE": "settings.development"}
    env["PROMETHEUS_MULTIPROC_DIR"] = str(folder / "metrics")
    for command in (["migrate", "--verbosity", "0"], ["seed_demo"]):
        subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=env, check=True)
    config = folder / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES)],
                "scrape_configs": [
                    {"job_name": "pcf", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                ],
            }
        )
    )
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"]
    scraper = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{prometheus_port}",
    ]
    with (
        running(gunicorn, env, f"{url}/readyz", folder / "gunicorn.log"),
        running(scraper, dict(os.environ), f"{prometheus}/-/ready", folder / "prometheus.log"),
    ):
        empty = empty_expressions(url, prometheus)
    for name, text in empty.items():
        print(f"no data: {name}: {text}")
    return not empty


def main() -> int:
    """Run all checks; return 0 if all passed, 2 without Prometheus."""
    missing = [name for name in ("promtool", "prometheus") if shutil.which(name) is None]
    if missing:
        print(f"{' and '.join(missing)} missing. Debian: apt-get install prometheus")
        return 2
    with tempfile.TemporaryDirectory(prefix="pcf-deploy-") as folder:
        well = [check_rules(), check_expressions(Path(folder))]
    print("deploy/ fits the service" if all(well) else "deploy/ does not fit the service")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
