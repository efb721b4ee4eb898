"""Redis killed, frozen, restarted empty or with old data, out of memory, evicting."""

from dataclasses import replace

import pytest
from django.db import transaction

from pcf.cache import invalidation
from pcf.cache.outbox_relay import OutboxRelay
from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway, redis_gateway
from pcf.cache.response_cache import CachedResponses, LookupRequest
from pcf.conf.sections import RateSettings
from pcf.database import transactions
from pcf.http.rate_limits import RateLimited, RateLimiter
from pcf.timeouts import TimeoutContext, activate
from pcf.viewer import ANONYMOUS
from tests.cache.responses import ANN, depends_on, look_up, prefix, store, stored_body
from tests.conftest import token_for


@pytest.fixture
def other(redis_server):
    """The gateway of another process."""
    own = RedisGateway(redis_server.alias)
    own.deliver_with(invalidation.deliver_pending)
    return own


@pytest.fixture
def relay(other):
    relay = OutboxRelay(other, blocked_for=0)
    yield relay
    relay._disconnect()


@pytest.fixture
def cache(other):
    return CachedResponses(other)


def put(cache, digest, *names):
    assert store(cache, look_up(cache, None, digest), ANONYMOUS, digest, b"x", depends_on(*names))


def rename(tag):
    tag.name += "!"
    tag.save()


def test_data_of_an_earlier_run_is_not_found(live_world, redis_server, cache):
    put(cache, "d", "tag:1")
    redis_server.save()
    redis_gateway().invalidate(depends_on("tag:1"))
    redis_server.kill()
    redis_server.start()
    with redis_server.client() as client:
        assert any(b":e:" in name for name in client.scan_iter())  # the data is back
    assert stored_body(cache, "d") is None
    put(cache, "d", "tag:1")
    assert stored_body(cache, "d") == b"x"


def test_a_server_that_comes_back_empty_is_used_again(live_world, redis_server, cache):
    put(cache, "d", "tag:1")
    before = look_up(cache, None, "d")
    redis_server.kill()
    redis_server.start()
    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("tag:1"))
    put(cache, "d", "tag:1")


@pytest.mark.parametrize("saved", [False, True])
def test_a_reader_from_before_a_restart_cannot_store(live_world, redis_server, cache, saved):
    """It cannot even after other look-ups have advanced the clock: Redis forgot the write."""
    before = look_up(cache, "t", "d")
    if saved:
        with redis_server.client() as client:
            client.save()
    redis_gateway().invalidate(depends_on("tag:1", "user:1"))
    redis_server.kill()
    redis_server.start()
    assert look_up(cache, None, "other") is not None
    put(cache, "other", "tag:2")
    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("tag:1"))
    assert not cache.remember_viewer(before, "t", ANN, None, depends_on("user:1"))


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_a_write_without_redis_is_delivered_later(
    live_world, redis_server, cache, relay, other, fault
):
    tag = live_world.red
    put(cache, "d", f"tag:{tag.pk}")
    put(cache, "e", "tag:0")
    relay.poll()
    getattr(redis_server, fault)()
    rename(tag)
    relay.poll()  # the relay sees the pending write
    if fault == "freeze":
        redis_server.thaw()
    else:
        redis_server.start()
    other.lease.until = None
    other.breaker.record_success()
    assert other.has_pending
    lookup = look_up(cache, None, "d")
    assert lookup is not None  # the gateway delivered the write, then looked up
    assert lookup.entry is None
    if fault == "freeze":
        assert stored_body(cache, "e") == b"x"
    assert not other.has_pending


def test_only_the_first_write_waits_for_the_lease_of_other_processes(
    live_world, redis_server, monkeypatch
):
    waits = []
    monkeypatch.setattr(invalidation, "sleep", waits.append)
    redis_server.kill()
    rename(live_world.red)
    rename(live_world.red)
    rename(live_world.blue)
    assert len(waits) == 1
    redis_server.start()
    redis_gateway().flush_pending()
    redis_server.kill()
    rename(live_world.red)
    assert len(waits) == 2


@pytest.mark.parametrize("left", [60.0, 5.0])
def test_a_writer_waits_no_longer_than_its_deadline(
    live_world, redis_server, settings, monkeypatch, left
):
    lease = 30.0
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, lease_seconds=lease))
    slept = []
    monkeypatch.setattr(invalidation, "sleep", slept.append)
    monkeypatch.setattr(invalidation, "_awaited_row", invalidation._AwaitedRow())
    redis_server.kill()
    with activate(TimeoutContext.start("http", left)):
        rename(live_world.red)
    (seconds,) = slept
    assert 0 < seconds <= min(left, lease)


@pytest.mark.blocks(
    "telling all processes of a write that Redis did not take", at_least=0.5, within=5
)
def test_a_write_without_redis_ends_with_its_deadline(
    live_world, redis_server, settings, monkeypatch
):
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, lease_seconds=30.0))
    monkeypatch.setattr(invalidation, "_awaited_row", invalidation._AwaitedRow())
    redis_server.kill()
    with activate(TimeoutContext.start("http", 2.0)):
        rename(live_world.red)
    live_world.red.refresh_from_db()
    assert live_world.red.name == "red!"  # the write is committed all the same


def test_a_block_that_redis_lost_is_made_up_for(live_world, redis_server, cache):
    """Redis restarts between the block and the COMMIT, and stores an older answer."""
    tag = live_world.red

    def restart(_connection):
        redis_server.kill()
        redis_server.start()
        put(cache, "d", f"tag:{tag.pk}")

    transactions.add_commit_hook(restart)
    try:
        with transaction.atomic():
            rename(tag)
    finally:
        transactions._hooks.remove(restart)
    assert stored_body(cache, "d") is None


@pytest.mark.parametrize("is_new", [False, True], ids=["", "a server without a clock"])
def test_without_memory_clients_are_charged_all_the_same(
    live_world, redis_server, cache, other, settings, is_new
):
    """Whoever fills Redis does not open the limits for everybody."""
    rates = RateSettings(enabled=True, address_points=0.001, address_burst=12, fail_open=True)
    documents = replace(settings.PCF.documents, max_cost=1)
    settings.PCF = replace(settings.PCF, rates=rates, documents=documents)
    throttle = RateLimiter(other)
    put(cache, "d", "tag:0")
    cost = throttle.token_cost("192.0.2.1", 5)
    with redis_server.client() as client:
        client.config_set("maxmemory", 1)
        if is_new:
            client.delete(f"{prefix()}:seq")
        hit = cache.look_up(LookupRequest(digest="d", join=True, cost=cost))
        assert hit.entry is not None
        miss = cache.look_up(LookupRequest(digest="e", join=True, cost=cost))
        assert (miss.leads, miss.retry_after) == (True, 0.0)
        throttle.charge(ANONYMOUS, "192.0.2.1", 5)
        with pytest.raises(RateLimited):
            throttle.charge(ANONYMOUS, "192.0.2.1", 5)
        refused = cache.look_up(LookupRequest(digest="f", join=True, cost=cost))
        assert refused.retry_after > 1_000
        assert not store(cache, miss, ANONYMOUS, "e", b"x", depends_on("tag:0"))
        client.config_set("maxmemory", 0)


@pytest.mark.parametrize("subject", ["triggers", "eviction"])
def test_clients_are_charged_where_nothing_is_cached(
    live_world, redis_server, cache, other, settings, subject
):
    rates = RateSettings(enabled=True, address_points=0.001, address_burst=5)
    documents = replace(settings.PCF.documents, max_cost=1)
    settings.PCF = replace(settings.PCF, rates=rates, documents=documents)
    throttle = RateLimiter(other)
    other.disabled.set(subject, "a reason")
    try:
        throttle.charge(ANONYMOUS, "192.0.2.1", 5)
        with pytest.raises(RateLimited):
            throttle.charge(ANONYMOUS, "192.0.2.1", 5)
    finally:
        other.disabled.set(subject, None)


def test_without_memory_writes_still_remove_what_they_touch(
    live_world, redis_server, cache, other, caplog
):
    tag = live_world.red
    put(cache, "d", f"tag:{tag.pk}")
    put(cache, "e", "tag:0")
    with redis_server.client() as client:
        client.config_set("maxmemory", 1)
        rename(tag)
        assert stored_body(cache, "d") is None
        assert stored_body(cache, "e") == b"x"
        lookup = look_up(cache, None, "d")
        for _ in range(2):
            assert not store(cache, lookup, ANONYMOUS, "d", b"new", depends_on("tag:0"))
        assert other.problem() == "Redis is out of memory: nothing is stored"
        client.config_set("maxmemory", 0)
    put(cache, "d", f"tag:{tag.pk}")
    assert other.problem() is None
    told = [record.getMessage() for record in caplog.records if record.name == "pcf.cache"]
    assert told == [
        "Redis is out of memory, responses are not stored",
        "Redis has memory again, responses are stored",
    ]


def test_nothing_is_cached_where_redis_evicts(live_world, redis_server, cache, relay, other):
    put(cache, "d", "tag:1")
    with redis_server.client() as client:
        client.config_set("maxmemory", 100_000_000)
        client.config_set("maxmemory-policy", "allkeys-lru")
        relay._check_eviction()
        assert look_up(cache, None, "d") is None
        assert other.problem() == "set maxmemory-policy to noeviction, it is allkeys-lru"
        client.config_set("maxmemory-policy", "noeviction")
    relay._check_eviction()
    assert stored_body(cache, "d") is None  # its lists of dependents may be gone
    assert other.problem() is None


def test_requests_are_answered_whatever_redis_does(live_world, redis_server, ask_http, client):
    token = token_for(live_world.ann)
    query = "{ notes { title } }"
    assert len(ask_http(query, token).data["notes"]) == 2
    assert "hit" in ask_http(query, token).cache_status
    redis_server.freeze()
    for _ in range(5):
        assert len(ask_http(query, token).data["notes"]) == 2
    created = ask_http('mutation { createNote(input: {title: "t"}) { note { title } } }', token)
    assert created.data["createNote"]["note"] == {"title": "t"}
    assert client.get("/health").json()["status"] == "degraded"
    redis_server.thaw()
    redis_gateway().breaker.record_success()
    assert len(ask_http(query, token).data["notes"]) == 3
    assert client.get("/health").json()["status"] == "ok"


@pytest.fixture
def ask_http(request):
    return request.getfixturevalue("ask")


def test_one_command_tries_after_the_breaker_was_open(redis_server, other, settings):
    """The others do not wait for a dead server."""
    cache = replace(settings.PCF.cache, breaker_seconds=1_000.0, breaker_failures=2)
    settings.PCF = replace(settings.PCF, cache=cache)
    redis_server.kill()
    for _ in range(2):
        with pytest.raises(CacheUnavailable):
            other.ping()
    other.breaker._open_until = 0.001  # half-open
    with pytest.raises(CacheUnavailable) as tried:
        other.ping()
    assert tried.value.__cause__ is not None
    with pytest.raises(CacheUnavailable) as left_alone:
        other.ping()
    assert left_alone.value.__cause__ is None
