"""Cache hits on the event loop: one message to Redis a turn; threads answer the rest."""

import asyncio
import json
from functools import partial
from threading import Event
from unittest.mock import Mock
from uuid import uuid4

import pytest

from pcf.cache.async_redis import AsyncRedis
from pcf.cache.entries import DirectRead
from pcf.cache.redis_gateway import redis_gateway
from pcf.database.query_log import count_queries
from pcf.http import known_requests
from tests.conftest import make_note, token_for
from tests.http.wsgi import environ_of
from tests.server.asgi import PATIENCE, Exchange, scope_of

NOTES = "{ notes { id title author { name } tags { name } } }"
TAGS = "{ tags { id name } }"


def body(query):
    return json.dumps({"query": query}).encode()


def post(query, **headers):
    return environ_of(body(query), **headers)


def exchange(query, **headers):
    return Exchange(scope_of(post(query, **headers)), body(query))


def learn(service, *environs):
    """Ask until the event loop answers by a direct read."""
    for make in environs:
        for _ in range(3):
            reply = service.call(make())
        assert reply.headers["Cache-Status"] == "pcf; hit"


def test_the_event_loop_answers_several_hits_without_a_thread(service, commands, monkeypatch):
    learn(service, lambda: post(TAGS), lambda: post(NOTES))
    monkeypatch.setattr(service.application._process.threads, "run", None)
    commands.clear()
    exchanges = [exchange(query) for query in (TAGS, NOTES, TAGS)]
    with count_queries() as queries:
        service.run_together(*exchanges)
    first, second, third = (each.reply for each in exchanges)
    assert (commands, queries.count) == (["read"] * 3, 0)
    assert first.body == third.body != second.body
    assert "notes" in json.loads(second.body)["data"]


def test_each_viewer_gets_its_own_response(live_world, service, commands):
    users = live_world.ann, live_world.bob, None
    bearers = [{"authorization": f"Bearer {token_for(user)}"} if user else {} for user in users]
    learn(service, *[lambda bearer=bearer: post(NOTES, **bearer) for bearer in bearers])
    commands.clear()
    exchanges = [exchange(NOTES, **bearer) for bearer in bearers]
    service.run_together(*exchanges)
    ann, bob, anonymous = (each.reply.body.decode() for each in exchanges)
    assert commands == ["read"] * 3
    assert "private of ann" in ann
    assert "private of ann" not in bob
    assert "private of bob" in bob
    assert "private" not in anonymous


def test_a_thread_answers_a_request_whose_entry_was_invalidated(live_world, service, commands):
    learn(service, lambda: post(TAGS), lambda: post(NOTES))
    make_note(live_world.ann, "new")
    commands.clear()
    exchanges = [exchange(TAGS), exchange(NOTES)]
    service.run_together(*exchanges)
    statuses = [each.reply.headers["Cache-Status"] for each in exchanges]
    assert statuses == ["pcf; hit", "pcf; fwd=miss; stored"]
    assert commands == ["read", "read", "EVALSHA", "EVALSHA"], (
        "two direct reads, a look-up, a store"
    )
    assert b"new" in exchanges[1].reply.body


def test_the_event_loop_answers_hits_while_all_threads_are_busy(service, monkeypatch):
    learn(service, lambda: post(TAGS))
    threads = len(service.application._process.threads._pool._threads)
    begun, free = [Event() for _ in range(threads)], Event()
    waiting = iter(begun)

    def slow(*_):
        next(waiting).set()
        assert free.wait(PATIENCE)
        raise ZeroDivisionError

    monkeypatch.setattr(service.application._endpoint, "_answer", slow)

    async def ask():
        busy = [
            asyncio.ensure_future(exchange(f"{{ me {{ id }} }} # {n}").run(service.application))
            for n in range(threads)
        ]
        computing = service.application._process.threads._pool._free_slots
        for event in begun[:computing]:
            assert await asyncio.to_thread(event.wait, PATIENCE)
        hit = await exchange(TAGS).run(service.application)
        assert not free.is_set()
        free.set()
        await asyncio.gather(*busy)
        return hit.reply

    assert service.run(ask()).headers["Cache-Status"] == "pcf; hit"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        (TAGS, {"cache_control": "no-store"}),
        (TAGS, {"authorization": "Basic x"}),
        (TAGS, {"authorization": "Bearer unknown"}),
        (TAGS, {"host": "other.example.org"}),
        (TAGS, {"accept_encoding": "gzip"}),
        (TAGS, {"accept": "image/png"}),
        (TAGS, {"content_encoding": "gzip"}),
        ("{ tags { id } }", {}),
    ],
)
def test_the_event_loop_reads_only_for_requests_with_a_known_entry(
    service, commands, query, headers
):
    own = f"# {uuid4()}"  # a query without an entry in another coding
    learn(service, lambda: post(TAGS + own))
    commands.clear()
    service.call(post(query + own, **headers))
    assert "read" not in commands


def test_a_thread_answers_a_request_with_less_time_than_the_cache_may_take(service, commands):
    learn(service, lambda: post(TAGS))
    commands.clear()
    service.call(post(TAGS, x_request_timeout="0.001"))
    assert "read" not in commands


def test_a_thread_answers_a_hit_with_a_large_body(service, commands, monkeypatch):
    monkeypatch.setattr(known_requests, "MAX_DIRECT_BYTES", 20)
    learn(service, lambda: post(NOTES))
    assert "read" not in commands


def test_the_event_loop_waits_once_for_a_frozen_redis(
    live_world, redis_server, serving, commands, fresh_service
):
    service = serving(alias=redis_server.alias)
    learn(service, lambda: post(NOTES))
    assert commands[-1] == "read"
    redis_server.freeze()
    commands.clear()
    for _ in range(2):
        assert service.call(post(NOTES)).status == "200 OK"
    assert commands.count("read") == 1
    assert redis_gateway().has_pending
    redis_server.thaw()


def test_the_reads_of_one_turn_of_the_loop_are_one_message():
    async def ask():
        stream = AsyncRedis(Mock(admits_read=lambda: True), asyncio.get_running_loop())
        stream._transport = transport = Mock()
        for packed in (b"a", b"b"):
            stream.read(packed, 1, Mock())
        assert transport.write.call_args_list == []
        await asyncio.sleep(0)
        stream.read(b"c", 1, Mock())
        await asyncio.sleep(0)
        stream.close()
        return [call.args[0] for call in transport.write.call_args_list]

    assert asyncio.run(ask()) == [b"ab", b"c"]


def test_an_unreadable_entry_leaves_the_other_replies_intact(caplog):
    def unreadable(*_):
        raise ValueError

    def shortcut(replies, entry=None):
        made = Mock(spec=DirectRead, packed=b"", reply_count=replies, entry=entry)
        made.read = partial(DirectRead.read, made)
        return made

    async def ask():
        stream = AsyncRedis(Mock(admits_read=lambda: True), asyncio.get_running_loop())
        stream._transport = Mock()
        reads = [
            shortcut(1, unreadable),
            shortcut(1),
            shortcut(2, lambda run, replies: (run, *replies)),
        ]
        first, gone, second = (stream.replies(each) for each in reads)
        gone.cancel()
        stream._run_id = b"run"
        stream.data_received(b":1\r\n:2\r\n:3\r\n:4\r\n")
        stream.close()
        return reads[0].read(*await first), reads[2].read(*await second)

    assert asyncio.run(ask()) == (None, (b"run", 3, 4))
    assert "ValueError" in caplog.text
