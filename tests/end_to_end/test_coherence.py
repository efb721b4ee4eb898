"""A short run of ``make coherence``: every cached answer equals the uncached one."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# 300 of 1,000 operations are writes, so each of the 60 kinds of writes runs about five times.
OPERATIONS = 5 * int(os.environ.get("PCF_FUZZ_EXAMPLES", "60"))


def test_cached_answers_equal_uncached_answers(environment):
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
    assert re.findall(r"([\d,]+) differences$", run.stdout, re.MULTILINE) == ["0"], run.stdout
    assert re.search(r"[1-9][\d,]* of them hits", run.stdout), run.stdout
