"""The messages of scripts/dev.py before it starts a server."""

import fcntl
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scripts.environment import STAMP, fingerprint, is_ready
from scripts.project import ROOT

DEADLINE = 20.0  # seconds until a wait counts as failed; far more than needed


@pytest.fixture
def tree(tmp_path) -> Path:
    """A project with scripts and no .venv; a late failure would make one."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "requirements-dev.txt", tmp_path)
    return tmp_path


def dev(tree: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, tree / "scripts" / "dev.py", *arguments],
        env=dict(os.environ) | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def test_a_second_run_explains_itself_and_changes_nothing(tree):
    (tree / ".pcf").mkdir()
    lock = tree / ".pcf" / "run.lock"
    lock.write_text(json.dumps({"pid": 4711, "address": "http://127.0.0.1:8081"}))
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        second = dev(tree, "run")

    assert second.returncode == 0
    assert "already running: http://127.0.0.1:8081 (process 4711)" in second.stdout
    assert not (tree / ".venv").exists()
    assert "4711" in lock.read_text()


def test_a_port_in_use_is_reported_before_a_server_starts(tree):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        outcome = dev(tree, "run", PORT=port, HOST="127.0.0.1")

    assert outcome.returncode == 1
    assert f"Port {port} on 127.0.0.1 is in use by another program" in outcome.stdout
    assert not (tree / ".venv").exists()


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1"])
def test_an_invalid_port_is_refused(tree, port):
    outcome = dev(tree, "run", PORT=port)

    assert outcome.returncode == 1
    assert f"PORT is '{port}'; it must be a number" in outcome.stdout


def test_an_unknown_command_explains_the_known_ones(tree):
    outcome = dev(tree, "dance")

    assert outcome.returncode == 2
    assert "scripts/dev.py run" in outcome.stderr


# --- the virtual environment


def working(python: Path) -> None:
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)


def test_a_virtual_environment_is_ready_only_when_finished_current_and_working(tmp_path):
    requirements = tmp_path / "requirements-dev.txt"
    requirements.write_text("django==5.2\n")
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    working(python)

    assert not is_ready(venv, fingerprint(requirements))  # incomplete

    (venv / STAMP).write_text(fingerprint(requirements) + "\n")
    assert is_ready(venv, fingerprint(requirements))

    python.write_text("#!/bin/sh\nexit 1\n")  # pip is missing
    assert not is_ready(venv, fingerprint(requirements))

    python.unlink()
    assert not is_ready(venv, fingerprint(requirements))

    working(python)
    requirements.write_text("django==5.3\n")
    assert not is_ready(venv, fingerprint(requirements))


# --- the container's health check


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
def test_the_health_check_sends_the_headers_of_the_proxy(status, expected):
    asked: list[tuple[str, str | None, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Host"], self.headers["X-Forwarded-Proto"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        outcome = subprocess.run(
            [sys.executable, ROOT / "scripts" / "healthcheck.py"],
            env=dict(os.environ) | {"PORT": str(server.server_port), "ALLOWED_HOSTS": "a.example"},
            check=False,
            timeout=DEADLINE,
        )
        thread.join()

    assert outcome.returncode == expected
    assert asked == [("/livez", "a.example", "https")]


def test_the_health_check_fails_without_an_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = subprocess.run(
        [sys.executable, ROOT / "scripts" / "healthcheck.py"],
        env=dict(os.environ) | {"PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    assert outcome.returncode == 1
    assert "no answer" in outcome.stderr


def test_an_old_python_is_named_if_path_has_no_newer_one(tmp_path):
    script = "import runpy, sys; runpy.run_path(sys.argv[1])['restart_with_newer_python']()"
    outcome = subprocess.run(
        [sys.executable, "-c", script, ROOT / "scripts" / "dev.py"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    assert outcome.returncode == 1
    assert "The project needs Python 3.11 or later" in outcome.stderr
