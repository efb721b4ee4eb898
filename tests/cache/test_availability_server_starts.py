"""No hit is served once a session of another start of PostgreSQL is in use."""

import os
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django_redis import get_redis_connection

from pcf.cache import availability, invalidation, outbox
from pcf.cache.invalidation import admit_session, deliver_pending
from pcf.cache.outbox_relay import OutboxRelay
from pcf.cache.redis_gateway import RedisGateway, redis_gateway
from pcf.cache.response_cache import CachedResponses
from pcf.database.backend.base import DatabaseWrapper
from pcf.viewer import ANONYMOUS
from scripts.folders import server_account, throwaway
from tests.cache.responses import depends_on, look_up, prefix, store, stored_body
from tests.chaos.servers import Postgres, wait_for

OWN = "own"
NOTE = depends_on("note:7")


@pytest.fixture(scope="module")
def postgres():
    """A server that loses its last commits when it is killed."""
    with throwaway(server_account()) as folder:
        server = Postgres(folder, "own", synchronous_commit="off", wal_writer_delay="10s")
        server.create().start()
        server.execute("CREATE TABLE reading (temperature int)")
        server.execute("CHECKPOINT")
        yield server
        server.close()


def restart(server):
    """Kill the server and start it, once the system has removed its shared memory."""
    server.kill()

    def starts():
        try:
            return server.start()
        except RuntimeError:
            return None

    wait_for("another start", starts)


class UnguardedWrapper(DatabaseWrapper):
    """A wrapper of an alias that Django's test case does not know."""

    def ensure_connection(self):
        if self.connection is None:
            with self.wrap_database_errors:
                self.connect()


@pytest.fixture(params=[False, True], ids=["without_pool", "with_pool"])
def database(request, postgres, db):
    """Django's connection to the server, of this process."""
    given = connections[DEFAULT_DB_ALIAS].settings_dict
    where = {"HOST": "127.0.0.1", "PORT": postgres.port, "USER": "postgres", "NAME": "postgres"}
    options = {
        **given["OPTIONS"],
        "pool": {"min_size": 0, "max_size": 2} if request.param else None,
    }
    settings = {**given, **where, "PASSWORD": "", "OPTIONS": options}
    connections.settings[OWN] = settings
    wrapper = connections[OWN] = UnguardedWrapper(settings, alias=OWN)
    try:
        yield wrapper
    finally:
        wrapper.close()
        wrapper.close_pool()
        del connections[OWN], connections.settings[OWN]
        invalidation._outboxes.pop(OWN, None)


@pytest.fixture
def other_process():
    """The gateway of another process."""
    own = RedisGateway()
    own.deliver_with(deliver_pending)
    own.epochs.find_writers = set
    return own


@contextmanager
def relay_of(gateway):
    relay = OutboxRelay(gateway, OWN, blocked_for=0)
    try:
        yield relay
    finally:
        relay._disconnect()


def read(database):
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM reading")
        return cursor.fetchone()[0]


def put(cache, body=b"{}"):
    return store(cache, look_up(cache, None, "digest"), ANONYMOUS, "digest", body, NOTE)


def entries():
    return list(get_redis_connection(redis_gateway().alias).scan_iter(f"{prefix()}:[ed]:*"))


def test_another_process_serves_hits_until_this_one_reads_after_a_crash(
    postgres, database, other_process
):
    cache = CachedResponses(other_process)
    with relay_of(other_process) as relay:
        relay.poll()
        with database.cursor() as cursor:
            cursor.execute("INSERT INTO reading VALUES (20)")
        assert put(cache, b"%d readings" % read(database))
        database.close()
        postgres.kill()
        relay.poll()
        relay.poll()
        assert stored_body(cache, "digest"), "what nobody can write stays right"
        restart(postgres)
        assert stored_body(cache, "digest"), "nobody has seen the server"
        read(database)
        assert stored_body(cache, "digest") is None
        assert put(cache)
        assert stored_body(cache, "digest")


def test_a_reader_from_before_the_crash_cannot_store(postgres, database, other_process):
    cache = CachedResponses(other_process)
    read(database)
    before = look_up(cache, None, "digest")
    database.close()
    restart(postgres)
    read(database)
    assert not store(cache, before, ANONYMOUS, "digest", b"{}", NOTE)
    assert put(cache)


def test_the_crash_of_a_session_is_a_start(postgres, other_process):
    """The server starts its processes anew, and keeps its own start time."""
    with psycopg.connect(postgres.url(), autocommit=True) as own:
        before = outbox.server_start(own)
        assert outbox.server_start(own) == before
        os.kill(own.info.backend_pid, 9)
    postgres.wait_ready()
    with psycopg.connect(postgres.url(), autocommit=True) as own:
        after = outbox.server_start(own)
        assert after != before
        assert after.split()[0] == before.split()[0]
        own.execute("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'")
        assert outbox.server_start(own) == after


def test_a_known_start_removes_nothing(db):
    gateway, cache = redis_gateway(), CachedResponses(redis_gateway())
    gateway.starts.adopt(OWN, "first")
    assert put(cache)
    for ask in (gateway.starts.adopt, gateway.starts.confirm, gateway.starts.admit_session):
        ask(OWN, "first")
        assert entries()
    RedisGateway().starts.adopt(OWN, "first")  # of another process
    assert entries()


def test_a_redis_that_knows_no_start_may_have_entries_of_another(db):
    gateway, cache = redis_gateway(), CachedResponses(redis_gateway())
    gateway.starts.adopt(OWN, "first")
    get_redis_connection(gateway.alias).delete(f"{prefix()}:db:{OWN}")
    assert put(cache)
    gateway.starts.adopt(OWN, "second")
    assert not entries()


@pytest.fixture
def start_anew(monkeypatch):
    """Have relays see another start. The server of all tests is not restarted."""
    return lambda: monkeypatch.setattr(outbox, "server_start", lambda _connection: "another")


def test_the_relay_notices_a_start(db, other_process, start_anew):
    relay, cache = OutboxRelay(other_process), CachedResponses(other_process)
    try:
        relay.poll()
        assert put(cache)
        relay.poll()
        assert entries()
        start_anew()
        relay.poll()
        assert not entries()
    finally:
        relay._disconnect()


@contextmanager
def refusing(redis_server):
    """Have Redis refuse every command, and keep its data."""
    client = redis_server.client()
    client.config_set("requirepass", "unknown")
    client.client_kill_filter(_type="normal", skipme=True)
    try:
        yield
    finally:
        client.config_set("requirepass", "")


@pytest.fixture
def paused(monkeypatch):
    """The seconds of each pause."""
    seconds = []
    monkeypatch.setattr(availability, "sleep", seconds.append)
    return seconds


def test_without_redis_a_session_waits_for_the_relays_of_other_processes(
    redis_server, paused, settings, monkeypatch
):
    monkeypatch.setattr(redis_gateway().starts, "_adopted", {})
    cache_settings = replace(settings.PCF.cache, lease_seconds=50.0)
    settings.PCF = replace(settings.PCF, cache=cache_settings)
    gateway, cache = redis_gateway(), CachedResponses(redis_gateway())
    admit_session("default", "first")
    assert put(cache)
    with refusing(redis_server):
        for _ in range(2):  # sessions
            admit_session("default", "second")
    assert 40 < paused[1] <= paused[0] <= 50
    assert look_up(cache, None, "digest") is None
    assert "PostgreSQL has started anew" in gateway.problem()
    gateway.starts.adopt("default", "second")  # as the relay does
    assert put(cache)
    admit_session("default", "second")
    assert len(paused) == 2
    assert entries()


def test_a_database_that_is_not_watched_is_not_asked_for(redis_server):
    admit_session("no such alias", "first")
    assert redis_server.client().exists(f"{prefix()}:db:no such alias") == 0


def test_without_redis_the_process_serves_nothing_after_a_start(
    redis_server, other_process, start_anew
):
    gateway, cache = other_process, CachedResponses(other_process)
    gateway.alias = redis_server.alias
    relay = OutboxRelay(gateway)
    try:
        relay.poll()
        gateway.lease.hold(None)
        assert put(cache)
        start_anew()
        with refusing(redis_server):
            relay.poll()
        gateway.lease.hold(None)
        assert entries()
        assert look_up(cache, None, "digest") is None
        relay.poll()
        gateway.lease.hold(None)
        assert not entries()
        assert put(cache)
    finally:
        relay._disconnect()


def test_where_postgresql_refuses_the_relay_nothing_is_served(db, other_process, monkeypatch):
    cache = CachedResponses(other_process)
    assert put(cache)
    relay = OutboxRelay(other_process)
    relay.poll()
    relay._disconnect()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "NAME", "no_such_database")
        relay.poll()
        assert look_up(cache, None, "digest") is None
    relay.poll()
    relay._disconnect()
    assert look_up(cache, None, "digest") is not None
