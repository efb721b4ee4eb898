"""What a hostile client can spend: 64 MB of a worker and 5 % of Redis, whatever it sends.

A real worker answers each attack with its default limits. Each attack comes from an address of its
own, over sixteen connections. The tests read the memory of the worker from /proc, and Redis's from
Redis.
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest

from tests.cache.redis_server import RedisServer
from tests.databases import seeded_database
from tests.end_to_end.conftest import Server, start, stop
from tests.fuzz.attacks import ATTACKS, BIG_AUTHOR, BIG_NOTES, BIG_TEXT, STORING, Request

MAX_WORKER = 64  # MB
REDIS_MEMORY = 256_000_000
MAX_SHARE = REDIS_MEMORY * 0.05
CONNECTIONS = 16
NO_STORE = "Cache-Control: no-store"  # each request executes
_addresses = count(1)

BIG = """
WITH made AS (
    INSERT INTO notes_note (title, content, author_id, is_public, created_at, updated_at)
    SELECT 'big', repeat('y', %s), %s, true, now(), now() FROM generate_series(1, %s)
    RETURNING id
)
INSERT INTO notes_notetag (note_id, tag_id) SELECT made.id, tags_tag.id FROM made, tags_tag
"""


@dataclass
class Target:
    """A service with one worker and a Redis of its own."""

    server: Server
    worker: int
    redis: Any
    before: float = 0.0  # MB of the worker before the attack

    def attack(self, requests: list[Request], *headers: str) -> Counter[int]:
        """Send the requests from a new address; return their statuses."""
        Path(f"/proc/{self.worker}/clear_refs").write_text("5")  # begins a new peak
        self.before = status_of(self.worker, "VmRSS")
        address = f"X-Forwarded-For: 198.51.100.{next(_addresses)}"
        lines = [address, "Host: localhost", "Content-Type: application/json", *headers]
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            return Counter(threads.map(lambda body: self._send(body, lines), requests))

    def _send(self, body: Request, lines: list[str]) -> int:
        head = ["POST /graphql HTTP/1.1", *lines, f"Content-Length: {len(body)}"]
        data = "\r\n".join([*head, "Connection: close", "", ""]).encode() + body
        where = "127.0.0.1", int(self.server.environment["PORT"])
        with socket.create_connection(where, timeout=60) as connection:
            connection.sendall(data)
            answer = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        return int(answer[9:12])

    def peak(self) -> float:
        """Return the MB that the worker has taken at most in the attack."""
        return status_of(self.worker, "VmHWM") - self.before

    def used(self) -> int:
        used: int = self.redis.info("memory")["used_memory"]
        return used


def status_of(process: int, name: str) -> float:
    """Return a value of /proc/PID/status in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    redis_server = RedisServer(tmp_path_factory.mktemp("redis"))
    redis_server.start()
    client = redis_server.client()
    client.config_set("maxmemory", REDIS_MEMORY)
    with socket.socket() as free, seeded_database("fuzz") as address:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PCF_", "PROMETHEUS_"))},
            "DJANGO_SETTINGS_MODULE": "settings.development",
            "DEBUG": "0",
            "DATABASE_URL": address,
            "REDIS_URL": redis_server.url,
            "PCF_RATES_ENABLED": "true",
            "PCF_RATES_TRUSTED_PROXIES": "1",
            "PCF_REQUESTS_MAX_CONCURRENT": "6",
            "PCF_CACHE_PREFIX": "pcf",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WORKERS": "1",
        }
        with psycopg.connect(address) as connection:
            connection.execute(BIG, (BIG_TEXT, BIG_AUTHOR, BIG_NOTES))
        server = start(environment)
        try:
            children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
            worker = int(children.read_text().split()[0])
            for query in ("{ users { notes { tags { id } author { id } } } }", "{ tags { id } }"):
                assert server.post(query)[0] == 200  # what the first requests make stays
            yield Target(server, worker, client)
        finally:
            stop(server)
            redis_server.kill()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_client_spends_no_more_than_its_share(target, name):
    used, requests = target.used(), ATTACKS[name](Random(name))
    statuses = target.attack(requests, *(() if name in STORING else [NO_STORE]))
    assert sum(statuses.values()) == len(requests)
    assert not {status for status in statuses if status >= 500}, statuses
    assert target.peak() <= MAX_WORKER, statuses
    assert target.used() - used <= MAX_SHARE, statuses


def test_no_store_changes_nothing(target):
    """A response that is not stored takes the same memory, and the same points."""
    requests = ATTACKS["large responses to store"](Random(1))
    statuses = target.attack(requests, NO_STORE)
    assert statuses[429] >= 10
    assert target.peak() <= MAX_WORKER


def test_the_limits_hold_while_redis_has_no_room(target):
    target.redis.config_set("maxmemory", 1)
    try:
        time.sleep(0.1)
        statuses = target.attack(ATTACKS["large responses to store"](Random(1)))
    finally:
        target.redis.config_set("maxmemory", REDIS_MEMORY)
    assert statuses[429] >= 10
