"""The outbox relay of one process finishes what a writer of another process left behind."""

from time import monotonic

import psycopg
import pytest
from django.db import connection

from pcf.cache import outbox
from pcf.cache.invalidation import deliver_pending
from pcf.cache.outbox_relay import OutboxRelay
from pcf.cache.redis_gateway import RedisGateway, redis_gateway
from pcf.cache.response_cache import CachedResponses
from pcf.viewer import ANONYMOUS
from tests.cache.responses import depends_on, look_up, store, stored_body


@pytest.fixture
def psql(live_world):
    """A connection to PostgreSQL without the engine."""
    params = connection.get_connection_params()
    given = {name: params[name] for name in ("dbname", "host", "port", "user") if name in params}
    if params.get("password"):
        given["password"] = params["password"]
    with psycopg.connect(**given) as other:
        yield other


@pytest.fixture
def own_gateway():
    """The gateway of another process."""
    own = RedisGateway()
    own.deliver_with(deliver_pending)
    return own


@pytest.fixture
def relay(own_gateway):
    relay = OutboxRelay(own_gateway, blocked_for=0)
    yield relay
    relay._disconnect()


@pytest.fixture
def cache(own_gateway):
    return CachedResponses(own_gateway)


def waiting(psql):
    psql.rollback()
    return psql.execute("SELECT count(*) FROM pcf_touch").fetchone()[0]


def test_the_next_poll_delivers_a_write_of_psql(live_world, psql, relay, cache, grown):
    tag = live_world.red.pk
    store(cache, look_up(cache, None, "d"), ANONYMOUS, "d", b"old", depends_on(f"tag:{tag}"))
    store(cache, look_up(cache, None, "e"), ANONYMOUS, "e", b"other", depends_on("tag:0"))
    psql.execute("UPDATE tags_tag SET name = 'crimson' WHERE id = %s", [tag])
    relay.poll()
    assert stored_body(cache, "d") == b"old"  # psql has not committed yet
    psql.commit()
    grown()
    relay.poll()
    told = grown()
    assert (told["recovered outbox"], told["invalidations tag"]) == (1, 1)
    assert stored_body(cache, "d") is None
    assert stored_body(cache, "e") == b"other"
    assert waiting(psql) == 0


def test_a_process_serves_nothing_after_its_lease_has_ended(live_world, own_gateway, relay, cache):
    relay.poll()
    assert look_up(cache, None, "d") is not None
    own_gateway.lease.hold(monotonic() - 1)
    assert look_up(cache, None, "d") is None
    assert own_gateway.problem() == "the outbox relay is late"
    relay.poll()
    assert look_up(cache, None, "d") is not None


def write_without_release(psql, cache, tag):
    """Do what a writer does that is killed between its COMMIT and the release."""
    psql.execute("UPDATE tags_tag SET name = name || '!' WHERE id = %s", [tag])
    taken = outbox.find(psql).take(psql)
    redis_gateway().block(taken.transaction, taken.names)
    return taken.transaction


def test_names_stay_blocked_until_the_transaction_ends(live_world, psql, relay, cache, own_gateway):
    tag = live_world.red.pk
    store(cache, look_up(cache, None, "d"), ANONYMOUS, "d", b"old", depends_on(f"tag:{tag}"))
    write_without_release(psql, cache, tag)
    assert stored_body(cache, "d") is None
    relay.poll()  # the transaction is in progress: its names stay blocked
    lookup = look_up(cache, None, "d")
    assert not store(cache, lookup, ANONYMOUS, "d", b"old", depends_on(f"tag:{tag}"))
    psql.commit()
    lookup = look_up(cache, None, "d")
    assert not store(cache, lookup, ANONYMOUS, "d", b"new", depends_on(f"tag:{tag}"))
    relay.poll()
    assert own_gateway.blocking_transactions(0) == []
    # a reader that began before the release may have read before the COMMIT
    assert not store(cache, lookup, ANONYMOUS, "d", b"old", depends_on(f"tag:{tag}"))
    lookup = look_up(cache, None, "d")
    assert store(cache, lookup, ANONYMOUS, "d", b"new", depends_on(f"tag:{tag}"))


def test_the_relay_releases_the_names_of_a_rolled_back_transaction(
    live_world, psql, relay, cache, grown
):
    tag = live_world.red.pk
    write_without_release(psql, cache, tag)
    psql.rollback()
    grown()
    relay.poll()
    assert grown() == {"recovered block": 1}
    lookup = look_up(cache, None, "d")
    assert store(cache, lookup, ANONYMOUS, "d", b"same", depends_on(f"tag:{tag}"))


def test_names_stay_blocked_until_both_writers_release_them(live_world, cache):
    names = ["tag:1"]
    redis_gateway().block("1", names)
    redis_gateway().block("2", names)
    assert redis_gateway().release("1")
    lookup = look_up(cache, None, "d")
    assert not store(cache, lookup, ANONYMOUS, "d", b"x", depends_on("tag:1"))
    assert redis_gateway().release("2")
    assert not redis_gateway().release("2")
    assert not store(cache, lookup, ANONYMOUS, "d", b"x", depends_on("tag:1"))
    assert store(cache, look_up(cache, None, "d"), ANONYMOUS, "d", b"x", depends_on("tag:1"))


def test_the_relay_releases_the_names_of_an_unknown_transaction(live_world, relay, own_gateway):
    redis_gateway().block("999999999999", ["tag:1"])
    relay.poll()
    assert own_gateway.blocking_transactions(0) == []


def test_a_large_outbox_shrinks_to_kinds(live_world, psql):
    own = outbox.find(psql)
    psql.execute("DELETE FROM pcf_touch")  # rows that earlier tests left
    for number in range(1_001):
        own.put(psql, [f"tag:{number}", "tags:"])
    psql.commit()
    psql.autocommit = True
    rows, names = own.read(psql)
    assert (len(rows), sorted(names)) == (1, ["tag!", "tags!"])
    own.remove(psql, rows)
    assert own.read(psql) == ([], [])


def test_without_its_triggers_a_process_caches_nothing(live_world, relay, cache, own_gateway):
    with connection.cursor() as cursor:
        cursor.execute("ALTER FUNCTION pcf_touch_tags_tag() RENAME TO another")
    try:
        relay.poll()
        assert look_up(cache, None, "d") is None
        assert own_gateway.problem() == (
            "triggers on tags_tag are missing, disabled or of another version: "
            "run migrate, or restart this process"
        )
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER FUNCTION another() RENAME TO pcf_touch_tags_tag")
    relay._check_triggers()
    assert look_up(cache, None, "d") is not None


def test_the_thread_starts_and_stops(live_world, own_gateway, cache, settings):
    relay = OutboxRelay(own_gateway)
    relay.start()
    while own_gateway.lease.until is None:
        pass
    relay.stop()
    assert own_gateway.lease.until is None
    assert not relay._thread.is_alive()


def test_without_postgresql_hits_are_served(live_world, own_gateway, cache, monkeypatch):
    store(cache, look_up(cache, None, "d"), ANONYMOUS, "d", b"x", depends_on("tag:1"))
    relay = OutboxRelay(own_gateway)
    relay.poll()
    relay._connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", 1)
    relay.poll()
    relay.poll()
    assert stored_body(cache, "d") == b"x"
