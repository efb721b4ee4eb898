"""gunicorn's settings: an invalid value ends the start with one message."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]


def start(**given):
    """Return the exit status and the output of gunicorn's check with this environment."""
    done = subprocess.run(
        [*COMMAND, "--check-config", "pcf.asgi:application"], cwd=ROOT, env={**os.environ, **given},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"WORKERS": "0"}, "WORKERS must be a whole number from 1 to 256, got '0'"),
        ({"WORKERS": "x"}, "WORKERS must be a whole number from 1 to 256, got 'x'"),
        ({"WORKERS": "-1"}, "WORKERS must be a whole number from 1 to 256, got '-1'"),
        ({"THREADS": "0"}, "THREADS must be a whole number from 1 to 256, got '0'"),
        ({"PORT": "99999"}, "PORT must be a whole number from 1 to 65535, got '99999'"),
        ({"MAX_REQUESTS": "1e3"},
         "MAX_REQUESTS must be a whole number from 0 to 1000000000, got '1e3'"),
        ({"PCF_TIMEOUTS_HTTP": "x"}, "PCF_TIMEOUTS_HTTP must be a number of seconds, got 'x'"),
        ({"HTTP2": "yes"}, "HTTP2 must be 0 or 1, got 'yes'"),
        ({"HTTP2": "1"},
         "HTTP2=1 needs TLS_CERTFILE and TLS_KEYFILE: clients choose HTTP/2 within TLS"),
    ],
)  # fmt: skip
def test_an_invalid_value_ends_the_start_with_one_message(given, sentence):
    assert start(**given) == (1, sentence)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder in which gunicorn makes its metrics folder."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_start_that_fails_leaves_no_metrics_folder(temporary):
    assert start(DJANGO_SETTINGS_MODULE="no.such.settings")[0] != 0
    assert list(temporary.glob("pcf-metrics-*")) == []


def test_a_start_that_ends_while_it_waits_leaves_no_metrics_folder(temporary):
    unreachable = {"DATABASE_URL": "postgres://postgres@127.0.0.1:1/pcf"}
    process = subprocess.Popen(
        [*COMMAND, "pcf.asgi:application"], cwd=ROOT, env={**os.environ, **unreachable},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert any("waiting for PostgreSQL" in line for line in process.stderr)
        assert len(list(temporary.glob("pcf-metrics-*"))) == 1
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    assert list(temporary.glob("pcf-metrics-*")) == []
