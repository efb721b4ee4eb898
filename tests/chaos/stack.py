"""The service with all its servers, for ``faults`` to break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.ledger import PEOPLE, Ledger, token_of
from tests.chaos.load import Load
from tests.chaos.servers import Gunicorn, PgBouncer, Postgres, Process, Redis, wait_for
from tests.database.tcp_proxy import Proxy

DATABASE = "pcf"
THREADS = 32  # of each worker
CONNECTIONS = 100  # max_connections; the pools of two workers need 2 x (THREADS + 2)

_SEED = """
from django.utils import timezone
from notes.models import Note
from tags.models import Tag
from users.models import ApiToken, User
from users.tokens import digest_of
tag = Tag.objects.create(name="chaos")
for key, token in enumerate({tokens}, start=1):
    user = User.objects.create(pk=key, username=f"u{{key}}", name=f"User {{key}}")
    ApiToken.objects.create(user=user, name="chaos", digest=digest_of(token))
    if key <= {people}:
        note = Note.objects.create(pk=key, author=user, title="number 0", is_public=True)
        note.tags.add(tag)
from django.db import connection
connection.cursor().execute("SELECT setval(pg_get_serial_sequence('notes_note', 'id'), 1000)")
"""


@dataclass
class Stack:
    """The servers, and the TCP proxy between the service and its primary."""

    primary: Postgres
    replica: Postgres
    redis: Redis
    proxy: Proxy
    service: Gunicorn
    ledger: Ledger = field(default_factory=Ledger)

    def load(self, rate: float, deadline: float) -> Load:
        """Return a load on the service, to be started."""
        return Load(self.service.port, self.ledger, rate=rate, deadline=deadline)

    def lost(self) -> list[str]:
        """Return the violations of the ledger: lost, refused and repeated changes.

        No load may run meanwhile.
        """
        rows = self.primary.execute("SELECT id, title FROM notes_note", DATABASE)
        numbers = {key: int(title.rpartition(" ")[2]) for key, title in rows if key <= PEOPLE}
        found = [
            f"note {it.key}: {it.acknowledged} was acknowledged, the primary has {numbers[it.key]}"
            for it in self.ledger.notes
            if numbers[it.key] < it.acknowledged
        ]
        there = [title for key, title in rows if key > PEOPLE]
        found += [
            f"{title!r} was acknowledged and is missing"
            for title, acknowledged in self.ledger.created.items()
            if acknowledged and title not in there
        ]
        found += [
            f"{title!r} was refused and exists" for title in self.ledger.refused if title in there
        ]
        twice = (title for title, times in Counter(there).items() if times > 1)
        return found + [f"{title!r} exists more than once" for title in twice]

    def done_without_answer(self) -> list[str]:
        """Return the changes that the service made without an answer to the client."""
        rows = self.primary.execute("SELECT title FROM notes_note", DATABASE)
        there = {title for (title,) in rows}
        return [title for title in self.ledger.unanswered if title in there]

    def rebuild_replica(self) -> None:
        """Create the replica again from the primary, on the same port."""
        self.replica.close()
        self.replica.replicate(self.primary).start()


@contextmanager
def running_stack(folder: Path, *, pooler: bool = False, **variables: str) -> Iterator[Stack]:
    """Start all servers, migrate the database, create the users of the load; stop at the end.

    With ``pooler`` the service reaches the primary through PgBouncer in transaction mode.
    """
    made: list[Process] = []
    primary = Postgres(folder, "primary", max_connections=str(CONNECTIONS)).create()
    made.append(primary.start())
    primary.execute(f"CREATE DATABASE {DATABASE}")
    replica = Postgres(folder, "replica", max_connections=str(CONNECTIONS)).replicate(primary)
    made.append(replica.start())
    redis = Redis(folder)
    made.append(redis.start())
    with Proxy("127.0.0.1", primary.port) as proxy:
        port = proxy.port
        if pooler:
            bouncer = PgBouncer(folder, proxy.port)
            made.append(bouncer.start())
            port = bouncer.port
            variables["PCF_DATABASE_SHARED_SESSIONS"] = "1"
        service = Gunicorn(
            folder,
            DATABASE_URL=f"postgres://postgres@127.0.0.1:{port}/{DATABASE}?sslmode=disable",
            DATABASE_REPLICA_URLS=replica.url(DATABASE),
            REDIS_URL=redis.url,
            **{"THREADS": str(THREADS), **variables},
        )
        try:
            service.manage("migrate", "--verbosity", "0")
            tokens = [token_of(person) for person in range(1, PEOPLE + 2)]
            seed = _SEED.format(tokens=tokens, people=PEOPLE)
            service.manage("shell", "-v", "0", "-c", seed)
            made.append(service.start())
            position = primary.position()
            wait_for("the replica to catch up", lambda: replica.position() >= position)
            yield Stack(primary, replica, redis, proxy, service)
        finally:
            for server in reversed(made):
                server.close()
