"""No log, metric, error or store holds a token or a password."""

import http.client
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

from tests.end_to_end.conftest import ROOT, Server, manage

ISSUE = """
from datetime import timedelta
from django.utils import timezone
from users.models import ApiToken, User
now = timezone.now()
for fields in ({}, {"expires_at": now}, {"revoked_at": now}, {"scope": "read"}):
    print(ApiToken.issue(User.objects.get(pk=1), "secrets", **fields)[1])
root = User.objects.create_superuser("secretary", "s@example.org", "distinctive-password", name="S")
"""


@pytest.fixture(scope="module")
def talkative(server, environment, tmp_path_factory) -> Iterator[tuple[Server, Path]]:
    """A server with all logs, and the file with its output."""
    log = tmp_path_factory.mktemp("secrets") / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chatty = {
        **environment,
        "PORT": str(port),
        "WORKERS": "1",
        "LOG_LEVEL": "DEBUG",
        "ACCESS_LOG": "-",
        "PCF_DATABASE_SLOW_STATEMENT": "0",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"]
    with log.open("w+b") as stream, subprocess.Popen(
        command, cwd=ROOT, env=chatty, stdout=stream, stderr=subprocess.STDOUT
    ) as process:  # fmt: skip
        try:
            running = Server(f"http://127.0.0.1:{port}", chatty, process, stream)
            wait_for(running, log)
            yield running, log
        finally:
            process.send_signal(signal.SIGKILL)


def wait_for(running: Server, log: Path) -> None:
    """Wait until the server is ready, for a number of attempts."""
    for _ in range(600):
        assert running.process.poll() is None, log.read_text()
        try:
            if running.get("/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def raw(running: Server, head: str, body: bytes = b"") -> bytes:
    """Return the answer to bytes that no client library sends."""
    with socket.create_connection(
        ("127.0.0.1", int(running.environment["PORT"])), timeout=20
    ) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def admin(running: Server, password: str) -> str:
    """Log in to the admin and issue a token there; return its text, or "" if the log-in failed."""
    port = int(running.environment["PORT"])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    cookies: dict[str, str] = {}

    def send(method: str, path: str, **data: str) -> str:
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
        if data:
            data["csrfmiddlewaretoken"] = cookies["csrftoken"]
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, urllib.parse.urlencode(data), headers)
        response = connection.getresponse()
        for cookie in response.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            cookies[name] = value
        return response.read().decode()

    send("GET", "/admin/login/")
    send("POST", "/admin/login/", username="secretary", password=password)
    page = send("POST", "/admin/users/apitoken/add/", user="1", name="x", scope="write")
    found = re.search(r'id="issued-token" value="([^"]+)"', page)
    connection.close()
    return found[1] if found else ""


def test_no_secret_is_anywhere(talkative):
    running, log = talkative
    issued = manage(running.environment, "shell", "-v", "0", "-c", ISSUE).split()
    good, read = issued[0], issued[3]
    marks = ["distinctive-password", "wrong-" + secrets.token_hex(8), *issued]
    answers = []

    # good, expired, revoked, of a scope that does not reach; executed, hit, refused, failed
    queries = (
        "{ me { id } }", "{ me { id } }", "{ slowQuery(delay: 0.01) }", "{ nothing }", "{",
        'mutation { updateProfile(input: {name: ""}) { userErrors { code } } }',
    )  # fmt: skip
    answers += [str(running.post(query, token)) for token in issued for query in queries]
    assert "'me': {'id': '1'}" in answers[0]
    assert "INSUFFICIENT_SCOPE" in str(running.post("mutation { __typename }", read))

    # tokens that are none, and headers that are none, with a mark in each
    def mark() -> str:
        marks.append("mark" + secrets.token_hex(8))
        return marks[-1]

    for malformed in (
        f"Bearer {mark()}", f"Bearer pcf_{mark()}", f"Basic {mark()}", mark(),
        f"Bearer {mark()} {mark()}", f"Bearer {mark()}{'x' * 600}", f"Bearer {mark()}\xe9",
        f"Bearer {mark()}\x00", f"Bearer {mark()}\x7f", f"Bearer {mark()},Bearer {mark()}",
        f"bearer\t{mark()}", f"Bearer {good}x", f"Bearer {good[:-1]}", f"Bearer {mark() * 600}",
    ):  # fmt: skip
        body = b'{"query": "{ me { id } }"}'
        head = "POST /graphql HTTP/1.1\nHost: localhost\nContent-Type: application/json\n"
        head += f"Content-Length: {len(body)}\nConnection: close\nAuthorization: {malformed}"
        answers.append(raw(running, head, body).decode("latin-1"))
    for path in (
        f"/graphql?query=%7Bme%7Bid%7D%7D&access_token={mark()}",
        f"/livez?token={mark()}",
    ):
        head = (
            f"GET {path} HTTP/1.1\nHost: localhost\nConnection: close\nReferer: http://x/{mark()}"
        )
        answers.append(raw(running, head).decode("latin-1"))

    # people
    new = admin(running, "distinctive-password")
    assert new.startswith("pcf_")
    assert admin(running, marks[1]) == ""
    marks += [new]
    answers.append(str(running.post("{ me { id } }", new)))

    assert len(issued) == 4
    everything = {
        "answers": "\n".join(answers),
        "metrics": running.get("/metrics")[2].decode(),
        "health": running.get("/health")[2].decode(),
        "cache": stored_in_redis(running),
        "database": stored_in_postgres(running),
    }
    # what a command line starts with its own output is not a log
    everything["log"] = log.read_text(errors="replace")
    assert "pcf.database" in everything["log"], "it did log"
    assert "/graphql" in everything["log"]
    for place, text in everything.items():
        found = [text[max(0, text.find(m) - 200) :][:300] for m in marks if m in text]
        assert not found, place


def stored_in_redis(running: Server) -> str:
    client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    prefix = running.environment["PCF_CACHE_PREFIX"]
    with client:
        names = [*client.scan_iter(match=f"{prefix}*", count=1_000)]
        values = [client.get(name) for name in names if client.type(name) == b"string"]
    assert names
    return str(names) + str(values)


def stored_in_postgres(running: Server) -> str:
    text = ""
    with psycopg.connect(running.environment["DATABASE_URL"]) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
            "AND tablename NOT IN ('notes_note', 'notes_notetag')"
        ).fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))
            text += str(connection.execute(query).fetchall())
    assert "secretary" in text
    return text
