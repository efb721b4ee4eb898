"""Faults beside a run: Redis loses its data or freezes, PostgreSQL loses commits or sessions.

The faults need servers of their own, which this module starts. PostgreSQL runs with
``synchronous_commit=off``, so a crash loses the last commits.
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event

import redis

from tests.chaos.servers import Postgres, Redis

PAUSE = 1.5  # seconds between two faults, on average
_STARTS = 50  # attempts to start PostgreSQL after a crash
FROZEN = (0.1, 1.5)  # seconds that Redis is frozen


class Servers:
    """PostgreSQL and Redis of one run."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pcf-coherence-"))
        self._folder.chmod(0o755)
        lazy = {"synchronous_commit": "off", "wal_writer_delay": "10s", "max_connections": "200"}
        self.postgres = Postgres(self._folder, "primary", **lazy).create()
        self.redis = Redis(self._folder)
        self.postgres.start()
        self.redis.start()

    def close(self) -> None:
        """End both servers and remove their data."""
        self.redis.close()
        self.postgres.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Faults:
    """Injects faults until ``stop`` is set.

    A fault of PostgreSQL takes the place of a write: ``exclusive`` keeps checks and writes away. A
    response of before a lost commit is right until a process has read from the next server, and
    wrong afterwards.
    """

    def __init__(
        self,
        servers: Servers,
        database: str,
        exclusive: Callable[[], AbstractContextManager[object]],
        read_once: Callable[[], None],
    ) -> None:
        """``read_once`` has one process of the service read from PostgreSQL."""
        self._servers = servers
        self._database = database
        self._exclusive = exclusive
        self._read_once = read_once
        self.crashes = 0  # of PostgreSQL
        self.counts: Counter[str] = Counter()

    def run(self, rng: random.Random, stop: Event) -> None:
        """Inject faults of random kinds."""
        kinds = [
            *[self._flush, self._flush, self._restart_redis, self._freeze_redis] * 2,
            self._end_sessions,
            self._crash_postgres,
        ]
        while not stop.wait(rng.expovariate(1 / PAUSE)):
            fault = rng.choice(kinds)
            fault(rng)
            self.counts[fault.__name__.removeprefix("_")] += 1

    def _flush(self, _rng: random.Random) -> None:
        """Delete everything in Redis, which keeps its run_id."""
        with redis.Redis(port=self._servers.redis.port, socket_timeout=5) as client:
            client.flushall()

    def _restart_redis(self, _rng: random.Random) -> None:
        self._servers.redis.kill()
        self._servers.redis.start()

    def _freeze_redis(self, rng: random.Random) -> None:
        self._servers.redis.freeze()
        time.sleep(rng.uniform(*FROZEN))
        if rng.random() < 0.5:
            self._servers.redis.thaw()
        else:  # a command of a COMMIT hangs, and then its marks are lost
            self._servers.redis.kill()
            self._servers.redis.start()

    def _end_sessions(self, _rng: random.Random) -> None:
        self._servers.postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            parameters=[self._database],
        )

    def _crash_postgres(self, _rng: random.Random) -> None:
        with self._exclusive():
            self.crashes += 1
            self._servers.postgres.kill()
            self._start_postgres()
            self._read_once()

    def _start_postgres(self) -> None:
        """Start PostgreSQL once the system has removed the shared memory of the killed server."""
        for attempt in range(_STARTS):
            try:
                self._servers.postgres.start()
            except RuntimeError:
                if attempt == _STARTS - 1:
                    raise
                time.sleep(0.2)
            else:
                return
