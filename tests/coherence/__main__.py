"""Random queries and writes of every kind against gunicorn; no answer may be old or another's.

    make coherence                       100,000 operations
    python -m tests.coherence --operations 2000 --seed 7

Two kinds of operations run in several threads, through several workers:

* a write, alone (writers exclude each other and the checks);
* a check: a query is asked twice, as anybody would (now and then by GET, in gzip, with variables,
  or asking whether what the client has is still the answer) and with ``Cache-Control: no-store``.
  Nothing is written meanwhile, so both answers must be equal, byte for byte.

Meanwhile readers that nobody holds up keep asking, so that answers are computed and stored while
writes are being committed: what the fence is for. They check what holds at any time: a note's
version, which only grows, is not older than one that was seen before (unless that was written by
psql, which is delivered a moment after its commit); and nobody is shown the text of another's
private note.
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
from pathlib import Path
from threading import Event, Lock, Thread

import psycopg

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--threads", type=int, default=6, help="that check and write")
    parser.add_argument("--readers", type=int, default=3, help="that nobody holds up")
    parser.add_argument("--workers", type=int, default=2, help="of gunicorn")
    options = parser.parse_args()
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
        return _run(options, port)
    finally:
        with psycopg.connect(address, autocommit=True) as server:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _run(options: argparse.Namespace, port: int) -> int:
    import django  # not before the environment is complete

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    service = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"],
        cwd=ROOT,
    )
    try:
        return _Fuzz(options, port).run()
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)


class _Fuzz:
    """One run."""

    def __init__(self, options: argparse.Namespace, port: int) -> None:
        from tests.coherence.asking import Client
        from tests.coherence.queries import Queries
        from tests.coherence.turns import Turns
        from tests.coherence.world import World
        from tests.coherence.writes import Writes

        self._options = options
        self._client = lambda: Client(port)
        self._wait_until_ready()
        self.world = World.build()
        self._queries = lambda rng: Queries(self.world, rng)
        self._writes = lambda client, rng: Writes(self.world, client, rng)
        self._turns = Turns()
        self._lock = Lock()
        self._left = options.operations
        self._stop = Event()
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.failures: list[str] = []

    def _wait_until_ready(self) -> None:
        client = self._client()
        for _ in range(600):
            if client.is_ready():
                return
            time.sleep(0.1)
        raise SystemExit("the service did not become ready in 60 seconds")

    def run(self) -> int:
        """Exit status: 0 when nothing differed."""
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
            f"{self.counts['reads']:,} reads beside them, {self.counts['read hits']:,} hits): "
            f"{len(self.failures)} differences"
        )
        print(", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items())))
        for failure in self.failures[:10]:
            print(failure)
        return 1 if self.failures or done < self._options.operations else 0

    def _guard(self, run, rng) -> None:  # type: ignore[no-untyped-def]
        try:
            run(rng)
        except Exception as error:  # noqa: BLE001 (a thread that fails is a failure of the run)
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
                with self._turns.alone():
                    kind = writes.one()
                with self._lock:
                    self.kinds[kind] += 1
                self._count("writes")
            else:
                with self._turns.shared():
                    self._check(client, queries, rng)

    def _check(self, client, queries, rng) -> None:  # type: ignore[no-untyped-def]
        from tests.coherence.asking import PLAIN, Manner

        viewer, query = queries.one()
        manner = Manner.any(rng) if rng.random() < 0.5 else PLAIN
        if manner.known:
            viewer, query, manner = client.known(rng) or (viewer, query, manner)
        cached = client.ask(query, viewer, manner=manner)
        fresh = client.ask(query, viewer, fresh=True)
        kinds = {"hits": cached.hit, "confirmed": cached.confirmed}
        self._count("checks", *(kind for kind, told in kinds.items() if told))
        if (cached.status, cached.body) != (fresh.status, fresh.body):
            self._fail(f"{viewer} {query} {manner}\n  cached {cached}\n  fresh  {fresh}")
        self._check_privacy(viewer, query, cached)

    def _read(self, rng: random.Random) -> None:
        client = self._client()
        queries = self._queries(rng)
        while not self._stop.is_set():
            viewer, query = queries.one()
            before = client.ask(query, viewer, fresh=True) if rng.random() < 0.3 else None
            answer = client.ask(query, viewer)
            self._count("reads", *(["read hits"] if answer.hit else []))
            self._check_privacy(viewer, query, answer)
            if before is None:
                continue
            old = self.world.delivered_versions(before.body)
            for note, version in self.world.versions(answer.body).items():
                if version < old.get(note, 0):
                    self._fail(f"{viewer} {query}\n  seen {before}\n  then {answer}")

    def _check_privacy(self, viewer, query, answer) -> None:  # type: ignore[no-untyped-def]
        for owner in self.world.owners_of_private_texts(answer.body):
            if viewer is None or (viewer.user != owner and not viewer.ever_staff):
                self._fail(f"LEAK to {viewer}: {query}\n  {answer}")


if __name__ == "__main__":
    sys.exit(main())
