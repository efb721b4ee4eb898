"""A real gunicorn with two workers on its own database, seeded with the demo data."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pytest
from django.conf import settings

from tests.databases import ROOT, manage, seeded_database

# PostgreSQL's connections serve the servers of all processes, of which many are idle.
IDLE = "5"  # seconds


@dataclass
class Server:
    """A running service."""

    url: str
    environment: dict[str, str]
    process: "subprocess.Popen[bytes]"
    log: IO[bytes]
    tls: ssl.SSLContext | None = None

    def logged(self) -> str:
        """Return the text that the service has written to standard error."""
        return os.pread(self.log.fileno(), 1 << 24, 0).decode()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self._send(urllib.request.Request(self.url + path, headers=headers))

    def post(self, query: str, token: str | None = None, **headers: str) -> Any:
        """Return the status, the headers and the decoded body of a GraphQL answer."""
        headers["Content-Type"] = "application/json"
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(self.url + "/graphql", body, headers)
        status, answered, content = self._send(request)
        return status, answered, json.loads(content)

    def manage(self, *arguments: str) -> str:
        return manage(self.environment, *arguments)

    def _send(self, request: urllib.request.Request) -> tuple[int, dict[str, str], bytes]:
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.tls) as response:
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()


@pytest.fixture(scope="session")
def own_database() -> Iterator[str]:
    """A database with the demo data that no other test knows; its address."""
    with seeded_database("e2e") as address:
        yield address


@pytest.fixture(scope="session")
def environment(own_database: str) -> dict[str, str]:
    """The environment of a server, with time limits of a few seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PCF_", "PROMETHEUS_"))},
        "DJANGO_SETTINGS_MODULE": "settings.development",
        "DATABASE_URL": own_database,
        "PCF_CACHE_PREFIX": f"{settings.PCF.cache.prefix}-e2e",
        "PCF_TIMEOUTS_HTTP": "6",
        "PCF_TIMEOUTS_GRAPHQL": "5",
        "PCF_TIMEOUTS_DATABASE": "2",
        "PCF_POOL_MAX_IDLE": IDLE,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WORKERS": "2",
        "PYTHONWARNINGS": "default",
    }


def beside(environment: dict[str, str], **changed: str) -> dict[str, str]:
    """Return the environment of another server beside the first one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {**environment, "PORT": str(port), **changed}


def start(environment: dict[str, str], tls: ssl.SSLContext | None = None) -> Server:
    log = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody reads would stop the server
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    scheme = "https" if tls else "http"
    url = f"{scheme}://127.0.0.1:{environment['PORT']}"
    server = Server(url, environment, process, log, tls)
    for _ in range(300):
        assert process.poll() is None, server.logged()
        try:
            if server.get("/readyz")[0] == 200:
                return server
        except OSError:
            pass
        time.sleep(0.1)
    process.kill()
    raise AssertionError("the server did not become ready in 30 seconds")


def stop(server: Server) -> int:
    """End the service; return its exit status."""
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(timeout=30)
    finally:
        server.process.kill()
        server.log.close()
    return server.process.returncode


@pytest.fixture(scope="session")
def server(environment: dict[str, str]) -> Iterator[Server]:
    """The service with the demo data, shared by the tests of this folder."""
    running = start(environment)
    yield running
    stop(running)
