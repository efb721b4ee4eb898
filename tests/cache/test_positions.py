"""Positions of writes, and the fence for what was read from a replica, on a real Redis."""

import psycopg
import pytest
from django_redis import get_redis_connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pcf.apps import config
from pcf.cache import position_scripts, scripts
from pcf.cache.entries import Content
from pcf.cache.gate import CacheUnavailable, Gate
from pcf.cache.positions import Needed, Positions
from pcf.cache.responses import Lookup, Question, ResponseCache, entry_name
from pcf.execution.dependencies import Dependencies
from pcf.viewer import ANONYMOUS, Viewer
from tests.cache.test_responses import ask

VIEWER = Viewer(7)


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def positions(gate, monkeypatch):
    monkeypatch.setattr("pcf.cache.positions.primary_position", lambda: 1_000)
    return Positions(gate)


def deliver(gate, position, *names):
    """As a write does: first its position, then what it touches."""
    prefix, kept = config().cache.prefix, position_scripts.KEPT
    gate.run(position_scripts.RECORD, prefix, 60, position, kept)
    gate.run(scripts.INVALIDATE, prefix, 60, *names)


def forget_everything():
    client = get_redis_connection("default")
    for name in client.keys(f"{config().cache.prefix}:*"):
        client.delete(name)


def test_a_redis_that_knows_nothing_sends_the_first_query_to_the_primary(positions):
    assert positions.needed(VIEWER) is None
    assert positions.needed(VIEWER) == Needed(1_000, 1_000)


def test_a_viewer_needs_what_it_wrote_and_others_do_not(positions):
    positions.needed(VIEWER)
    assert positions.remember(VIEWER, 5_000)
    assert positions.remember(VIEWER, 4_000)  # of a slower thread
    assert positions.needed(VIEWER) == Needed(5_000, 5_000)
    assert positions.needed(Viewer(8)) == Needed(1_000, 1_000)
    assert positions.needed(ANONYMOUS) == Needed(1_000, 1_000)
    positions.remember(ANONYMOUS, 6_000)
    assert positions.needed(ANONYMOUS) == Needed(6_000, 6_000)


def test_the_newest_write_is_known(positions, gate):
    positions.needed(VIEWER)
    deliver(gate, 2_000, "note:1")
    deliver(gate, 1_500, "note:2")
    assert positions.needed(VIEWER) == Needed(1_000, 2_000)


def test_positions_lost_with_redis_are_not_taken_for_unwritten(positions):
    positions.needed(VIEWER)
    positions.remember(VIEWER, 5_000)
    forget_everything()
    assert positions.needed(VIEWER) is None


def test_without_redis_nothing_is_known(settings):
    settings.CACHES = {
        **settings.CACHES,
        "away": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    positions = Positions(Gate("away"))
    assert positions.needed(VIEWER) is None
    assert positions.remember(VIEWER, 5) is False
    assert positions.clock_of(Lookup(b"1", None, None), 10) is None


def test_every_key_expires(positions, gate):
    positions.needed(VIEWER)
    positions.remember(VIEWER, 5_000)
    deliver(gate, 2_000, "note:1")
    client = get_redis_connection("default")
    names = client.keys(f"{config().cache.prefix}:w:*")
    assert len(names) == 3
    assert all(client.ttl(name) > 0 for name in names)


def test_more_writes_than_are_kept_make_old_readings_unstorable(positions, gate, monkeypatch):
    monkeypatch.setattr(position_scripts, "KEPT", 3)
    positions.needed(VIEWER)
    lookup = ask(ResponseCache(gate), None, "0")
    for number in range(5):
        deliver(gate, 2_000 + number, "note:1")
    assert positions.clock_of(lookup, 2_001) is None
    assert positions.clock_of(lookup, 2_003) is not None


writes = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), max_size=12)


@given(writes, st.integers(0, 12), st.integers(-2, 12), st.integers(1, 4))
@hypothesis(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
def test_nothing_that_lacks_a_write_is_stored(positions, gate, made, looked_up, lag, read):
    """Writes are delivered in some order, each at a position; a reader reads one key from a replica
    that has replayed up to some position. If it is stored, it has every write of that key that was
    delivered before or after the look-up.
    """
    forget_everything()
    cache = ResponseCache(gate)
    positions.needed(VIEWER)
    lookup = None
    delivered = [(2_000 + 10 * number + 15 * late, key) for number, (key, late) in enumerate(made)]
    replayed = 2_000 + 10 * lag
    for number, (position, key) in enumerate(delivered):
        if number == looked_up:
            lookup = ask(cache, None, "0")
        deliver(gate, position, f"note:{key}", "note:*")
    lookup = lookup or ask(cache, None, "0")
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
        assert stored  # it is not refused without need
    assert isinstance(fenced, Lookup | None)


def test_nothing_is_delivered_whose_position_cannot_be_told(gate, monkeypatch):
    """Neither an invalidation nor the end of a transaction's marks: it stays owed or marked."""
    from pcf.cache import gate as module
    from pcf.database.replicas import Replicas

    def away():
        raise psycopg.OperationalError

    members = Replicas(["replica-1"])
    monkeypatch.setattr(module, "replicas", lambda: members)
    monkeypatch.setattr(module, "primary_position", away)
    touched = Dependencies()
    touched.add("note", (1,))
    gate.mark("7", ["note:1"])
    for deliver_now in (lambda: gate.invalidate(touched), lambda: gate.clear("7")):
        with pytest.raises(CacheUnavailable):
            deliver_now()
    monkeypatch.setattr(module, "primary_position", lambda: 1_234)
    assert gate.clear("7")
    client = get_redis_connection("default")
    log = client.zrange(f"{config().cache.prefix}:w:log", 0, -1, withscores=True)
    assert [position for _, position in log] == [1_234.0]


def test_a_write_that_is_recorded_after_a_later_one_hides_nothing(positions, gate):
    """Two writers ask for their positions in one order and deliver in the other."""
    cache = ResponseCache(gate)
    positions.needed(VIEWER)
    deliver(gate, 2_020, "note:1")
    deliver(gate, 2_010, "note:2")
    lookup = cache.look_up(Question(token=None, digest="0"))
    dependencies = Dependencies()
    dependencies.add("note", (1,))
    fenced = positions.clock_of(lookup, 2_005)
    name = entry_name(ANONYMOUS, "read", shared=False)
    assert not cache.store(fenced, name, Content.of(b"{}"), 60, dependencies)


def test_what_was_read_below_the_floor_is_not_stored(positions, gate):
    lookup = ResponseCache(gate).look_up(Question(token=None, digest="0"))
    assert positions.clock_of(lookup, 5_000) is None  # there is no floor
    positions.needed(VIEWER)
    assert positions.clock_of(lookup, 999) is None
    assert positions.clock_of(lookup, 1_000) == lookup
