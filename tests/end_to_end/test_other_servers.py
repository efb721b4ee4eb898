"""The same application on other servers, and Django's test client on the same view."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, Server, beside
from tests.end_to_end.raw import exchange, request

GRANIAN = str(Path(sys.executable).with_name("granian"))
PYTHON = sys.executable
COMMANDS = {
    "uvicorn": [PYTHON, "-m", "uvicorn", "pcf.asgi:application", "--port", "{port}"],
    "granian": [GRANIAN, "--interface", "asgi", "pcf.asgi:application", "--port", "{port}"],
    "gunicorn's gthread": [
        PYTHON, "-m", "gunicorn", "-c", os.devnull, "--threads", "4", "--bind", "127.0.0.1:{port}",
        "--no-control-socket", "pcf.wsgi:application",
    ],
    "runserver": [PYTHON, "manage.py", "runserver", "--noreload", "127.0.0.1:{port}"],
}  # fmt: skip
MUTATION = "mutation { deleteNote(input: {id: 0}) { deletedId userErrors { message } } }"


@contextmanager
def started(environment, command):
    environment = {**beside(environment), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [part.format(port=environment["PORT"]) for part in command],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
        running = Server(f"http://127.0.0.1:{environment['PORT']}", environment, process, log)
        try:
            wait_until_ready(running)
            yield running
        finally:
            process.terminate()
            process.wait(30)


def wait_until_ready(running):
    for _ in range(600):
        assert running.process.poll() is None, running.logged()
        try:
            if running.get("/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(running.logged())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_server_gives_the_same_answers(server, name):
    server.manage("flush_cache", "--all")
    with started(server.environment, COMMANDS[name]) as running:
        query = "{ tags { id name } }"
        answers = [running.post(query) for _ in range(3)]
        assert [status for status, _, _ in answers] == [200] * 3
        named = [{k.lower(): v for k, v in headers.items()} for _, headers, _ in answers]
        assert [headers["cache-status"] for headers in named] == [
            "pcf; fwd=miss; stored",
            "pcf; hit",
            "pcf; hit",
        ]
        assert answers[0][2] == answers[1][2] == server.post(query)[2]
        refused = running.post(MUTATION)[2]
        assert refused == server.post(MUTATION)[2]
        assert refused["data"]["deleteNote"]["userErrors"]
        assert running.get("/livez")[0] == running.get("/health")[0] == 200
        assert b"Log in" in running.get("/admin/login/")[2]
        assert running.get("/nowhere")[0] == 404
        status, _, body = running.get("/static/admin/css/base.css")
        assert status == 200
        assert body == server.get("/static/admin/css/base.css")[2]
        too_large = exchange(
            running.url,
            request(headers=[(b"Content-Type", b"application/json")], body=b" " * 1_000_001),
        )
        assert too_large.status == 413
        assert json.loads(too_large.body)["errors"]
        assert running.get("/livez")[0] == 200


def test_djangos_test_client_reaches_the_view(client, db):
    answer = client.post(
        "/graphql", json.dumps({"query": "{ me { id } }"}), content_type="application/json"
    )
    assert (answer.status_code, answer.json()) == (200, {"data": {"me": None}})
