"""A worker is killed between the COMMIT of a mutation and the release of its block in Redis."""

import os
import signal
import socket
import threading
import time
import urllib.error
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings

from pcf.cache import scripts
from tests.end_to_end.conftest import start, stop

RELEASE = scripts.RELEASE.sha.encode()
ME = "{ me { name } }"
PATIENCE = 60.0  # seconds


class Tripwire:
    """Forwards to Redis; the first time that marks are to be cleared it calls ``sprung``."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._armed = threading.Event()
        self.sprung = lambda: None
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept)

    def arm(self) -> None:
        self._armed.set()

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [client, server]
                self._spawn(self._pump, client, server)
                self._spawn(self._pump, server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if RELEASE in data and self._armed.is_set():
                    self._armed.clear()
                    self.sprung()
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def workers_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(child) for child in children.split()]


@pytest.fixture
def tripwire():
    port = settings.REDIS_URL.rsplit(":", 1)[1].split("/")[0]
    wire = Tripwire(int(port))
    yield wire
    wire.close()


def test_the_commit_of_a_killed_worker_is_never_hidden(server, environment, tripwire):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        **environment,
        "PORT": str(port),
        "WORKERS": "1",
        "REDIS_URL": f"redis://127.0.0.1:{tripwire.port}/0",
        "PCF_CACHE_PREFIX": f"{environment['PCF_CACHE_PREFIX']}-killed",
    }
    service = start(own)
    try:
        before = service.post(ME, "test-token")[2]["data"]["me"]["name"]
        assert "hit" in service.post(ME, "test-token")[1]["Cache-Status"]

        def kill():
            for worker in workers_of(service.process):
                os.kill(worker, signal.SIGKILL)

        tripwire.sprung = kill
        tripwire.arm()
        with pytest.raises((urllib.error.URLError, OSError)):  # the connection ends with the worker
            service.post('mutation { updateProfile(input: {name: "New"}) { user { id } } }',
                         "test-token")  # fmt: skip
        assert before != "New"
        deadline = time.monotonic() + PATIENCE
        hits = 0
        while not hits:  # every answer has the new name, and the last one is a hit
            assert time.monotonic() < deadline
            try:
                _, headers, content = service.post(ME, "test-token")
            except OSError:
                time.sleep(0.1)  # the next worker does not serve yet
                continue
            assert content["data"]["me"]["name"] == "New"
            hits += "hit" in headers["Cache-Status"]
            time.sleep(0.05)
    finally:
        stop(service)
