"""The response cache on a real Redis: look-up, fence, coarse dependencies, failures."""

import time
from dataclasses import replace

import pytest
from django_redis import get_redis_connection
from redis import Redis

from pcf.cache import scripts
from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway, redis_gateway
from pcf.cache.response_cache import CachedResponses
from pcf.documents.persisted import PersistedStore
from pcf.execution.dependencies import Dependencies
from pcf.http.rate_limits import RateLimiter
from pcf.http.read_sources import WalPositions
from pcf.timeouts import TimeoutContext, activate
from pcf.viewer import ANONYMOUS, Scope, Viewer
from tests.cache.responses import ANN, BOB, depends_on, look_up, prefix, store, stored_body
from tests.conftest import begin_epoch


@pytest.fixture
def cache():
    return CachedResponses(redis_gateway())


def test_what_was_stored_is_found_with_its_age(cache):
    lookup = look_up(cache, None, "d")
    assert lookup.entry is None

    assert store(cache, lookup, ANONYMOUS, "d", b"line 1\nline 2", depends_on("note:1"))

    entry = look_up(cache, None, "d").entry
    assert (entry.body, entry.max_age, entry.stale) == (b"line 1\nline 2", 300, 0)
    assert 0 <= entry.age < 60
    get_redis_connection("default").pexpire(f"{prefix()}:e:anonymous:d", 200_000)
    assert 99 <= look_up(cache, None, "d").entry.age < 160


def test_a_response_is_found_for_its_viewer_only(cache):
    lookup = look_up(cache, "ann-token", "d")
    nothing = Dependencies()
    cache.remember_viewer(lookup, "ann-token", ANN, None, nothing)
    cache.remember_viewer(lookup, "bob-token", BOB, None, nothing)
    store(cache, lookup, ANN, "d", b"ann's", nothing)

    assert look_up(cache, "ann-token", "d").entry.body == b"ann's"
    assert look_up(cache, "bob-token", "d").entry is None
    assert look_up(cache, None, "d").entry is None
    assert look_up(cache, "unknown", "d").entry is None


def test_credentials_end_with_their_token(cache):
    lookup = look_up(cache, "t", None)
    assert lookup.viewer is None
    staff = Viewer(7, is_staff=True)

    assert cache.remember_viewer(lookup, "t", staff, None, depends_on("api-token:3", "user:7"))
    assert look_up(cache, "t", None).viewer == staff
    redis_gateway().invalidate(depends_on("api-token:3"))
    assert look_up(cache, "t", None).viewer is None

    soon = time.time() + 0.0001
    lookup = look_up(cache, "t", None)
    assert not cache.remember_viewer(lookup, "t", staff, soon, Dependencies())


def test_expired_credentials_are_not_believed_even_if_redis_has_them(cache, monkeypatch):
    lookup = look_up(cache, "t", "d")
    now = time.time()
    cache.remember_viewer(lookup, "t", ANN, now + 3_600, Dependencies())
    store(cache, lookup, ANN, "d", b"ann's", Dependencies())
    assert look_up(cache, "t", "d").entry.body == b"ann's"

    monkeypatch.setattr("pcf.cache.response_cache.time", lambda: now + 3_600)
    late = look_up(cache, "t", "d")
    assert (late.viewer, late.entry) == (None, None)


def test_different_viewers_share_no_response(cache):
    viewers = [Viewer(7, True), *(Viewer(7, scope=scope) for scope in Scope), Viewer(70), ANONYMOUS]
    lookup = look_up(cache, None, "d")
    for number, viewer in enumerate(viewers):
        if viewer.is_authenticated:
            cache.remember_viewer(lookup, f"t{number}", viewer, None, Dependencies())
        store(cache, lookup, viewer, "d", b"%d" % number, Dependencies())
    for number, viewer in enumerate(viewers):
        token = f"t{number}" if viewer.is_authenticated else None
        found = look_up(cache, token, "d")
        assert found.entry.body == b"%d" % number
        assert found.viewer == viewer


@pytest.mark.parametrize("written", ["note:1", "notes", "user:5"])
def test_a_write_after_the_look_up_fences_the_store(cache, written, grown):
    lookup = look_up(cache, None, "d")
    redis_gateway().invalidate(depends_on(written))

    assert not store(cache, lookup, ANONYMOUS, "d", b"old", depends_on("note:1", "notes", "user:5"))
    assert stored_body(cache, "d") is None
    kind = written.partition(":")[0]
    assert grown() == {f"invalidations {kind}": 1, "refused_stores fence": 1}


def test_a_write_to_something_else_fences_nothing(cache):
    lookup = look_up(cache, None, "d")
    redis_gateway().invalidate(depends_on("note:2", "user:5"))

    assert store(cache, lookup, ANONYMOUS, "d", b"new", depends_on("note:1", "notes"))


def test_a_write_removes_what_depends_on_it_and_nothing_else(cache):
    for number in (1, 2):
        lookup = look_up(cache, None, f"d{number}")
        store(cache, lookup, ANONYMOUS, f"d{number}", b"x", depends_on(f"note:{number}"))

    assert redis_gateway().invalidate(depends_on("note:1")) == 1
    assert stored_body(cache, "d1") is None
    assert stored_body(cache, "d2") == b"x"


def test_a_write_to_a_whole_kind_removes_and_fences_every_key_of_it(cache):
    before = look_up(cache, None, "d1")
    store(cache, before, ANONYMOUS, "d1", b"x", depends_on("note:1"))
    store(cache, before, ANONYMOUS, "d2", b"y", depends_on("user:1"))
    everything = Dependencies()
    everything.add_kind("note")

    assert redis_gateway().invalidate(everything) == 1
    assert stored_body(cache, "d2") == b"y"
    assert not store(cache, before, ANONYMOUS, "d3", b"z", depends_on("note:9"))


def test_a_large_response_falls_back_to_kinds_and_is_still_fenced(cache, settings):
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, max_dependencies=3))
    many = depends_on(*(f"note:{n}" for n in range(10)), "user:1")
    lookup = look_up(cache, None, "d")
    store(cache, lookup, ANONYMOUS, "d", b"large", many)
    assert stored_body(cache, "d") == b"large"

    redis_gateway().invalidate(depends_on("user:2"))
    assert stored_body(cache, "d") == b"large"
    redis_gateway().invalidate(
        depends_on("note:77")
    )  # a row that the response does not show, of the same kind
    assert stored_body(cache, "d") is None
    assert not store(cache, lookup, ANONYMOUS, "d", b"large", many)


def test_flushing_removes_everything_and_fences_earlier_readers(cache):
    before = look_up(cache, None, "d")
    store(cache, before, ANONYMOUS, "d", b"x", depends_on("note:1"))
    store(cache, before, ANN, "d", b"y", depends_on("note:2"))

    assert redis_gateway().flush_entries() == 2
    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("note:3"))
    assert store(cache, look_up(cache, None, "d"), ANONYMOUS, "d", b"new", depends_on("note:3"))


def test_a_write_removes_an_entry_that_was_stored_during_a_flush(cache, monkeypatch):
    """The flush sees the list of dependents and not the entry, which is stored later."""
    store(cache, look_up(cache, None, "a"), ANONYMOUS, "a", b"x", depends_on("note:1"))
    scan = Redis.scan_iter

    def scan_and_store(client, **how):
        yield from list(scan(client, **how))
        assert store(cache, look_up(cache, None, "b"), ANONYMOUS, "b", b"old", depends_on("note:1"))

    monkeypatch.setattr(Redis, "scan_iter", scan_and_store)
    redis_gateway().flush_entries()
    redis_gateway().invalidate(depends_on("note:1"))
    assert stored_body(cache, "b") is None


def test_a_server_that_lost_its_data_fences_earlier_readers(cache):
    before = look_up(cache, None, "d")
    client = get_redis_connection("default")
    names = list(client.scan_iter(match=f"{prefix()}:*"))
    client.delete(*names)

    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("note:1"))
    begin_epoch(client, prefix())
    after = look_up(cache, None, "d")
    assert int(after.clock) > int(before.clock)
    redis_gateway().invalidate(depends_on("note:1"))
    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("note:1"))


def test_everything_in_redis_has_a_time_to_live(cache, monkeypatch, settings):
    monkeypatch.setattr("pcf.http.read_sources.primary_position", lambda: 1_000)
    cache_settings = replace(settings.PCF.cache, flight_lease=600)  # longer than the test takes
    rates = replace(settings.PCF.rates, enabled=True)
    settings.PCF = replace(settings.PCF, rates=rates, cache=cache_settings)
    redis_gateway().starts.confirm("other", "a start")
    cache.hit_statistics.add_hit()  # reported with the first look-up
    lookup = look_up(cache, "t", "d")
    cache.remember_viewer(lookup, "t", ANN, None, depends_on("user:1"))
    cost = RateLimiter(redis_gateway()).store_cost(ANN, "192.0.2.1", 1)
    store(cache, lookup, ANN, "d", b"x", depends_on("note:1", "notes"), cost=cost)
    redis_gateway().invalidate(depends_on("note:2"))
    flights = [look_up(cache, None, digest, join=True) for digest in ("e", "f")]
    assert not any(look_up(cache, None, digest, join=True).leads for digest in ("e", "f"))
    cache.complete("anonymous:f", flights[1].flight)  # the flight of "e" has not ended
    redis_gateway().block("1", ["note!", "note:3"])
    redis_gateway().release("1")
    redis_gateway().block("2", ["note!", "note:4"])  # its COMMIT is under way
    PersistedStore(redis_gateway()).put("0" * 64, "{ me { id } }", "v1")
    positions = WalPositions(redis_gateway())
    assert positions.needed(ANN) is None  # now there is a floor
    positions.remember(ANN, 2_000)
    record = scripts.RecordPositionArguments(prefix(), 60, 3_000, scripts.POSITIONS_KEPT)
    redis_gateway().run(scripts.RECORD_POSITION, record)
    RateLimiter(redis_gateway()).charge(ANN, "192.0.2.1", 1)

    epoch = scripts.AnnounceEpochArguments(prefix(), "nonce", scripts.EPOCH_TTL)
    redis_gateway().run(scripts.ANNOUNCE_EPOCH, epoch)

    client = get_redis_connection("default")
    names = [name.decode() for name in client.scan_iter(match=f"{prefix()}:*")]
    kinds = {name.removeprefix(f"{prefix()}:").partition(":")[0] for name in names}
    assert kinds == {
        "seq", "g", "d", "e", "f", "n", "l", "s", "m", "t", "marked", "p", "p#", "w", "r", "b",
        "epoch", "o", "db",
    }  # fmt: skip
    assert [name for name in names if client.ttl(name) < 0] == []


def test_lists_of_dependents_drop_expired_entries(cache):
    lookup = look_up(cache, None, "d")
    for number in range(5):
        cache._store(lookup, f"anonymous:{number}", 1, ["b", b"x"], ["note:1"])
    time.sleep(0.01)  # longer than the millisecond of the entries
    for number in range(200):  # one store in eight removes expired entries
        cache._store(lookup, f"anonymous:last{number}", 60_000, ["b", b"x"], ["note:1"])

    assert get_redis_connection("default").zcard(f"{prefix()}:d:note:1") == 200


def test_lists_of_dependents_outlive_their_entries(cache):
    """They do in whatever order entries are stored: a write finds entries by the lists alone."""
    lookup = look_up(cache, None, "d")
    client = get_redis_connection("default")
    for number, milliseconds in enumerate((1_000, 60_000, 1_000, 119_000, 200_000, 5_000)):
        name = f"anonymous:{number}"
        cache._store(lookup, name, milliseconds, ["b", b"x"], ["note:1"])
        left = client.pttl(f"{prefix()}:d:note:1")
        assert left >= max(client.pttl(f"{prefix()}:e:{entry}") for entry in (name, "anonymous:1"))


@pytest.fixture
def dead_redis(settings):
    """A gateway whose Redis refuses connections."""
    settings.CACHES = {
        **settings.CACHES,
        "dead": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    return RedisGateway("dead")


def test_without_redis_look_ups_are_bypassed_and_stores_refused(dead_redis, cache, grown):
    lookup = look_up(cache, None, "d")
    cut_off = CachedResponses(dead_redis)

    assert look_up(cut_off, None, "d") is None
    assert not store(cut_off, lookup, ANONYMOUS, "d", b"x", Dependencies())
    # the gateway sends no second command: it has no function that delivers pending writes
    assert grown() == {"failures": 1, "refused_stores unavailable": 1}


def test_the_circuit_breaker_opens_after_a_few_failures(dead_redis, settings):
    for _ in range(settings.PCF.cache.breaker_failures):
        with pytest.raises(CacheUnavailable) as tried:
            dead_redis.ping()
        assert tried.value.__cause__ is not None  # the gateway sent a command
    with pytest.raises(CacheUnavailable) as refused:
        dead_redis.ping()
    assert refused.value.__cause__ is None  # the gateway sent none


def test_nothing_is_read_before_pending_writes_are_delivered(cache, settings):
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, breaker_failures=100))
    lookup = look_up(cache, None, "d")
    store(cache, lookup, ANONYMOUS, "d", b"old", depends_on("note:1"))
    own = RedisGateway()
    calls = []

    def fail():
        calls.append("fail")
        raise CacheUnavailable

    def deliver():
        calls.append("deliver")
        own.invalidate(depends_on("note:1"))

    own.deliver_with(fail)
    own.add_pending()
    assert look_up(CachedResponses(own), None, "d") is None
    own.deliver_with(deliver)
    assert look_up(CachedResponses(own), None, "d").entry is None
    assert look_up(CachedResponses(own), None, "d").entry is None
    assert calls == ["fail", "deliver"]


def test_a_write_that_becomes_pending_during_a_delivery_stays_pending(cache):
    own = RedisGateway()
    own.deliver_with(own.add_pending)
    own.add_pending()
    assert look_up(CachedResponses(own), None, "d") is None
    own.deliver_with(lambda: None)
    assert look_up(CachedResponses(own), None, "d") is not None


def test_an_invalidation_ignores_the_deadline_of_the_request(cache):
    lookup = look_up(cache, None, "d")
    store(cache, lookup, ANONYMOUS, "d", b"old", depends_on("note:1"))
    with activate(TimeoutContext.start("http", 0.0)):
        assert look_up(cache, None, "d") is None  # the response needs the rest of the time
        redis_gateway().invalidate(depends_on("note:1"))
    assert stored_body(cache, "d") is None
