"""A Redis server for one test, which freezes, kills, fills and restarts it."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection

from pcf.cache.redis_gateway import redis_gateway
from scripts.programs import Search, find_redis
from tests.conftest import know_starts

ROOT = Path(__file__).resolve().parents[2]
_numbers = count(1)
PATIENCE = 20.0  # seconds in which a server must start


class RedisServer:
    """Starts with ``start``; ``save`` writes its data into ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        search = Search(ROOT / ".venv", os.environ.get("PATH", ""))
        self._program = find_redis(search, None).server
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        return redis.Redis(port=self.port, socket_timeout=5)

    def start(self, *, replica_of: "RedisServer | None" = None) -> None:
        options = {
            "port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": "",
            "appendonly": "no", "repl-diskless-sync-delay": 0,
        }  # fmt: skip
        if replica_of is not None:
            options["replicaof"] = f"127.0.0.1 {replica_of.port}"
        argv = [str(self._program)]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(redis.RedisError), self.client() as client:
                client.ping()
                return
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def follow(self, primary: "RedisServer | None") -> None:
        """Become a replica of ``primary``; become a primary when it is None."""
        with self.client() as client:
            client.replicaof(*(["127.0.0.1", primary.port] if primary else ["NO", "ONE"]))

    def catch_up(self, primary: "RedisServer") -> None:
        """Wait until this replica has what ``primary`` has now."""
        with primary.client() as client:
            there = client.info("replication")["master_repl_offset"]
        deadline = time.monotonic() + PATIENCE
        with self.client() as client:
            while True:
                here = client.info("replication")
                if here["master_link_status"] == "up" and here["slave_repl_offset"] >= there:
                    return
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def save(self) -> None:
        """Write the data to the file that the next start reads."""
        with self.client() as client:
            client.save()

    def freeze(self) -> None:
        """Stop the process; return when it has stopped."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process as a crash does, without saving."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


@pytest.fixture
def redis_server(transactional_db, tmp_path, settings):
    """The Redis of everything in this test; no write is pending."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM pcf_touch")
    server = RedisServer(tmp_path)
    server.start()
    alias = f"own-{next(_numbers)}"
    own = {**settings.CACHES["default"], "LOCATION": server.url}
    settings.CACHES = {**settings.CACHES, alias: own}
    # the breaker opens for an instant only, so no test waits for it
    cache = replace(
        settings.PCF.cache, breaker_seconds=0.0, watch_seconds=0.001, lease_seconds=0.002
    )
    settings.PCF = replace(settings.PCF, cache=cache)
    with server.client() as client:
        know_starts(client, cache.prefix)
    usual = redis_gateway().alias
    redis_gateway().alias = alias
    server.alias = alias
    yield server
    server.kill()
    redis_gateway().alias = usual
    redis_gateway().breaker.record_success()
    redis_gateway()._pending.count = 0
