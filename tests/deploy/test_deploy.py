"""The dashboard and the rules name existing metrics; every alert has a runbook entry."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

from pcf.observability import metrics, multiprocess
from scripts import check_deploy

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs/operations.md").read_text()
ALERTS = [rule for rule in check_deploy.rules() if "alert" in rule]
EXPRESSIONS = check_deploy.dashboard_expressions() | {
    f"rule {rule.get('record') or rule['alert']}": rule["expr"] for rule in check_deploy.rules()
}
NOT_NAMES = re.compile(
    r"""\{[^}]*\} | \[[^]]*\] | "[^"]*" | \b(?:by|on|group_left)\s*\([^)]*\)
    | \b\w+\s*(?=\() | \b\w+(?=\s+by\b)
    | \b(?:and|or|unless|by|on|group_left)\b""",
    re.VERBOSE,
)


def names(expression):
    """Return the names of metrics in an expression."""
    return set(re.findall(r"[a-z_][a-z0-9_:]*", NOT_NAMES.sub(" ", expression)))


def exported():
    """Return every name that a sample of the service may have."""
    assert metrics.request_duration is not None
    families = [*REGISTRY.collect(), *multiprocess.ProcessCollector().collect()]
    found = {"up"} | {rule["record"] for rule in check_deploy.rules() if "record" in rule}
    for family in families:
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        found |= {family.name + ending for ending in endings.get(family.type, ("",))}
    return found


def test_names_are_found():
    text = 'sum by (a, b) (rate(x_total{b="y"}[5m])) / on () group_left () (z:w > 0) and q == 1'
    assert names(text) == {"x_total", "z:w", "q"}


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_every_metric_that_is_named_exists(place):
    named = names(EXPRESSIONS[place])
    assert named
    assert named - exported() == set()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_runbook_entry(rule):
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert anchor == rule["alert"].lower()
    assert f"\n### {rule['alert']}\n" in RUNBOOK
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_alert_is_tested_with_and_without_its_fault():
    tests = yaml.safe_load(check_deploy.TESTS.read_text())["tests"]
    fires = {case["alertname"]: set() for test in tests for case in test["alert_rule_test"]}
    for test in tests:
        for case in test["alert_rule_test"]:
            fires[case["alertname"]].add(bool(case["exp_alerts"]))
    assert fires == {rule["alert"]: {True, False} for rule in ALERTS}


def test_the_dashboard_can_be_imported():
    dashboard = json.loads(check_deploy.DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    rows = {panel["title"].partition(":")[0] for panel in panels if panel["type"] == "row"}
    assert rows == {
        "Objective", "Traffic", "Latency", "Cache", "Loaders", "Database and pool", "Workers",
    }  # fmt: skip
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_compose_sets_every_required_variable():
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"migrate", "app", "postgres", "redis", "prometheus", "grafana"}
    assert "noeviction" in services["redis"]["command"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            known = source in compose["volumes"]
            assert known or (ROOT / "deploy" / source).exists()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    needed = {"SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL"}
    assert needed <= set(services["app"]["environment"])
