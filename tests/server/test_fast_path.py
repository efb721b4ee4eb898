"""Hits on the event loop: one message for all that come together, and what is left to threads."""

import asyncio
import json
from functools import partial
from threading import Event
from unittest.mock import Mock
from uuid import uuid4

import pytest

from pcf.cache.gate import gate
from pcf.cache.shortcuts import Shortcut
from pcf.cache.stream import RedisStream
from pcf.database.statements import count_queries
from pcf.http import hits
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
    """Ask until the short ways are known."""
    for make in environs:
        for _ in range(3):
            reply = service.call(make())
        assert reply.headers["Cache-Status"] == "pcf; hit"


def test_hits_that_come_together_are_no_work_for_threads(service, commands, monkeypatch):
    learn(service, lambda: post(TAGS), lambda: post(NOTES))
    monkeypatch.setattr(service.application._started.threads, "run", None)
    commands.clear()
    exchanges = [exchange(query) for query in (TAGS, NOTES, TAGS)]
    with count_queries() as queries:
        service.run_together(*exchanges)
    first, second, third = (each.reply for each in exchanges)
    assert (commands, queries.count) == (["read"] * 3, 0)
    assert first.body == third.body != second.body
    assert "notes" in json.loads(second.body)["data"]


def test_viewers_that_come_together_get_each_their_own(live_world, service, commands):
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


def test_those_of_them_that_are_no_hits_any_more_are_answered_by_threads(
    live_world, service, commands
):
    learn(service, lambda: post(TAGS), lambda: post(NOTES))
    make_note(live_world.ann, "new")
    commands.clear()
    exchanges = [exchange(TAGS), exchange(NOTES)]
    service.run_together(*exchanges)
    statuses = [each.reply.headers["Cache-Status"] for each in exchanges]
    assert statuses == ["pcf; hit", "pcf; fwd=miss; stored"]
    assert commands == ["read", "read", "EVALSHA", "EVALSHA"], "asked, looked up, stored"
    assert b"new" in exchanges[1].reply.body


def test_while_all_threads_are_busy_hits_are_answered(service, monkeypatch):
    learn(service, lambda: post(TAGS))
    threads = len(service.application._started.threads._pool._seats)
    begun, free = [Event() for _ in range(threads)], Event()
    waiting = iter(begun)

    def slow(*_):
        next(waiting).set()
        assert free.wait(PATIENCE)
        raise ZeroDivisionError

    monkeypatch.setattr(service.application, "_work", slow)

    async def ask():
        busy = [
            asyncio.ensure_future(exchange(f"{{ me {{ id }} }} # {n}").run(service.application))
            for n in range(threads)
        ]
        computing = service.application._started.threads._pool._free
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
def test_what_is_not_known_to_be_a_hit_costs_the_loop_no_question(
    service, commands, query, headers
):
    own = f"# {uuid4()}"  # known in no other coding
    learn(service, lambda: post(TAGS + own))
    commands.clear()
    service.call(post(query + own, **headers))
    assert "read" not in commands


def test_a_request_with_less_time_than_redis_may_take_is_a_threads(service, commands):
    learn(service, lambda: post(TAGS))
    commands.clear()
    service.call(post(TAGS, x_request_timeout="0.001"))
    assert "read" not in commands


def test_what_is_too_heavy_to_be_asked_for_with_others_is_a_threads(service, commands, monkeypatch):
    monkeypatch.setattr(hits, "LIGHT", 20)
    learn(service, lambda: post(NOTES))
    assert "read" not in commands


def test_a_frozen_redis_is_waited_for_once_and_then_left_to_threads(
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
    assert gate().is_owing
    redis_server.thaw()


def test_what_is_asked_in_one_turn_of_the_loop_is_one_message():
    async def ask():
        stream = RedisStream(Mock(admits_read=lambda: True), asyncio.get_running_loop())
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


def test_an_entry_that_is_unreadable_costs_no_other(caplog):
    def unreadable(*_):
        raise ValueError

    def shortcut(replies, entry=None):
        made = Mock(spec=Shortcut, packed=b"", replies=replies, entry=entry)
        made.read = partial(Shortcut.read, made)
        return made

    async def ask():
        stream = RedisStream(Mock(admits_read=lambda: True), asyncio.get_running_loop())
        stream._transport = Mock()
        first = stream.entry(shortcut(1, unreadable))
        gone = stream.entry(shortcut(1))
        second = stream.entry(shortcut(2, lambda run, replies: (run, *replies)))
        gone.cancel()
        stream._run = b"run"
        stream.data_received(b":1\r\n:2\r\n:3\r\n:4\r\n")
        stream.close()
        return await first, await second

    assert asyncio.run(ask()) == (None, (b"run", 3, 4))
    assert "ValueError" in caplog.text
