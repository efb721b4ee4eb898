"""Fixtures that all tests share: a cache of their own, people, notes, and a GraphQL client."""

import gc
import json
import logging
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import transaction
from django.test import Client
from django_redis import get_redis_connection
from prometheus_client import REGISTRY

from notes.models import Note, NoteTag
from tags.models import Tag
from tests.databases import RUN, drop_template
from users.models import ApiToken, User

# The files that take longest begin first, so that no process of a run works alone at its end. Those
# that wait for servers stand among those that compute.
LONGEST = (
    "projects/test_oddities.py",
    "end_to_end/test_replaced_workers.py",
    "projects/test_guides.py",
    "admin/test_hostile.py",
    "chaos/test_faults.py",
    "policy/test_matrix.py",
    "end_to_end/test_coherence.py",
    "notes/test_notes_indexes.py",
    "cache/test_redis_gateway_faults.py",
    "pagination/test_property.py",
    "end_to_end/test_service.py",
    "end_to_end/test_slow_clients.py",
    "end_to_end/test_sessions_under_load.py",
    "differential/test_streams.py",
    "cache/test_trigger_installation.py",
    "execution/test_executor_slow_fields.py",
    "end_to_end/test_many_connections.py",
    "fuzz/test_spending.py",
    "execution/test_executor_differential.py",
    "server/test_short_requests_waits.py",
    "end_to_end/test_layers.py",
    "end_to_end/test_fuzz.py",
    "end_to_end/test_other_servers.py",
    "admin/test_forms.py",
    "projects/test_bookstore.py",
    "end_to_end/test_connection_limits.py",
    "server/test_fast_path.py",
    "chaos/test_replication.py",
    "execution/test_promise_executor_differential.py",
    "end_to_end/test_fast_path.py",
    "execution/test_plan_cache.py",
    "notes/test_seed_demo.py",
    "end_to_end/test_metrics_of_workers.py",
    "end_to_end/test_idempotency.py",
    "benchmarks/test_load_command.py",
    "conf/test_production.py",
    "differential/test_rules.py",
    "end_to_end/test_secrets.py",
    "end_to_end/test_identity.py",
    "end_to_end/test_killed_worker.py",
    "differential/test_pipelines.py",
)
MAX_MEMORY = 8 * 2**30  # bytes of a process of the tests, and of each that it starts

_numbers = count(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test with the mark ``blocks`` that takes less or more time than its mark says."""
    started = monotonic()
    yield
    for mark in item.iter_markers("blocks"):
        check_blocking_time(mark, monotonic() - started)


def check_blocking_time(mark: pytest.Mark, seconds: float) -> None:
    """Raise AssertionError when a call did not block, or did not end in time."""
    call, at_least, within = mark.args[0], mark.kwargs["at_least"], mark.kwargs["within"]
    assert seconds >= at_least, f"{call} ended after {seconds:.2f} s, so it did not block"
    assert seconds <= within, f"{call} took {seconds:.2f} s, more than {within} s"


def pytest_configure(config: pytest.Config) -> None:
    """Have a test without an end fail by MemoryError, before it takes the memory of the machine."""
    del config
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > MAX_MEMORY:
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, hard))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Drop what the processes of a run share. The first process of a run ends last."""
    if not hasattr(session.config, "workerinput") or not RUN:
        with suppress(psycopg.OperationalError):  # without a server there is nothing to drop
            drop_template()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the files of LONGEST to the beginning, then those with the most tests.

    pytest-randomly has shuffled the tests before. The second rule is that of pytest-xdist.
    """
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (places.get(item.path, len(LONGEST)), -sizes[item.path]))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what lives as long as the process: modules, schema, tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_cache(settings: Any) -> None:
    """Every test has a cache prefix of its own, so nothing of another test is ever found."""
    cache = replace(settings.PCF.cache, prefix=f"{settings.PCF.cache.prefix}-{next(_numbers)}")
    settings.PCF = replace(settings.PCF, cache=cache)
    begin_epoch(get_redis_connection("default"), cache.prefix)
    know_starts(get_redis_connection("default"), cache.prefix)
    # The service keeps the limits under which it is made: not those that a test sets for itself.
    from pcf.project.schema import graphql_service

    graphql_service()


def begin_epoch(client: Any, prefix: str) -> None:
    """Do what the first request does on an empty Redis, with a statement to PostgreSQL."""
    with suppress(redis.RedisError):
        run_id = client.info("server")["run_id"][:8]
        client.set(f"{prefix}:epoch", run_id, ex=3600)


def know_starts(client: Any, prefix: str) -> None:
    """Do what the first session of each database does: the later ones remove no entries."""
    from pcf.cache.redis_gateway import redis_gateway

    with suppress(redis.RedisError):
        for alias, started in redis_gateway().starts._adopted.items():
            client.set(f"{prefix}:db:{alias}", started, ex=3600)


class Reports(logging.Handler):
    """Keeps what is reported to a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def check(self) -> None:
        """Fail when there are any."""
        assert not self.texts, "\n".join(self.texts)


@pytest.fixture(autouse=True)
def repetitions(request: pytest.FixtureRequest, settings: Any) -> Iterator[Reports]:
    """A request that sends one statement more than twice fails its test: that is an N+1.

    Mark a test with ``repeats`` where it is meant to.
    """
    database = replace(settings.PCF.database, repeated_statements=2)
    settings.PCF = replace(settings.PCF, database=database)
    logger = logging.getLogger("pcf.n_plus_one")
    reports = Reports()
    logger.addHandler(reports)
    yield reports
    logger.removeHandler(reports)
    if not request.node.get_closest_marker("repeats"):
        reports.check()


@pytest.fixture(scope="session", autouse=True)
def _leave_redis_clean() -> Iterator[None]:
    yield
    client = get_redis_connection("default")
    names = client.scan_iter(match=f"{settings.PCF.cache.prefix}*", count=1_000)
    while some := [*islice(names, 1_000)]:
        client.unlink(*some)


@pytest.fixture
def fresh_service() -> Iterator[None]:
    """The service is made by the first request, so with the settings that the test has by then."""
    from pcf.project.schema import graphql_service

    graphql_service.cache_clear()
    yield
    graphql_service.cache_clear()


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    content: dict[str, Any]
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        assert "errors" not in self.content, self.content["errors"]
        return self.content["data"]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self.content.get("errors", [])

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.errors]

    @property
    def cache_status(self) -> str:
        return self.headers["Cache-Status"]


Ask = Callable[..., Answer]


@pytest.fixture
def ask() -> Ask:
    """``ask(query, token=None, variables=None, extensions=None, **headers)`` posts to /graphql."""
    client = Client(raise_request_exception=False)

    def post(
        query: str,
        token: str | None = None,
        variables: Any = None,
        extensions: Any = None,
        **headers: str,
    ) -> Answer:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        content = json.dumps({"query": query, "variables": variables, "extensions": extensions})
        response = client.post(
            "/graphql", content, content_type="application/json", headers=headers
        )
        return Answer(
            response.status_code, response.json(), dict(response.headers), response.content
        )

    return post


Grown = Callable[[], dict[str, float]]


@pytest.fixture
def grown() -> Grown:
    """``grown()``: by how much the cache's metrics have grown since the last call, or since the
    test began; those that have not are left out. ``{"stores": 1.0, "refused_stores fence": 2.0}``
    """

    def read() -> dict[str, float]:
        return {
            " ".join([sample.name.removesuffix("_total"), *sample.labels.values()]).removeprefix(
                "response_cache_"
            ): sample.value
            for family in REGISTRY.collect()
            if family.name.startswith("response_cache_")
            for sample in family.samples
            if not sample.name.endswith(("_created", "_bucket"))
        }

    last = read()

    def since() -> dict[str, float]:
        before = last.copy()
        last.update(read())
        return {
            name: value - before.get(name, 0.0)
            for name, value in last.items()
            if value != before.get(name, 0.0)
        }

    return since


def new_user(name: str, **fields: Any) -> User:
    """A user that is not stored yet."""
    return User(username=name.lower(), name=name, email=f"{name.lower()}@example.org", **fields)


def make_user(name: str, **fields: Any) -> User:
    user = new_user(name, **fields)
    user.save(force_insert=True)
    return user


def make_note(author: User, title: str, *tags: Tag, public: bool = True) -> Note:
    note = Note.objects.create(author=author, title=title, content="...", is_public=public)
    note.tags.set(tags)
    return note


def token_for(user: User, scope: str | None = None) -> str:
    """A token with all that its user may do, or with a smaller scope."""
    return ApiToken.issue(user, "test", scope=scope or ("admin" if user.is_staff else "write"))[1]


@dataclass(frozen=True)
class World:
    """Two authors, a member of staff, two tags, three notes."""

    ann: User
    bob: User
    staff: User
    red: Tag
    blue: Tag
    public: Note  # ann's, red
    private: Note  # ann's, red and blue
    other: Note  # bob's, private, blue


def build_world() -> World:
    """Four statements store the world, since a thousand tests need it."""
    ann, bob, staff = User.objects.bulk_create(
        [new_user("Ann"), new_user("Bob"), new_user("Sue", is_staff=True)]
    )
    red, blue = Tag.objects.bulk_create([Tag(name="red"), Tag(name="blue")])
    public, private, other = Note.objects.bulk_create(
        [
            Note(author=ann, title="public of ann", content="...", is_public=True),
            Note(author=ann, title="private of ann", content="..."),
            Note(author=bob, title="private of bob", content="..."),
        ]
    )
    pairs = ((public, red), (private, red), (private, blue), (other, blue))
    NoteTag.objects.bulk_create([NoteTag(note=note, tag=tag) for note, tag in pairs])
    return World(ann, bob, staff, red, blue, public, private, other)


@pytest.fixture
def world(db: None) -> World:
    """The world inside a transaction that is rolled back: commit hooks do not run."""
    return build_world()


@pytest.fixture
def live_world(transactional_db: None) -> World:
    """The world after a real commit; what a test writes is committed, too."""
    with transaction.atomic():
        return build_world()
