"""Positions of writes, and the fence for responses read from a replica, on a real Redis."""

import psycopg
import pytest
from django_redis import get_redis_connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pcf.cache import scripts
from pcf.cache.entries import Content
from pcf.cache.keys import entry_name
from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway
from pcf.cache.response_cache import CachedResponses, LookupRequest, LookupResult
from pcf.conf import config
from pcf.execution.dependencies import Dependencies
from pcf.http.read_sources import NeededPosition, WalPositions
from pcf.viewer import ANONYMOUS, Viewer
from tests.cache.responses import look_up

VIEWER = Viewer(7)


@pytest.fixture
def gateway():
    return RedisGateway()


@pytest.fixture
def positions(gateway, monkeypatch):
    monkeypatch.setattr("pcf.http.read_sources.primary_position", lambda: 1_000)
    return WalPositions(gateway)


def deliver(gateway, position, *names):
    """Do what a write does: record its position, then invalidate."""
    prefix, kept = config().cache.prefix, scripts.POSITIONS_KEPT
    record = scripts.RecordPositionArguments(prefix, 60, position, kept)
    gateway.run(scripts.RECORD_POSITION, record)
    gateway.run(scripts.INVALIDATE, scripts.InvalidateArguments(prefix, 60), *names)


def forget_everything():
    client = get_redis_connection("default")
    for name in client.keys(f"{config().cache.prefix}:*"):
        client.delete(name)


def test_without_a_floor_the_first_query_reads_from_the_primary(positions):
    assert positions.needed(VIEWER) is None
    assert positions.needed(VIEWER) == NeededPosition(1_000, 1_000)


def test_only_the_writer_needs_the_position_of_its_write(positions):
    positions.needed(VIEWER)
    assert positions.remember(VIEWER, 5_000)
    assert positions.remember(VIEWER, 4_000)  # by a slower thread
    assert positions.needed(VIEWER) == NeededPosition(5_000, 5_000)
    assert positions.needed(Viewer(8)) == NeededPosition(1_000, 1_000)
    assert positions.needed(ANONYMOUS) == NeededPosition(1_000, 1_000)
    positions.remember(ANONYMOUS, 6_000)
    assert positions.needed(ANONYMOUS) == NeededPosition(6_000, 6_000)


def test_the_newest_write_is_known(positions, gateway):
    positions.needed(VIEWER)
    deliver(gateway, 2_000, "note:1")
    deliver(gateway, 1_500, "note:2")
    assert positions.needed(VIEWER) == NeededPosition(1_000, 2_000)


def test_positions_that_redis_lost_are_unknown(positions):
    positions.needed(VIEWER)
    positions.remember(VIEWER, 5_000)
    forget_everything()
    assert positions.needed(VIEWER) is None


def test_without_redis_nothing_is_known(settings):
    settings.CACHES = {
        **settings.CACHES,
        "away": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    positions = WalPositions(RedisGateway("away"))
    assert positions.needed(VIEWER) is None
    assert positions.remember(VIEWER, 5) is False
    assert positions.clock_of(LookupResult(b"1", None, None), 10) is None


def test_every_key_expires(positions, gateway):
    positions.needed(VIEWER)
    positions.remember(VIEWER, 5_000)
    deliver(gateway, 2_000, "note:1")
    client = get_redis_connection("default")
    names = client.keys(f"{config().cache.prefix}:w:*")
    assert len(names) == 3
    assert all(client.ttl(name) > 0 for name in names)


def test_a_read_before_the_first_position_in_the_log_is_not_stored(positions, gateway, monkeypatch):
    monkeypatch.setattr(scripts, "POSITIONS_KEPT", 3)
    positions.needed(VIEWER)
    lookup = look_up(CachedResponses(gateway), None, "0")
    for number in range(5):
        deliver(gateway, 2_000 + number, "note:1")
    assert positions.clock_of(lookup, 2_001) is None
    assert positions.clock_of(lookup, 2_003) is not None


writes = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), max_size=12)


@given(writes, st.integers(0, 12), st.integers(-2, 12), st.integers(1, 4))
@hypothesis(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
def test_no_response_is_stored_that_lacks_a_write(positions, gateway, made, looked_up, lag, read):
    """A stored response has every write of its key that was delivered.

    Writes are delivered in some order, each with a position. A reader reads one key from a replica
    that has replayed up to some position.
    """
    forget_everything()
    cache = CachedResponses(gateway)
    positions.needed(VIEWER)
    lookup = None
    delivered = [(2_000 + 10 * number + 15 * late, key) for number, (key, late) in enumerate(made)]
    replayed = 2_000 + 10 * lag
    for number, (position, key) in enumerate(delivered):
        if number == looked_up:
            lookup = look_up(cache, None, "0")
        deliver(gateway, position, f"note:{key}", "note:*")
    lookup = lookup or look_up(cache, None, "0")
    dependencies = Dependencies()
    dependencies.add("note", (read,))
    fenced = positions.clock_of(lookup, replayed)
    stored = fenced is not None and cache.store(
        fenced, f"anonymous:read-{read}", Content.of(b"{}"), 60, dependencies
    )
    missing = [
        position
        for number, (position, key) in enumerate(delivered)
        if key == read and (position > replayed or number >= looked_up)
    ]
    assert not (stored and missing)
    nothing_new = not any(position > replayed for position, _ in delivered) and looked_up >= len(
        delivered
    )
    if nothing_new and replayed >= 1_000:
        assert stored  # the fence refuses nothing without need
    assert isinstance(fenced, LookupResult | None)


def test_no_write_is_delivered_without_its_position(gateway, monkeypatch):
    """An invalidation stays pending, and the names of a transaction stay blocked."""
    from pcf.cache import redis_gateway as module
    from pcf.database.replicas import Replicas

    def away():
        raise psycopg.OperationalError

    members = Replicas(["replica-1"])
    monkeypatch.setattr(module, "replicas", lambda: members)
    monkeypatch.setattr(module, "primary_position", away)
    touched = Dependencies()
    touched.add("note", (1,))
    gateway.block("7", ["note:1"])
    for deliver_now in (lambda: gateway.invalidate(touched), lambda: gateway.release("7")):
        with pytest.raises(CacheUnavailable):
            deliver_now()
    monkeypatch.setattr(module, "primary_position", lambda: 1_234)
    assert gateway.release("7")
    client = get_redis_connection("default")
    log = client.zrange(f"{config().cache.prefix}:w:log", 0, -1, withscores=True)
    assert [position for _, position in log] == [1_234.0]


def test_positions_recorded_out_of_order_hide_no_write(positions, gateway):
    """Two writers read their positions in one order and deliver in the other."""
    cache = CachedResponses(gateway)
    positions.needed(VIEWER)
    deliver(gateway, 2_020, "note:1")
    deliver(gateway, 2_010, "note:2")
    lookup = cache.look_up(LookupRequest(token=None, digest="0"))
    dependencies = Dependencies()
    dependencies.add("note", (1,))
    fenced = positions.clock_of(lookup, 2_005)
    name = entry_name(ANONYMOUS, "read", shared=False)
    assert not cache.store(fenced, name, Content.of(b"{}"), 60, dependencies)


def test_a_read_below_the_floor_is_not_stored(positions, gateway):
    lookup = CachedResponses(gateway).look_up(LookupRequest(token=None, digest="0"))
    assert positions.clock_of(lookup, 5_000) is None  # no floor yet
    positions.needed(VIEWER)
    assert positions.clock_of(lookup, 999) is None
    assert positions.clock_of(lookup, 1_000) == lookup
