"""A project with the keys and fields that other projects have; its own pytest runs its checks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects.conftest import ROOT

ODDITIES = Path(__file__).parent / "oddities"


@pytest.mark.parametrize("name", sorted(path.name for path in ODDITIES.glob("check_*.py")))
def test_the_oddities_are_answered_as_django_does(name):
    environment = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    environment |= {"PYTHONPATH": str(ROOT), "PCF_TEST_RUN_ID": f"o{os.getpid()}"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    for setting in [key for key in environment if key.startswith("DJANGO_")]:
        del environment[setting]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", ".", "--confcutdir", ".",
         name, "-q", "-n", "0"],
        cwd=ODDITIES, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE)
