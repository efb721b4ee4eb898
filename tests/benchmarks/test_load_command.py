"""The command of the load test: its exit status, its report, its processes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MIX = ROOT / "benchmarks" / "load" / "mix.toml"


@pytest.fixture
def generous(tmp_path):
    """The mix with targets that any machine meets."""
    text = re.sub(r"(p99|lateness) = \S+", r"\1 = 60.0", MIX.read_text())
    path = tmp_path / "mix.toml"
    path.write_text(text.replace("success = 0.999", "success = 0.5"))
    return path


def command(*arguments):
    argv = [sys.executable, "-m", "benchmarks.load", *map(str, arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def short(mix, report):
    return ("--generator-alone", "--warm-up", "0", "--mix", mix, "--report", report)


def test_a_run_that_meets_its_targets_ends_with_0_and_a_report(generous, tmp_path):
    report = tmp_path / "report.html"
    done = command("100", "1", *short(generous, report))

    assert done.returncode == 0, done.stderr
    assert re.search(r"met +success: 100\.000%", done.stderr)
    assert "1/1 s" in done.stderr or "P99" in done.stderr
    numbers = json.loads(report.with_suffix(".json").read_text())
    assert numbers["loads"][0]["requests"] == 100
    assert numbers["loads"][0]["hit_rate"] == 1.0
    assert report.exists()


def test_a_run_that_misses_one_ends_with_1(generous, tmp_path):
    report = tmp_path / "report.html"
    done = command("50", "1", *short(generous, report), "--p99", "0.001")

    assert done.returncode == 1
    assert "MISSED P99" in done.stderr
    assert report.exists()


def test_a_search_for_the_limit_reports_the_first_step_that_was_kept(generous, tmp_path):
    generous.write_text(re.sub(r"limit_p99 = \S+", "limit_p99 = 0.000001", generous.read_text()))
    done = command("50", "1", *short(generous, tmp_path / "r.html"), "--find-limit")

    assert done.returncode == 1
    assert "50/s" in done.stderr
    assert "over the limit" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "required"),
        (("fast", "1"), 2, "RPS"),
        (("10", "0"), 2, "above 0"),
        (("10", "1", "--mix", "/nowhere.toml"), 2, "/nowhere.toml"),
        (("10", "1", "http://192.0.2.1/graphql"), 3, "--remote"),
        (("10", "1", "http://127.0.0.1:1/graphql"), 3, "cannot be asked for its data"),
    ],
)
def test_a_failure_has_a_message(arguments, status, message):
    done = command(*arguments)

    assert done.returncode == status
    assert message in done.stderr


def test_ctrl_c_ends_it_with_a_report_and_leaves_nothing_behind(generous, tmp_path):
    report = tmp_path / "report.html"
    argv = [sys.executable, "-m", "benchmarks.load", "50", "60", *map(str, short(generous, report))]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True) as started:
        for line in started.stderr:  # the first line of progress: the load has begun
            if "waiting" in line:
                break
        started.send_signal(signal.SIGINT)
        said = started.stderr.read()

    assert started.returncode == 130
    assert "stopped by SIGINT" in said
    assert "cut short" in report.read_text()
    group = Path("/proc").glob("[0-9]*/cmdline")
    assert not [path for path in group if str(report).encode() in _read(path)]


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_script_looks_at_its_arguments_before_it_starts_anything():
    script = ROOT / "scripts" / "load-test.sh"
    done = subprocess.run(
        [script, "10", "soon"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env=dict(os.environ) | {"PYTHON": sys.executable},
    )

    assert done.returncode == 2
    assert "PostgreSQL" not in done.stderr
