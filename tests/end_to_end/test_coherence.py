"""A short run of ``make coherence``: no cached answer differs from an uncached one; no leaks."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = 25 * int(os.environ.get("PCF_FUZZ_EXAMPLES", "12"))


def test_cached_answers_are_those_of_this_moment(environment):
    server = environment["DATABASE_URL"].rsplit("/", 1)[0]
    run = subprocess.run(
        [sys.executable, "-m", "tests.coherence", "--operations", str(OPERATIONS)],
        cwd=ROOT,
        env={**environment, "DATABASE_URL": f"{server}/postgres", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 differences" in run.stdout
