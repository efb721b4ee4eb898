"""Does deploy/ fit the service? Prometheus itself is asked, with a running server to scrape.

    make check-deploy

1. promtool checks the configuration and the rules, and runs deploy/prometheus/rules_test.yml;
2. gunicorn serves, requests of every kind are sent, Prometheus scrapes with the rules loaded, and
   every expression of the dashboard and of the rules has to return data.

Needs promtool and prometheus (Debian: the package ``prometheus``), and the servers that
``dev.py exec`` provides.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
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

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "deploy/prometheus/rules.yml"
TESTS = ROOT / "deploy/prometheus/rules_test.yml"
CONFIG = ROOT / "deploy/prometheus/prometheus.yml"
DASHBOARD = ROOT / "deploy/grafana/dashboards/pcf.json"
ONLY_WITH_REPLICAS = "db_replica_"
COMPARISON = re.compile(r"\s(?:>|<|==)\s[\d.]+(?:\s\*\s[\d.]+)?")


def dashboard_expressions() -> dict[str, str]:
    """The expressions of the dashboard by panel, with Grafana's variables filled in."""
    found = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            found[f"panel {panel['title']} {target['refId']}"] = text
    return found


def rules() -> list[dict[str, Any]]:
    """All rules, recording and alerting."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_expressions() -> dict[str, str]:
    """The expressions of the rules, without the comparisons that make them empty in good times."""
    found = {}
    for rule in rules():
        name = rule.get("record") or rule["alert"]
        found[f"rule {name}"] = COMPARISON.sub("", rule["expr"])
    return found


def check_rules() -> bool:
    """Whether promtool finds nothing."""
    commands = (
        ["promtool", "check", "config", CONFIG],
        ["promtool", "check", "rules", "--lint-fatal", RULES],
        ["promtool", "test", "rules", TESTS],
    )
    statuses = [subprocess.run(argv, check=False).returncode for argv in commands]
    return not any(statuses)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(argv: list[str], env: dict[str, str], url: str, log: Path) -> Iterator[None]:
    """A server until the block ends; it has to answer ``url`` within a minute."""
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
    """One GraphQL request; whatever is answered is fine."""
    headers |= {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, headers)
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=30):
        pass


def send_requests(url: str) -> None:
    """Requests of every kind: hits, misses, edges, writes, errors, time limits."""
    graph = "{ users(first: 5) { name notes { title tags { name } author { name } } } }"
    for _ in range(4):
        ask(url, graph)
    ask(url, graph, "test-token", **{"Cache-Control": "no-store"})
    ask(url, 'mutation { createNote(input: {title: "a note"}) { note { id } } }', "test-token")
    ask(url, "{ nothing }")
    ask(url, "{ slowQuery(delay: 3) }", **{"X-Request-Timeout": "1.2"})


def value_of(prometheus: str, expression: str) -> list[Any]:
    """What Prometheus answers; exits when it cannot evaluate the expression."""
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=10) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"{expression}: {error.read().decode()}")
    result: list[Any] = answer["data"]["result"]
    return result


def empty_expressions(url: str, prometheus: str) -> dict[str, str]:
    """The expressions without data, after up to a minute of requests."""
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
    """Whether the expression has data only where there are replicas."""
    return ONLY_WITH_REPLICAS in expression and "vector(0)" not in expression


def check_expressions(folder: Path) -> bool:
    """Whether every expression returns data for a running server."""
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
    """Everything; 0 when all is well."""
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
