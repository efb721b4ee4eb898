"""Random queries and writes against gunicorn: no answer is old, and none is another viewer's.

    make coherence                       100,000 operations
    python -m tests.coherence --operations 2000 --seed 7
    python -m tests.coherence --faults   beside faults of Redis and PostgreSQL, see ``faults``

Two kinds of operations run in several threads, through several workers:

* A write runs alone: writers exclude each other and the checks.
* A check sends a query twice, and a third time where the viewer has a session cookie beside a
  token: by the other one. The first is an ordinary request: some are sent by GET, in gzip, with
  variables, or conditionally (If-None-Match). The second says ``Cache-Control: no-store``. No write
  runs meanwhile, so both answers must be equal, byte for byte. Most queries have been sent before,
  so a stored answer may be old.

Readers that take no lock send queries all the time. So answers are computed and stored while writes
are committed, which is what the fence is for. The readers check what holds at any time: a note's
version only grows, and no viewer gets the text of another viewer's private note. A version that
psql wrote is left out, since the outbox relay delivers it a moment after its commit.
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from tests.coherence.faults import Servers

ROOT = Path(__file__).resolve().parents[2]
ASKED = 40  # questions that are kept
ASKED_AGAIN = 0.7  # of all checks


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--threads", type=int, default=6, help="threads that check and write")
    parser.add_argument("--readers", type=int, default=3, help="threads that read without a lock")
    parser.add_argument("--workers", type=int, default=2, help="workers of gunicorn")
    parser.add_argument("--faults", action="store_true", help="inject faults, on own servers")
    options = parser.parse_args()
    if not options.faults:
        return _prepared(options, None)
    from tests.coherence.faults import Servers

    servers = Servers()
    os.environ |= {"DATABASE_URL": servers.postgres.url(), "REDIS_URL": servers.redis.url}
    try:
        return _prepared(options, servers)
    finally:
        servers.close()


def _prepared(options: argparse.Namespace, servers: "Servers | None") -> int:
    """Run with a database of its own; return the exit status."""
    address = os.environ["DATABASE_URL"]
    name = f"coherence_{os.getpid()}"
    with psycopg.connect(address, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for variable in [it for it in os.environ if it.startswith("PCF_")]:
        del os.environ[variable]
    os.environ |= {
        "DATABASE_URL": f"{address.rsplit('/', 1)[0]}/{name}",
        "DJANGO_SETTINGS_MODULE": "settings.development",
        "DEBUG": "0",
        "PCF_CACHE_PREFIX": f"coherence-{os.getpid()}",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WORKERS": str(options.workers),
        "LOG_LEVEL": "ERROR",
    }
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    try:
        return _run(options, port, servers, name)
    finally:
        with psycopg.connect(address, autocommit=True) as server:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _run(options: argparse.Namespace, port: int, servers: "Servers | None", database: str) -> int:
    import django  # the environment is complete only now

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    service = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"],
        cwd=ROOT,
    )
    try:
        return _Fuzz(options, port, servers, database).run()
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)


class _Fuzz:
    """One run: its threads, its counts, and the differences that it found."""

    def __init__(
        self,
        options: argparse.Namespace,
        port: int,
        servers: "Servers | None",
        database: str,
    ) -> None:
        from tests.coherence.client import Client
        from tests.coherence.faults import Faults
        from tests.coherence.queries import Queries
        from tests.coherence.shared_lock import SharedLock
        from tests.coherence.world import World
        from tests.coherence.writes import Writes

        self._options = options
        self._client = lambda: Client(port)
        self._wait_until_ready()
        self.world = World.build()
        self._queries = lambda rng: Queries(self.world, rng)
        self._writes = lambda client, rng: Writes(self.world, client, rng)
        self._turns = SharedLock()
        self._lock = Lock()
        self._left = options.operations
        self._stop = Event()
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.failures: list[str] = []
        self._asked: list[Any] = []  # of all threads
        self._faults = None
        if servers is not None:
            servers.postgres.execute("CHECKPOINT")  # no crash loses the world
            self._faults = Faults(servers, database, self._turns.exclusive, self._read_once)

    def _wait_until_ready(self) -> None:
        client = self._client()
        for _ in range(600):
            if client.is_ready():
                return
            time.sleep(0.1)
        raise SystemExit("the service did not become ready in 60 seconds")

    def _read_once(self) -> None:
        """Have one worker read from PostgreSQL. From then on no worker may serve lost commits."""
        client = self._client()
        for _ in range(600):
            with suppress(OSError, HTTPException):
                answer = client.ask("{ tags(first: 1) { id } }", None, fresh=True)
                if answer.status == 200 and b"errors" not in answer.body:
                    return
            time.sleep(0.1)
        raise RuntimeError("the service does not read from PostgreSQL after its start")

    def run(self) -> int:
        """Return the exit status: 0 when every operation ran and no answers differed."""
        started = time.monotonic()
        seed = self._options.seed
        workers = [
            Thread(target=self._guard, args=(self._work, random.Random(f"{seed}/{number}")))
            for number in range(self._options.threads)
        ]
        readers = [
            Thread(target=self._guard, args=(self._read, random.Random(f"{seed}/r{number}")))
            for number in range(self._options.readers)
        ]
        if self._faults is not None:
            readers.append(Thread(target=self._guard, args=(self._break, random.Random(seed))))
        for thread in [*workers, *readers]:
            thread.start()
        while any(thread.is_alive() for thread in workers):
            time.sleep(10 if self._left > 3_000 else 0.2)
            if self._left > 3_000:
                print(f"{self._options.operations - self._left:,} operations", flush=True)
        self._stop.set()
        for thread in readers:
            thread.join()
        seconds = time.monotonic() - started
        done = self.counts["checks"] + self.counts["writes"]
        print(
            f"seed {seed}: {done:,} operations in {seconds:.0f} s "
            f"({self.counts['writes']:,} writes, {self.counts['checks']:,} checks, "
            f"{self.counts['hits']:,} of them hits, {self.counts['confirmed']:,} by 304; "
            f"{self.counts['twins']:,} by cookie and by token, {self.counts['twin hits']:,} hits; "
            f"{self.counts['reads']:,} reads beside them, {self.counts['read hits']:,} hits): "
            f"{len(self.failures)} differences"
        )
        print(", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items())))
        if self._faults is not None:
            faults = sorted(self._faults.counts.items())
            print("faults: " + ", ".join(f"{kind} {count}" for kind, count in faults))
            lost = self.counts["unavailable"], self.counts["failed"]
            print("{:,} answers 5xx, {:,} writes failed".format(*lost))
        for failure in self.failures[:10]:
            print(failure)
        return 1 if self.failures or done < self._options.operations else 0

    def _guard(self, run, rng) -> None:  # type: ignore[no-untyped-def]
        try:
            run(rng)
        except Exception as error:  # noqa: BLE001 (it fails the run)
            self._fail(f"{run.__name__}: {type(error).__name__}: {error}")
            self._left = 0

    def _fail(self, text: str) -> None:
        with self._lock:
            self.failures.append(text)
            if len(self.failures) >= 10:
                self._left = 0

    def _next(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def _count(self, *names: str) -> None:
        with self._lock:
            self.counts.update(names)

    def _work(self, rng: random.Random) -> None:
        client = self._client()
        queries, writes = self._queries(rng), self._writes(client, rng)
        while self._next():
            if rng.random() < 0.3:
                with self._turns.exclusive():
                    kind = self._write(writes)
                with self._lock:
                    self.kinds[kind] += 1
                self._count("writes")
            else:
                with self._turns.shared():
                    self._check(client, queries, rng)

    def _write(self, writes) -> str:  # type: ignore[no-untyped-def]
        """Run a write and return its kind. Under faults a write may fail."""
        import psycopg
        from django.contrib.sessions.backends.base import UpdateError
        from django.core.management import CommandError
        from django.db import Error, connections

        from pcf.errors import ClientError
        from tests.coherence.writes import Unavailable

        try:
            return writes.one()
        except (
            Error, psycopg.Error, ClientError, CommandError, OSError, Unavailable, UpdateError,
        ):  # fmt: skip
            if self._faults is None:
                raise
            self._count("failed")
            writes.forget_connections()
            connections.close_all()
            return "failed"

    def _break(self, rng: random.Random) -> None:
        assert self._faults is not None
        self._faults.run(rng, self._stop)

    def _is_unavailable(self, *answers) -> bool:  # type: ignore[no-untyped-def]
        """Return whether a fault is the reason of an answer."""
        if self._faults is None or all(answer.status < 500 for answer in answers):
            return False
        self._count("unavailable")
        return True

    def _question(self, queries, rng):  # type: ignore[no-untyped-def]
        """Return a viewer and a query: most have been asked before, so their answer may be old."""
        if self._asked and rng.random() < ASKED_AGAIN:
            return rng.choice(self._asked)
        question = queries.one()
        if len(self._asked) < ASKED:
            self._asked.append(question)
        else:
            self._asked[rng.randrange(ASKED)] = question
        return question

    def _check(self, client, queries, rng) -> None:  # type: ignore[no-untyped-def]
        from tests.coherence.client import PLAIN, QueryStyle

        viewer, query = self._question(queries, rng)
        style = QueryStyle.any(rng) if rng.random() < 0.5 else PLAIN
        if style.conditional:
            viewer, query, style = client.random_kept(rng) or (viewer, query, style)
        cached = client.ask(query, viewer, style=style)
        fresh = client.ask(query, viewer, fresh=True)
        kinds = {"hits": cached.hit, "confirmed": cached.confirmed}
        self._count("checks", *(kind for kind, told in kinds.items() if told))
        if self._is_unavailable(cached, fresh):
            return
        if (cached.status, cached.body) != (fresh.status, fresh.body):
            self._fail(f"{viewer} {query} {style}\n  cached {cached}\n  fresh  {fresh}")
        self._check_privacy(viewer, query, cached)
        if self._faults is None and viewer in self.world.ended and cached.status != 401:
            self._fail(f"{viewer} {query}: the session has ended\n  {cached}")
        self._check_twin(client, viewer, query, fresh)

    def _check_twin(self, client, viewer, query, fresh) -> None:  # type: ignore[no-untyped-def]
        """Check that a user gets one answer by cookie and by token."""
        twin = self.world.twin(viewer)
        if twin is None or viewer not in self.world.viewers:
            return
        if viewer in self.world.ended or twin in self.world.ended:
            return
        answer = client.ask(query, twin)
        self._count("twins", *(["twin hits"] if answer.hit else []))
        if self._is_unavailable(answer):
            return
        if (answer.status, answer.body) != (fresh.status, fresh.body):
            self._fail(f"{query}\n  {viewer} {fresh}\n  {twin} {answer}")

    def _read(self, rng: random.Random) -> None:
        client = self._client()
        queries = self._queries(rng)
        while not self._stop.is_set():
            viewer, query = queries.one()
            crashes = self._faults.crashes if self._faults is not None else 0
            before = client.ask(query, viewer, fresh=True) if rng.random() < 0.3 else None
            answer = client.ask(query, viewer)
            self._count("reads", *(["read hits"] if answer.hit else []))
            self._check_privacy(viewer, query, answer)
            if before is None or self._is_unavailable(before, answer):
                continue
            if self._faults is not None and self._faults.crashes != crashes:
                continue  # commits are lost, so versions may be older
            world = self.world
            for old, new in (
                (world.delivered_versions(before.body), world.versions(answer.body)),
                (world.counters(before.body), world.counters(answer.body)),
            ):
                if any(version < old.get(note, 0) for note, version in new.items()):
                    self._fail(f"{viewer} {query}\n  seen {before}\n  then {answer}")

    def _check_privacy(self, viewer, query, answer) -> None:  # type: ignore[no-untyped-def]
        for owner in self.world.owners_of_private_texts(answer.body):
            if viewer is None or (viewer.user != owner and not viewer.ever_staff):
                self._fail(f"LEAK to {viewer}: {query}\n  {answer}")


if __name__ == "__main__":
    sys.exit(main())
