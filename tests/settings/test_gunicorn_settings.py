"""gunicorn's settings: values that cannot be are refused with one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def start(**given):
    """What gunicorn says with this environment, and its exit status; it serves nothing."""
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "--check-config"]
    done = subprocess.run(
        [*command, "pcf.asgi:application"], cwd=ROOT, env={**os.environ, **given},
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
def test_a_value_that_cannot_be_is_refused_with_one_sentence(given, sentence):
    assert start(**given) == (1, sentence)
