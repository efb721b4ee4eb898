"""A slow Redis, and one that fails over to a replica, behind a TCP proxy."""

from dataclasses import replace

import pytest

from pcf.cache.redis_gateway import redis_gateway
from pcf.cache.response_cache import CachedResponses
from pcf.viewer import ANONYMOUS
from tests.cache.redis_server import RedisServer
from tests.cache.responses import depends_on, look_up, store, stored_body
from tests.conftest import token_for
from tests.database.tcp_proxy import Proxy

NOTES = "{ notes { title } }"
STORED, HIT, BYPASS = "pcf; fwd=miss; stored", "pcf; hit", "pcf; fwd=bypass"
DEADLINE = {"X-Request-Timeout": "5"}
LATE = 0.1  # seconds of delay of every reply


@pytest.fixture
def proxy(redis_server, settings):
    """A proxy between everything in this test and ``redis_server``."""
    with Proxy("127.0.0.1", redis_server.port) as proxy:
        wait_for_replies(settings, redis_server, proxy, 2.0)
        yield proxy


def wait_for_replies(settings, server, proxy, seconds):
    """Give commands to Redis ``seconds`` from now on."""
    alias = f"{server.alias}-{seconds}"
    # in the address, since django-redis keeps a pool for each address
    limits = f"socket_timeout={seconds}&socket_connect_timeout={seconds}"
    location = f"redis://127.0.0.1:{proxy.port}/0?{limits}"
    proxied = {**settings.CACHES[server.alias], "LOCATION": location}
    settings.CACHES = {**settings.CACHES, alias: proxied}
    settings.PCF = replace(settings.PCF, timeouts=replace(settings.PCF.timeouts, cache=seconds))
    redis_gateway().alias = alias


def rename(tag):
    tag.name += "!"
    tag.save()


def put(cache, digest, *names):
    return store(cache, look_up(cache, None, digest), ANONYMOUS, digest, b"x", depends_on(*names))


def create(ask, token, title):
    text = f'mutation {{ createNote(input: {{title: "{title}"}}) {{ note {{ title }} }} }}'
    assert ask(text, token, **DEADLINE).data == {"createNote": {"note": {"title": title}}}


def titles(answer):
    return [note["title"] for note in answer.data["notes"]]


@pytest.fixture
def cache(proxy):
    return CachedResponses(redis_gateway())


# --- slow


def test_a_slow_redis_is_used_as_any_other(live_world, ask, proxy):
    token = token_for(live_world.ann)
    proxy.delay = LATE
    answers = [ask(NOTES, token, **DEADLINE) for _ in range(3)]
    assert [answer.cache_status for answer in answers] == [STORED, HIT, HIT]
    create(ask, token, "new")
    answer = ask(NOTES, token, **DEADLINE)
    assert answer.cache_status == STORED
    assert "new" in titles(answer)


def test_postgresql_answers_everything_while_redis_is_too_slow(
    live_world, ask, proxy, redis_server, settings
):
    token = token_for(live_world.ann)
    assert [ask(NOTES, token).cache_status for _ in range(2)] == [STORED, HIT]
    proxy.delay = 2 * LATE
    wait_for_replies(settings, redis_server, proxy, LATE)
    for number in range(3):
        create(ask, token, f"new {number}")
        for _ in range(2):
            answer = ask(NOTES, token, **DEADLINE)
            assert answer.cache_status == BYPASS
            assert f"new {number}" in titles(answer)
    proxy.delay = 0.0
    wait_for_replies(settings, redis_server, proxy, 2.0)
    redis_gateway().flush_pending()
    answers = [ask(NOTES, token) for _ in range(2)]
    assert [answer.cache_status for answer in answers] == [STORED, HIT]
    assert "new 2" in titles(answers[1])


def test_a_late_reply_is_not_taken_for_that_to_the_next_command(
    live_world, ask, proxy, redis_server, settings
):
    """Redis answers each command itself, late, or not at all."""
    token = token_for(live_world.ann)
    queries = [f'{{ note(id: "{note.pk}") {{ title }} }}' for note in (
        live_world.public, live_world.private,
    )]  # fmt: skip
    expected = ["public of ann", "private of ann"]
    wait_for_replies(settings, redis_server, proxy, LATE)
    for delay in (0.0, 2 * LATE, 0.0, 2 * LATE, 0.0):
        proxy.delay = delay
        told = [ask(query, token, **DEADLINE).data["note"]["title"] for query in queries]
        assert told == expected


# --- failing over


@pytest.fixture
def standby(redis_server, tmp_path):
    """A replica of ``redis_server``."""
    folder = tmp_path / "standby"
    folder.mkdir()
    server = RedisServer(folder)
    server.start(replica_of=redis_server)
    yield server
    server.kill()


def names_in(server):
    with server.client() as client:
        return {name.decode().partition(":")[2] for name in client.scan_iter()}


def test_entries_of_a_promoted_replica_are_not_found(live_world, ask, proxy, redis_server, standby):
    tag, query = live_world.red, "{ tags { name } }"
    assert [ask(query).cache_status for _ in range(2)] == [STORED, HIT]
    cache = CachedResponses(redis_gateway())
    assert put(cache, "d", f"tag:{tag.pk}")
    standby.catch_up(redis_server)
    redis_server.kill()
    proxy.cut()
    proxy.target = ("127.0.0.1", standby.port)

    assert "e:anonymous:d" in names_in(standby)
    rename(tag)  # a replica takes no writes
    assert redis_gateway().has_pending
    assert {"name": "red!"} in ask(query).data["tags"]
    standby.follow(None)
    redis_gateway().flush_pending()  # delivers the write
    assert "e:anonymous:d" not in names_in(standby)
    answers = [ask(query) for _ in range(2)]
    assert [answer.cache_status for answer in answers] == [STORED, HIT]
    assert {"name": "red!"} in answers[1].data["tags"]


def test_entries_of_a_promoted_replica_are_not_found_without_a_write_either(
    live_world, cache, proxy, redis_server, standby
):
    assert put(cache, "d", "tag:1")
    assert stored_body(cache, "d") == b"x"
    standby.catch_up(redis_server)
    redis_server.kill()
    proxy.cut()
    proxy.target = ("127.0.0.1", standby.port)
    standby.follow(None)
    redis_gateway().breaker.record_success()
    redis_gateway()._pending.count = 0
    assert stored_body(cache, "d") is None
    assert "e:anonymous:d" in names_in(standby)
    assert put(cache, "d", "tag:1")
    assert stored_body(cache, "d") == b"x"


def test_the_client_leaves_a_server_that_has_become_a_replica(
    live_world, cache, proxy, redis_server, standby
):
    """The server stays up as a replica of the other, and connections to it stay open."""
    tag = live_world.red
    assert put(cache, "d", f"tag:{tag.pk}")
    standby.catch_up(redis_server)
    standby.follow(None)
    redis_server.follow(standby)
    proxy.target = ("127.0.0.1", standby.port)  # for new connections

    rename(tag)  # READONLY
    assert redis_gateway().has_pending
    redis_gateway().flush_pending()  # over a new connection
    assert stored_body(cache, "d") is None
    assert put(cache, "d", f"tag:{tag.pk}")
    assert "e:anonymous:d" in names_in(standby)
