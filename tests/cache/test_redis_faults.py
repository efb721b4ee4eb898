"""Redis killed, frozen, brought back empty or old, full, evicting: each on a server of its own."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
from django.db import transaction

from pcf.cache import invalidation
from pcf.cache.gate import CacheUnavailable, Gate, gate
from pcf.cache.responses import Question, ResponseCache
from pcf.cache.watch import Watch
from pcf.config import Rates
from pcf.database import commits
from pcf.http.throttle import Throttle, ThrottleUnavailable
from pcf.timeouts import TimeoutContext, activate
from pcf.viewer import ANONYMOUS
from tests.cache.test_responses import ANN, ask, depends_on, store, stored_body
from tests.conftest import token_for


@pytest.fixture
def other(redis_server):
    """The gate of another process."""
    own = Gate(redis_server.alias)
    own.settle_with(invalidation.settle)
    return own


@pytest.fixture
def watch(other):
    watch = Watch(other, marked_for=0)
    yield watch
    watch._disconnect()


@pytest.fixture
def cache(other):
    return ResponseCache(other)


def put(cache, digest, *names):
    assert store(cache, ask(cache, None, digest), ANONYMOUS, digest, b"x", depends_on(*names))


def rename(tag):
    tag.name += "!"
    tag.save()


def test_data_of_an_earlier_run_is_not_found(live_world, redis_server, cache):
    put(cache, "d", "tag:1")
    redis_server.save()
    gate().invalidate(depends_on("tag:1"))
    redis_server.kill()
    redis_server.start()
    with redis_server.client() as client:
        assert any(b":e:" in name for name in client.scan_iter())  # it is back
    assert stored_body(cache, "d") is None
    put(cache, "d", "tag:1")
    assert stored_body(cache, "d") == b"x"


def test_a_server_that_comes_back_empty_is_used_again(live_world, redis_server, cache):
    put(cache, "d", "tag:1")
    before = ask(cache, None, "d")
    redis_server.kill()
    redis_server.start()
    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("tag:1"))
    put(cache, "d", "tag:1")


@pytest.mark.parametrize("saved", [False, True])
def test_a_reader_from_before_a_restart_cannot_store(live_world, redis_server, cache, saved):
    """Though others have looked since: the clock has gone on, and the write is forgotten."""
    before = ask(cache, "t", "d")
    if saved:
        with redis_server.client() as client:
            client.save()
    gate().invalidate(depends_on("tag:1", "user:1"))
    redis_server.kill()
    redis_server.start()
    assert ask(cache, None, "other") is not None
    put(cache, "other", "tag:2")
    assert not store(cache, before, ANONYMOUS, "d", b"old", depends_on("tag:1"))
    assert not cache.remember_viewer(before, "t", ANN, None, depends_on("user:1"))


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_a_write_without_redis_is_remembered(live_world, redis_server, cache, watch, other, fault):
    tag = live_world.red
    put(cache, "d", f"tag:{tag.pk}")
    put(cache, "e", "tag:0")
    watch.look()
    getattr(redis_server, fault)()
    rename(tag)
    watch.look()  # sees what is owed
    if fault == "freeze":
        redis_server.thaw()
    else:
        redis_server.start()
    other._lease = None
    other._failures, other._shut_until = 0, 0.0
    assert other.is_owing
    lookup = ask(cache, None, "d")
    assert lookup is not None  # delivered, then asked
    assert lookup.entry is None
    if fault == "freeze":
        assert stored_body(cache, "e") == b"x"
    assert not other.is_owing


def test_the_first_write_waits_until_all_must_know_and_the_next_do_not(
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
    gate().settle()
    redis_server.kill()
    rename(live_world.red)
    assert len(waits) == 2


@pytest.mark.blocks("telling all processes of a write that Redis did not take")
@pytest.mark.parametrize("left", [60.0, 5.0])
def test_nobody_waits_longer_than_its_deadline_until_all_know(
    live_world, redis_server, settings, monkeypatch, left
):
    lease = 30.0
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, lease_seconds=lease))
    slept = []
    monkeypatch.setattr(invalidation, "sleep", slept.append)
    monkeypatch.setattr(invalidation, "_notices", invalidation._Notices())
    redis_server.kill()
    with activate(TimeoutContext.start("http", left)):
        rename(live_world.red)
    (seconds,) = slept
    assert 0 < seconds <= min(left, lease)


def test_marks_that_redis_lost_are_made_up_for(live_world, redis_server, cache):
    """Restarted between the mark and the commit: an older answer may have been stored meanwhile."""
    tag = live_world.red

    def restart(_connection):
        redis_server.kill()
        redis_server.start()
        put(cache, "d", f"tag:{tag.pk}")

    commits.guard_commits(restart)
    try:
        with transaction.atomic():
            rename(tag)
    finally:
        commits._guards.remove(restart)
    assert stored_body(cache, "d") is None


@pytest.mark.parametrize("fail_open", [True, False])
def test_without_memory_nobody_is_charged_and_the_setting_decides(
    live_world, redis_server, cache, other, settings, fail_open
):
    settings.PCF = replace(settings.PCF, rates=Rates(enabled=True, fail_open=fail_open))
    throttle = Throttle(other)
    put(cache, "d", "tag:0")
    with redis_server.client() as client:
        client.config_set("maxmemory", 1)
        for digest in ("d", "e"):
            question = Question(digest=digest, join=True, toll=throttle.toll("192.0.2.1", 5))
            lookup = cache.look_up(question)
            assert (lookup.entry is not None) == (digest == "d")
            assert (lookup.flight, lookup.wait) == (None, None)
        with nullcontext() if fail_open else pytest.raises(ThrottleUnavailable):
            throttle.charge(ANONYMOUS, "192.0.2.1", 5)
        client.config_set("maxmemory", 0)


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
        lookup = ask(cache, None, "d")
        for _ in range(2):
            assert not store(cache, lookup, ANONYMOUS, "d", b"new", depends_on("tag:0"))
        assert other.trouble() == "Redis is out of memory: nothing is stored"
        client.config_set("maxmemory", 0)
    put(cache, "d", f"tag:{tag.pk}")
    assert other.trouble() is None
    told = [record.getMessage() for record in caplog.records if record.name == "pcf.cache"]
    assert told == [
        "Redis is out of memory, responses are not stored",
        "Redis has memory again, responses are stored",
    ]


def test_nothing_is_cached_where_redis_evicts(live_world, redis_server, cache, watch, other):
    put(cache, "d", "tag:1")
    with redis_server.client() as client:
        client.config_set("maxmemory", 100_000_000)
        client.config_set("maxmemory-policy", "allkeys-lru")
        watch._examine_redis()
        assert ask(cache, None, "d") is None
        assert other.trouble() == "set maxmemory-policy to noeviction, it is allkeys-lru"
        client.config_set("maxmemory-policy", "noeviction")
    watch._examine_redis()
    assert stored_body(cache, "d") is None  # its lists may be gone
    assert other.trouble() is None


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
    gate()._shut_until = 0.0
    assert len(ask_http(query, token).data["notes"]) == 3
    assert client.get("/health").json()["status"] == "ok"


@pytest.fixture
def ask_http(request):
    return request.getfixturevalue("ask")


def test_one_command_tries_when_the_pause_is_over(redis_server, other, settings):
    """The others do not wait with it for a server that is dead."""
    cache = replace(settings.PCF.cache, breaker_seconds=1_000.0, breaker_failures=2)
    settings.PCF = replace(settings.PCF, cache=cache)
    redis_server.kill()
    for _ in range(2):
        with pytest.raises(CacheUnavailable):
            other.ping()
    other._shut_until = 0.001  # the pause is over
    with pytest.raises(CacheUnavailable) as tried:
        other.ping()
    assert tried.value.__cause__ is not None
    with pytest.raises(CacheUnavailable) as left_alone:
        other.ping()
    assert left_alone.value.__cause__ is None
