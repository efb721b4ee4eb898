"""A project with the keys and fields that other projects have; its own pytest runs its checks."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.projects.conftest import ROOT

ODDITIES = Path(__file__).parent / "oddities"
CHECKS = sorted(path.stem for path in ODDITIES.glob("check_*.py"))


@dataclass(frozen=True)
class Outcome:
    """What a run of all checks has printed, and how many of each file passed and did not."""

    printed: str
    passed: Counter[str]
    others: Counter[str]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run of all checks: they share a database."""
    report = tmp_path_factory.mktemp("oddities") / "report.xml"
    environment = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    environment |= {"PYTHONPATH": str(ROOT), "PCF_TEST_RUN_ID": f"o{os.getpid()}"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    for setting in [key for key in environment if key.startswith("DJANGO_")]:
        del environment[setting]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", ".", "--confcutdir", ".",
         *(f"{name}.py" for name in CHECKS), "-q", "-n", "0", "--junitxml", report],
        cwd=ODDITIES, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode in {0, 1}, printed  # 1: a check has failed
    passed, others = Counter(), Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - the report of our own run
        counted = others if len(case) else passed  # a failure, an error, a skip
        counted[case.get("classname")] += 1
    return Outcome(printed, passed, others)


@pytest.mark.parametrize("name", CHECKS)
def test_the_oddities_are_answered_as_django_does(name, outcome):
    assert not outcome.others[name], outcome.printed
    assert outcome.passed[name], outcome.printed
