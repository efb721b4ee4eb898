"""The response cache against a real Redis: look-up, fence, coarse dependencies, faults."""

import time
from dataclasses import replace

import pytest
from django_redis import get_redis_connection
from redis import Redis

from pcf.cache import position_scripts
from pcf.cache.entries import Content
from pcf.cache.gate import CacheUnavailable, Gate, gate
from pcf.cache.positions import Positions
from pcf.cache.responses import Question, ResponseCache, entry_name
from pcf.cache.texts import RedisTexts
from pcf.execution.dependencies import Dependencies
from pcf.http.throttle import Throttle
from pcf.timeouts import TimeoutContext, activate
from pcf.viewer import ANONYMOUS, Scope, Viewer

ANN = Viewer(1)
BOB = Viewer(2)


@pytest.fixture
def cache():
    return ResponseCache(gate())


def depends_on(*names):
    """``depends_on("note:7", "notes")``"""
    dependencies = Dependencies()
    for name in names:
        kind, _, key = name.partition(":")
        dependencies.add(kind, (int(key) if key else "",))
    return dependencies


def ask(cache, token=None, digest=None, **how):
    return cache.look_up(Question(token=token, digest=digest, **how))


def store(cache, lookup, viewer, digest, body, dependencies, **how):
    name = entry_name(viewer, digest, shared=False)
    return cache.store(lookup, name, Content.of(body), 300, dependencies, **how)


def stored_body(cache, digest):
    entry = ask(cache, None, digest).entry
    return entry and entry.body


def test_what_was_stored_is_found_with_its_age(cache):
    lookup = ask(cache, None, "d")
    assert lookup.entry is None

    assert store(cache, lookup, ANONYMOUS, "d", b"line 1\nline 2", depends_on("note:1"))

    entry = ask(cache, None, "d").entry
    assert (entry.body, entry.max_age, entry.stale) == (b"line 1\nline 2", 300, 0)
    assert 0 <= entry.age < 60
    get_redis_connection("default").pexpire(f"{prefix()}:e:anonymous:d", 200_000)
    assert 99 <= ask(cache, None, "d").entry.age < 160


def test_a_response_is_for_its_viewer_alone(cache):
    lookup = ask(cache, "ann-token", "d")
    nothing = Dependencies()
    cache.remember_viewer(lookup, "ann-token", ANN, None, nothing)
    cache.remember_viewer(lookup, "bob-token", BOB, None, nothing)
    store(cache, lookup, ANN, "d", b"ann's", nothing)

    assert ask(cache, "ann-token", "d").entry.body == b"ann's"
    assert ask(cache, "bob-token", "d").entry is None
    assert ask(cache, None, "d").entry is None
    assert ask(cache, "unknown", "d").entry is None


def test_credentials_are_remembered_and_end_with_their_token(cache):
    lookup = ask(cache, "t", None)
    assert lookup.viewer is None
    staff = Viewer(7, is_staff=True)

    assert cache.remember_viewer(lookup, "t", staff, None, depends_on("api-token:3", "user:7"))
    assert ask(cache, "t", None).viewer == staff
    gate().invalidate(depends_on("api-token:3"))
    assert ask(cache, "t", None).viewer is None

    soon = time.time() + 0.0001
    lookup = ask(cache, "t", None)
    assert not cache.remember_viewer(lookup, "t", staff, soon, Dependencies())


def test_credentials_that_redis_still_has_are_not_believed_after_their_time(cache, monkeypatch):
    lookup = ask(cache, "t", "d")
    now = time.time()
    cache.remember_viewer(lookup, "t", ANN, now + 3_600, Dependencies())
    store(cache, lookup, ANN, "d", b"ann's", Dependencies())
    assert ask(cache, "t", "d").entry.body == b"ann's"

    monkeypatch.setattr("pcf.cache.responses.time", lambda: now + 3_600)
    late = ask(cache, "t", "d")
    assert (late.viewer, late.entry) == (None, None)


def test_viewers_whom_a_policy_could_tell_apart_share_no_response(cache):
    viewers = [Viewer(7, True), *(Viewer(7, scope=scope) for scope in Scope), Viewer(70), ANONYMOUS]
    lookup = ask(cache, None, "d")
    for number, viewer in enumerate(viewers):
        if viewer.is_authenticated:
            cache.remember_viewer(lookup, f"t{number}", viewer, None, Dependencies())
        store(cache, lookup, viewer, "d", b"%d" % number, Dependencies())
    for number, viewer in enumerate(viewers):
        token = f"t{number}" if viewer.is_authenticated else None
        found = ask(cache, token, "d")
        assert found.entry.body == b"%d" % number
        assert found.viewer == viewer


@pytest.mark.parametrize("written", ["note:1", "notes", "user:5"])
def test_a_write_after_the_look_up_fences_the_store(cache, written, grown):
    lookup = ask(cache, None, "d")
    gate().invalidate(depends_on(written))

    assert not store(cache, lookup, ANONYMOUS, "d", b"old", depends_on("note:1", "notes", "user:5"))
    assert stored_body(cache, "d") is None
    kind = written.partition(":")[0]
    assert grown() == {f"invalidations {kind}": 1, "refused_stores fence": 1}


def test_a_write_to_something_else_fences_nothing(cache):
    lookup = ask(cache, None, "d")
    gate().invalidate(depends_on("note:2", "user:5"))

    assert store(cache, lookup, ANONYMOUS, "d", b"new", depends_on("note:1", "notes"))


def test_a_write_removes_what_depends_on_it_and_nothing_else(cache):
    for number in (1, 2):
        lookup = ask(cache, None, f"d{number}")
        store(cache, lookup, ANONYMOUS, f"d{number}", b"x", depends_on(f"note:{number}"))

    assert gate().invalidate(depends_on("note:1")) == 1
    assert stored_body(cache, "d1") is None
    assert stored_body(cache, "d2") == b"x"


def test_a_write_to_a_whole_kind_removes_and_fences_every_key_of_it(cache):
    before = ask(cache, None, "d1")
    store(cache, before, ANONYMOUS, "d1", b"x", depends_on("note:1"))
    store(cache, before, ANONYMOUS, "d2", b"y", depends_on("user:1"))
    everything = Dependencies()
    everything.add_kind("note")

    assert gate().invalidate(everything) == 1
    assert stored_body(cache, "d2") == b"y"
    assert not store(cache, before, ANONYMOUS, "d3", b"z", depends_on("note:9"))


def test_a_large_response_falls_back_to_kinds_and_is_still_fenced(cache, settings):
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, max_dependencies=3))
    many = depends_on(*(f"note:{n}" for n in range(10)), "user:1")
    lookup = ask(cache, None, "d")
    store(cache, lookup, ANONYMOUS, "d", b"large", many)
    assert stored_body(cache, "d") == b"large"

    gate().invalidate(depends_on("user:2"))
    assert stored_body(cache, "d") == b"large"
    gate().invalidate(depends_on("note:77"))  # not read, but of the kind: coarser, never wrong
    assert stored_body(cache, "d") is None
    assert not store(cache, lookup, ANONYMOUS, "d", b"large", many)


def test_flushing_removes_everything_and_fences_readers_on_their_way(cache):
    before = ask(cache, None, "d")
    store(cache, before, ANONYMOUS, "d", b"x", depends_on("note:1"))
    store(cache, before, ANN, "d", b"y", depends_on("note:2"))

    assert gate().flush() == 2
    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("note:3"))
    assert store(cache, ask(cache, None, "d"), ANONYMOUS, "d", b"new", depends_on("note:3"))


def test_what_is_stored_while_all_is_flushed_is_removed_by_writes(cache, monkeypatch):
    """Flushing has seen the list of an entry that was not there yet when it looked for entries."""
    store(cache, ask(cache, None, "a"), ANONYMOUS, "a", b"x", depends_on("note:1"))
    scan = Redis.scan_iter

    def scan_and_store(client, **how):
        yield from list(scan(client, **how))
        assert store(cache, ask(cache, None, "b"), ANONYMOUS, "b", b"old", depends_on("note:1"))

    monkeypatch.setattr(Redis, "scan_iter", scan_and_store)
    gate().flush()
    gate().invalidate(depends_on("note:1"))
    assert stored_body(cache, "b") is None


def test_a_server_that_lost_its_data_lets_no_older_reader_store(cache):
    before = ask(cache, None, "d")
    client = get_redis_connection("default")
    names = list(client.scan_iter(match=f"{prefix()}:*"))
    client.delete(*names)

    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("note:1"))
    after = ask(cache, None, "d")
    assert int(after.clock) > int(before.clock)
    gate().invalidate(depends_on("note:1"))
    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("note:1"))


def test_everything_in_redis_has_a_time_to_live(cache, monkeypatch, settings):
    monkeypatch.setattr("pcf.cache.positions.primary_position", lambda: 1_000)
    settings.PCF = replace(settings.PCF, rates=replace(settings.PCF.rates, enabled=True))
    cache.tally.hit()  # reported with the first look-up
    lookup = ask(cache, "t", "d")
    cache.remember_viewer(lookup, "t", ANN, None, depends_on("user:1"))
    store(cache, lookup, ANN, "d", b"x", depends_on("note:1", "notes"))
    gate().invalidate(depends_on("note:2"))
    flights = [ask(cache, None, digest, join=True) for digest in ("e", "f")]
    assert [ask(cache, None, digest, join=True).leads for digest in ("e", "f")] == [False, False]
    cache.land("anonymous:f", flights[1].flight)  # the flight of "e" goes on
    gate().mark("1", ["note!", "note:3"])
    gate().clear("1")
    gate().mark("2", ["note!", "note:4"])  # and is being committed
    RedisTexts(gate()).put("0" * 64, "{ me { id } }")
    positions = Positions(gate())
    assert positions.needed(ANN) is None  # now there is a floor
    positions.remember(ANN, 2_000)
    gate().run(position_scripts.RECORD, prefix(), 60, 3_000, position_scripts.KEPT)
    Throttle(gate()).charge(ANN, "192.0.2.1", 1)

    client = get_redis_connection("default")
    names = [name.decode() for name in client.scan_iter(match=f"{prefix()}:*")]
    kinds = {name.removeprefix(f"{prefix()}:").partition(":")[0] for name in names}
    assert kinds == {
        "seq", "g", "d", "e", "f", "n", "l", "s", "m", "t", "marked", "p", "w", "r",
    }  # fmt: skip
    assert [name for name in names if client.ttl(name) < 0] == []


def test_lists_of_dependents_forget_entries_that_have_expired(cache):
    lookup = ask(cache, None, "d")
    for number in range(5):
        cache._store(lookup, f"anonymous:{number}", 1, ["b", b"x"], ["note:1"])
    time.sleep(0.01)  # longer than their millisecond: what expired is gone by Redis's clock
    for number in range(200):  # every eighth or so looks
        cache._store(lookup, f"anonymous:last{number}", 60_000, ["b", b"x"], ["note:1"])

    assert get_redis_connection("default").zcard(f"{prefix()}:d:note:1") == 200


def test_lists_of_dependents_outlive_their_entries(cache):
    """Whichever comes first: a write finds an entry by the list alone."""
    lookup = ask(cache, None, "d")
    client = get_redis_connection("default")
    for number, milliseconds in enumerate((1_000, 60_000, 1_000, 119_000, 200_000, 5_000)):
        name = f"anonymous:{number}"
        cache._store(lookup, name, milliseconds, ["b", b"x"], ["note:1"])
        left = client.pttl(f"{prefix()}:d:note:1")
        assert left >= max(client.pttl(f"{prefix()}:e:{entry}") for entry in (name, "anonymous:1"))


def prefix():
    from django.conf import settings

    return settings.PCF.cache.prefix


@pytest.fixture
def dead_redis(settings):
    """A gate whose Redis refuses connections."""
    settings.CACHES = {
        **settings.CACHES,
        "dead": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    return Gate("dead")


def test_without_redis_look_ups_are_bypassed_and_stores_refused(dead_redis, cache, grown):
    lookup = ask(cache, None, "d")
    cut_off = ResponseCache(dead_redis)

    assert ask(cut_off, None, "d") is None
    assert not store(cut_off, lookup, ANONYMOUS, "d", b"x", Dependencies())
    # after the first failure nothing more is sent, since nothing tells how to deliver what is owed
    assert grown() == {"failures": 1, "refused_stores unavailable": 1}


def test_a_dead_redis_is_left_alone_after_a_few_failures(dead_redis, settings):
    for _ in range(settings.PCF.cache.breaker_failures):
        with pytest.raises(CacheUnavailable) as tried:
            dead_redis.ping()
        assert tried.value.__cause__ is not None  # the failure of a real attempt
    with pytest.raises(CacheUnavailable) as refused:
        dead_redis.ping()
    assert refused.value.__cause__ is None  # no attempt was made


def test_after_a_failure_nothing_is_read_before_what_is_owed_is_delivered(cache, settings):
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, breaker_failures=100))
    lookup = ask(cache, None, "d")
    store(cache, lookup, ANONYMOUS, "d", b"old", depends_on("note:1"))
    own = Gate()
    calls = []

    def fail():
        calls.append("fail")
        raise CacheUnavailable

    def deliver():
        calls.append("deliver")
        own.invalidate(depends_on("note:1"))

    own.settle_with(fail)
    own.owe()
    assert ask(ResponseCache(own), None, "d") is None
    own.settle_with(deliver)
    assert ask(ResponseCache(own), None, "d").entry is None
    assert ask(ResponseCache(own), None, "d").entry is None
    assert calls == ["fail", "deliver"]


def test_what_becomes_owed_during_a_delivery_is_not_forgotten(cache):
    own = Gate()
    own.settle_with(own.owe)
    own.owe()
    assert ask(ResponseCache(own), None, "d") is None
    own.settle_with(lambda: None)
    assert ask(ResponseCache(own), None, "d") is not None


def test_an_invalidation_is_delivered_however_little_of_the_request_is_left(cache):
    lookup = ask(cache, None, "d")
    store(cache, lookup, ANONYMOUS, "d", b"old", depends_on("note:1"))
    with activate(TimeoutContext.start("http", 0.0)):
        assert ask(cache, None, "d") is None  # the rest of the time belongs to the answer
        gate().invalidate(depends_on("note:1"))
    assert stored_body(cache, "d") is None
