"""Each database that has an outbox is watched: the relays of a process, and its own deliveries."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from pcf.cache import invalidation, outbox_relay
from pcf.cache.invalidation import deliver_pending, flush_report, flush_type, watched_aliases
from pcf.cache.outbox_relay import OutboxRelay
from pcf.cache.redis_gateway import RedisGateway, redis_gateway
from pcf.cache.response_cache import CachedResponses
from pcf.database.backend.base import DatabaseWrapper
from pcf.execution.dependencies import Dependencies
from pcf.viewer import ANONYMOUS
from tests.cache.responses import depends_on, look_up, store, stored_body
from tests.databases import throwaway_database

SECOND = "second"


@pytest.fixture(scope="module")
def address():
    """The address of a second database, with tables and triggers."""
    with throwaway_database("pcf_second") as url:
        subprocess.run(
            [sys.executable, Path(__file__).parents[2] / "manage.py", "migrate"],
            env={**os.environ, "DATABASE_URL": url}, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        yield url


class UnguardedWrapper(DatabaseWrapper):
    """A wrapper of an alias that Django's test case does not know."""

    def ensure_connection(self):
        if self.connection is None:
            with self.wrap_database_errors:
                self.connect()


@contextmanager
def connected(url):
    """Make the database at ``url`` known as ``SECOND``."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    settings = {**connections[DEFAULT_DB_ALIAS].settings_dict, "NAME": name}
    connections.settings[SECOND] = settings
    wrapper = connections[SECOND] = UnguardedWrapper(settings, alias=SECOND)
    try:
        yield wrapper
    finally:
        wrapper.close()
        wrapper.close_pool()
        del connections[SECOND], connections.settings[SECOND]
        invalidation._outboxes.pop(SECOND, None)


@pytest.fixture
def second(live_world, address):
    with connected(address) as wrapper:
        yield wrapper


@pytest.fixture
def psql(address):
    with psycopg.connect(address, autocommit=True) as other:
        other.execute("DELETE FROM tags_tag")
        other.execute("DELETE FROM pcf_touch")
        yield other


@pytest.fixture
def gateway():
    own = RedisGateway()
    own.deliver_with(deliver_pending)
    return own


@pytest.fixture
def relays(gateway, second):
    made = [OutboxRelay(gateway, alias, blocked_for=0) for alias in (DEFAULT_DB_ALIAS, SECOND)]
    gateway.watch([DEFAULT_DB_ALIAS, SECOND])
    yield made
    for relay in made:
        relay._disconnect()


def stored(gateway):
    """A cache with an entry that depends on tag 7."""
    cache = CachedResponses(gateway)
    store(cache, look_up(cache, None, "d"), ANONYMOUS, "d", b"old", depends_on("tag:7"))
    return cache


def test_all_databases_but_replicas_are_watched(second):
    assert watched_aliases() == [DEFAULT_DB_ALIAS, SECOND]
    second.settings_dict["OPTIONS"] = {**second.settings_dict["OPTIONS"], "replica": True}
    assert watched_aliases() == [DEFAULT_DB_ALIAS]


def test_the_relay_of_each_database_delivers_its_outbox(gateway, relays, psql):
    cache = stored(gateway)
    psql.execute("INSERT INTO tags_tag (id, name) VALUES (7, 'x')")
    relays[0].poll()
    assert stored_body(cache, "d") == b"old"
    relays[1].poll()
    assert stored_body(cache, "d") is None


def test_writes_are_pending_until_each_relay_has_delivered_its_own(gateway, relays, psql):
    cache = stored(gateway)
    psql.execute("INSERT INTO tags_tag (id, name) VALUES (7, 'x')")
    gateway.add_pending()  # as after a failure of Redis
    relays[0].poll()
    assert gateway.has_pending
    relays[1].poll()
    relays[0].poll()
    assert not gateway.has_pending
    assert stored_body(cache, "d") is None
    gateway.add_pending()
    relays[1].poll()
    assert gateway.has_pending
    relays[0].poll()
    assert not gateway.has_pending


def test_a_request_delivers_the_outboxes_of_all_databases(gateway, second, psql):
    cache = stored(gateway)
    psql.execute("INSERT INTO tags_tag (id, name) VALUES (7, 'x')")
    gateway.add_pending()
    assert stored_body(cache, "d") is None


def test_the_lease_is_over_when_that_of_one_database_is(gateway, relays):
    for relay in relays:
        relay.poll()
    assert not gateway.lease.is_over
    gateway.lease.hold(monotonic() - 1, SECOND)
    assert gateway.problem() == "the outbox relay is late"
    relays[0].poll()
    assert gateway.problem() == "the outbox relay is late"
    relays[1].poll()
    assert gateway.problem() is None


def test_transactions_of_two_databases_have_two_names(gateway, relays, second, psql, monkeypatch):
    blocked = []
    block = RedisGateway.block

    def spy(self, transaction_name, names):
        blocked.append(transaction_name)
        return block(self, transaction_name, names)

    monkeypatch.setattr(RedisGateway, "block", spy)
    with transaction.atomic(SECOND), second.cursor() as cursor:
        cursor.execute("INSERT INTO tags_tag (id, name) VALUES (8, 'y')")
        cursor.execute("SELECT pg_current_xact_id()::text")
        (number,) = cursor.fetchone()
    assert blocked == [f"{SECOND}/{number}"]
    # a writer of the second database dies between its COMMIT and the release
    redis_gateway().block(f"{SECOND}/{number}", ["tag:8"])
    relays[0].poll()
    assert gateway.blocking_transactions(0) == [f"{SECOND}/{number}"]
    relays[1].poll()
    assert gateway.blocking_transactions(0) == []


def test_triggers_that_are_missing_in_one_database_close_the_cache(gateway, relays, psql):
    psql.execute("ALTER TABLE tags_tag DISABLE TRIGGER pcf_touch_insert")
    try:
        for relay in relays:
            relay.poll()
        assert "triggers on tags_tag are missing" in gateway.problem()
    finally:
        psql.execute("ALTER TABLE tags_tag ENABLE ALWAYS TRIGGER pcf_touch_insert")
    for _ in range(4):
        relays[1].poll()
    assert gateway.problem() is None


def test_a_database_without_an_outbox(gateway, second, monkeypatch):
    relay = OutboxRelay(gateway, SECOND)
    monkeypatch.setattr(outbox_relay.outbox, "find", lambda _cursor: None)
    relay.poll()
    assert gateway.problem() is None  # no model with a declaration is written there
    assert relay._connection is None
    monkeypatch.setattr(outbox_relay, "_written_aliases", lambda: {SECOND})
    relay.poll()
    assert gateway.problem() == "the database 'second' has no outbox: run migrate"


def test_a_process_has_a_relay_for_each_database(second, monkeypatch):
    started = []
    monkeypatch.setattr(OutboxRelay, "start", lambda relay: started.append(relay._using))
    monkeypatch.setattr(outbox_relay, "_relays", [])
    outbox_relay.start()
    assert started == [DEFAULT_DB_ALIAS, SECOND]


class TagsInSecond:
    """Routes the model Tag to the second database."""

    def db_for_write(self, model, **_):
        return SECOND if model.__name__ == "Tag" else None

    db_for_read = db_for_write


def test_a_row_is_flushed_as_the_database_of_its_model_has_it(
    gateway, second, psql, live_world, settings
):
    cache = stored(gateway)
    psql.execute("INSERT INTO tags_tag (id, name) VALUES (7, 'only in the second')")
    deliver_pending()
    store(cache, look_up(cache, None, "e"), ANONYMOUS, "e", b"another", depends_on("note:7"))
    name = Dependencies()
    name.add("tag-name", ("only in the second",))
    store(cache, look_up(cache, None, "f"), ANONYMOUS, "f", b"by name", name)
    settings.DATABASE_ROUTERS = [TagsInSecond()]
    assert flush_type("Tag", 7) == 1
    assert stored_body(cache, "f") is None
    assert stored_body(cache, "e") is not None
    assert "there is no such row" not in flush_report(1, type_="Tag", key=7)
    settings.DATABASE_ROUTERS = []
    assert "there is no such row" in flush_report(1, type_="Tag", key=7)
