"""The servers of these tests: PostgreSQL with a streaming replica, and gunicorn."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from scripts.folders import server_account, throwaway
from tests.chaos.servers import Gunicorn, Postgres, wait_for
from tests.chaos.stack import Stack as ChaosStack
from tests.chaos.stack import running_stack

DATABASE = "pcf"
TOKENS = {1: "token-of-one", 2: "token-of-two"}

PEOPLE = """
from users.models import ApiToken, User
from users.tokens import digest_of
from notes.models import Note
for key, text in {tokens}.items():
    user = User.objects.create(pk=key, username=f"u{{key}}", name=f"User {{key}}")
    ApiToken.objects.create(user=user, name="test", digest=digest_of(text))
    Note.objects.create(pk=key, author=user, title="before", is_public=True)
"""


@dataclass
class Reply:
    """An answer as a client sees it."""

    status: int
    content: Any
    cache_status: str

    @property
    def data(self) -> Any:
        assert "errors" not in self.content, self.content
        return self.content["data"]


@dataclass
class Stack:
    """The servers of the tests of replication."""

    primary: Postgres
    replica: Postgres
    service: Gunicorn

    def ask(self, query: str, viewer: int | None = None, **headers: str) -> Reply:
        """Post a query as a viewer. Raises connection errors."""
        headers |= {"Content-Type": "application/json"}
        if viewer is not None:
            headers["Authorization"] = f"Bearer {TOKENS[viewer]}"
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"{self.service.url}/graphql", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return Reply(
                    answer.status, json.loads(answer.read()), answer.headers["Cache-Status"]
                )
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, json.loads(error.read()), error.headers["Cache-Status"])

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all workers and over all other labels."""
        with urllib.request.urlopen(f"{self.service.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = 0.0
        for line in re.findall(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE):
            if all(f'{key}="{value}"' in line[0] for key, value in labels.items()):
                found += float(line[1])
        return found

    def replica_reads(self) -> float:
        return self.metric("db_query_reads_total", source="replica")

    def wait_until_replica_is_read(self) -> None:
        """Wait until queries of every worker read from the replica, without the cache."""

        def all_from_replica() -> bool:
            before = self.replica_reads()
            for _ in range(8):
                self.ask("{ tags { id } }", **{"Cache-Control": "no-store"})
            return self.replica_reads() == before + 8

        wait_for("queries read from the replica", all_from_replica)


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    with throwaway(server_account()) as folder:
        yield folder


@pytest.fixture(scope="session")
def primary(servers_folder: Path) -> Iterator[Postgres]:
    server = Postgres(servers_folder, "primary").create().start()
    server.execute(f"CREATE DATABASE {DATABASE}")
    yield server
    server.close()


@pytest.fixture(scope="session")
def replica(servers_folder: Path, primary: Postgres) -> Iterator[Postgres]:
    server = Postgres(servers_folder, "replica").replicate(primary).start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def stack(servers_folder: Path, primary: Postgres, replica: Postgres) -> Iterator[Stack]:
    service = Gunicorn(
        servers_folder,
        DATABASE_URL=primary.url(DATABASE),
        DATABASE_REPLICA_URLS=replica.url(DATABASE),
        REDIS_URL=settings.REDIS_URL,
        PCF_CACHE_PREFIX=f"{settings.PCF.cache.prefix}-faults",
        PCF_REPLICAS_CHECK_INTERVAL="0.1",
        PCF_REPLICAS_CHECK_TIMEOUT="0.6",
        PCF_REPLICAS_MAX_LAG="30",
        PCF_REPLICAS_MAX_LAG_BYTES="1000000",
    )
    service.manage("migrate", "--verbosity", "0")
    service.manage("shell", "-v", "0", "-c", PEOPLE.format(tokens=TOKENS))
    service.start()
    yield Stack(primary, replica, service)
    service.close()


@pytest.fixture(scope="session")
def chaos_stack(servers_folder: Path) -> Iterator[ChaosStack]:
    folder = servers_folder / "chaos"
    folder.mkdir(mode=0o755)
    with running_stack(folder, PCF_REPLICAS_CHECK_INTERVAL="0.2") as running:
        yield running
