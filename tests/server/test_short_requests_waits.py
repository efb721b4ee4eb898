"""Short requests that wait, or whose servers fail: the event loop goes on meanwhile."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from threading import Event

import pytest
from django.db import connections
from psycopg_pool import PoolTimeout

from pcf import concurrency
from pcf.project.schema import graphql_service
from pcf.server.endpoint import GraphQLEndpoint
from tests.conftest import token_for
from tests.server.short_requests import (
    FRESH,
    GREENLET,
    NOTES,
    QUERIES,
    TAGS,
    THREAD,
    Turns,
    codes_of,
    data_of,
    idle_greenlets,
    keeps,
    know,
    other,
    places,
    post,
    short,
)
from tests.server.wired import contents, until, wire, wired

__all__ = ["keeps", "other", "places", "short", "wire", "wired"]

PATIENCE = 20.0  # seconds after which a test has failed
HIT = post(TAGS, n=5)
SHORT_TIME = "X-Request-Timeout: 0.6"


async def check_others(client):
    """Check that a hit and a miss of other tables are answered now."""
    for request, status in ((HIT, "pcf; hit"), (post(TAGS, FRESH), "pcf; fwd=bypass")):
        answer = await client.ask(request)
        assert data_of(answer)["tags"]
        assert answer.get("cache-status").startswith(status)


def test_others_are_answered_while_a_statement_waits(short, places, other):
    short.learn(HIT)

    async def ask(client):
        second = await short.connect()
        with other.lock():
            await client.send(post(NOTES, FRESH))
            await other.until_waiting()
            for _ in range(3):
                await check_others(second)
        return await client.read(1)

    places.take()
    (answer,) = short.run(ask)
    assert data_of(answer)["notes"]
    assert places.take() == [GREENLET] * 4


@pytest.mark.parametrize("way", [GREENLET, THREAD])
def test_a_statement_ends_at_the_deadline_and_its_connection_is_used_again(
    short, places, other, keeps, caplog, monkeypatch, way
):
    short.learn(HIT)
    if way == THREAD:
        monkeypatch.setattr(GraphQLEndpoint, "_read_short", lambda *_: None)

    async def ask(client):
        second = await short.connect()
        with other.lock():
            async with Turns() as turns:
                await client.send(post(NOTES, FRESH, SHORT_TIME))
                await other.until_waiting()
                if way == GREENLET:
                    await check_others(second)
                (answer,) = await client.read(1)
            assert turns.greatest < 0.3
            await other.until_none_waits()
        return answer, await client.ask(post(NOTES, FRESH))

    places.take()
    late, again = short.run(ask)
    assert (late.status, codes_of(late)) == (200, ["TIMEOUT"])
    assert data_of(again)["notes"]
    assert set(places.take()) == ({GREENLET} if way == GREENLET else set())
    short.run(lambda _: until(lambda: idle_greenlets(short) == 4))


def test_later_requests_are_answered_by_threads_while_all_greenlets_are_stuck(short, places, other):
    short.learn(HIT)

    async def ask(client):
        stuck = [await short.connect() for _ in range(4)]
        with other.lock():
            for each in stuck:
                await each.send(post(NOTES, FRESH))
            await other.until_waiting(4)
            assert idle_greenlets(short) == 0
            for _ in range(3):
                await check_others(client)
            assert idle_greenlets(short) == 0
        return [answer for each in stuck for answer in await each.read(1)]

    places.take()
    for answer in short.run(ask):
        assert data_of(answer)["notes"]
    assert places.take() == [GREENLET] * 4 + [THREAD] * 3
    assert short.ask(post(NOTES, FRESH)).status == 200
    assert places.take() == [GREENLET]


@pytest.mark.parametrize("ends", ["releases", "reaches the deadline"])
def test_a_client_that_leaves_meanwhile_causes_no_error(short, places, other, caplog, ends):
    async def ask(client):
        (connection,) = short.connections._open
        with other.lock():
            lines = [SHORT_TIME] if ends != "releases" else []
            await client.send(post(NOTES, FRESH, *lines))
            await other.until_waiting()
            client.reset()
            await until(lambda: not short.connections._open)
            if ends != "releases":
                await other.until_none_waits()
        await until(lambda: idle_greenlets(short) == 4)
        return connection

    connection = short.run(ask)
    assert (connection._open_requests, connection._exchange, connection._held) == (0, None, [])
    places.take()
    assert data_of(short.ask(post(NOTES, FRESH)))["notes"]
    assert places.take() == [GREENLET]
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


def test_requests_that_a_client_sends_meanwhile_are_answered_in_order(short, places, other):
    async def ask(client):
        with other.lock():
            await client.send(post(NOTES, FRESH))
            await other.until_waiting()
            await client.push(post(TAGS, FRESH) + post(NOTES, FRESH, n=1))
        return await client.read(3)

    first, second, third = short.run(ask)
    assert len(data_of(first)["notes"]) == len(data_of(third)["notes"]) == 1
    assert data_of(second)["tags"]


def test_an_ending_service_answers_a_waiting_request(short, other):
    async def ask(client):
        with other.lock():
            await client.send(post(NOTES, FRESH))
            await other.until_waiting()
            ending = asyncio.ensure_future(short.connections.end(30))
            await asyncio.sleep(0.1)
            assert not ending.done()
        (answer,) = await client.until_closed()
        client.leave()
        await ending
        return answer

    answer = short.run(ask)
    assert data_of(answer)["notes"]
    assert answer.get("connection") == "close"


# --- PostgreSQL


def test_sessions_that_end_while_greenlets_keep_them_are_replaced(short, places, other, keeps):
    assert short.ask(post(NOTES, FRESH)).status == 200
    for query in QUERIES:
        assert other.terminate() >= 1
        data_of(short.ask(post(query, FRESH)))
    assert THREAD not in places.take()


def test_a_session_that_ends_while_its_statement_waits_is_replaced(short, places, other, keeps):
    async def ask(client):
        with other.lock():
            await client.send(post(NOTES, FRESH))
            await other.until_waiting()
            assert other.terminate(waiting=True) == 1
            await asyncio.sleep(0.05)
            await other.until_waiting()
        return await client.read(1)

    (answer,) = short.run(ask)
    assert data_of(answer)["notes"]


@pytest.mark.parametrize("reason", ["the deadline", "the pool"])
def test_a_greenlet_without_a_connection_gives_the_error_of_a_thread(
    short, places, monkeypatch, reason
):
    short.learn(HIT)
    pool = connections["default"].pool
    if reason == "the pool":
        monkeypatch.setattr(pool, "timeout", 0.3)
    lines = [SHORT_TIME] if reason == "the deadline" else []

    async def ask(client):
        second = await short.connect()
        await asyncio.sleep(0.2)  # the workers give their connections back
        taken = []
        try:
            with suppress(PoolTimeout):
                while True:
                    taken.append(pool.getconn(0.05))
            async with Turns() as turns:
                await client.send(post(NOTES, FRESH, *lines))
                hit = await second.ask(HIT)
                (answer,) = await client.read(1)
            assert turns.greatest < 0.25
        finally:
            for each in taken:
                pool.putconn(each)
        assert data_of(hit)["tags"]
        return answer

    places.take()
    found = short.run(ask)
    assert places.take() == [GREENLET]
    with monkeypatch.context() as patch:
        patch.setattr(GraphQLEndpoint, "_read_short", lambda *_: None)
        expected = short.run(ask)
    assert contents(found) == contents(expected)
    assert codes_of(found) == ["TIMEOUT" if lines else "SERVICE_UNAVAILABLE"]
    assert data_of(short.ask(post(NOTES, FRESH)))["notes"]


# --- Redis


@pytest.fixture
def own_redis(redis_server, live_world, wire, places, settings):
    """The service on a Redis of the test."""
    settings.PCF = replace(settings.PCF, timeouts=replace(settings.PCF.timeouts, cache=0.5))
    wired = wire(alias=redis_server.alias)
    know(wired, places)
    for n in (1, 2):
        wired.ask(post(NOTES, n=n))
    places.take()
    return wired


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_a_look_up_in_a_redis_that_fails_does_not_stop_the_loop(
    own_redis, redis_server, places, fault
):
    async def ask(client):
        getattr(redis_server, fault)()
        async with Turns() as turns:
            answer = await client.ask(post(NOTES, n=7))
        if fault == "freeze":
            redis_server.thaw()
        return answer, turns.greatest

    answer, greatest = own_redis.run(ask)
    assert data_of(answer)["notes"]
    assert answer.get("cache-status") == "pcf; fwd=bypass"
    assert greatest < 0.3
    assert places.take() == [GREENLET]


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_a_store_in_a_redis_that_fails_does_not_stop_the_loop(
    own_redis, redis_server, places, other, fault
):
    async def ask(client):
        with other.lock():
            await client.send(post(NOTES, n=8))
            await other.until_waiting()
            getattr(redis_server, fault)()
        async with Turns() as turns:
            (answer,) = await client.read(1)
        if fault == "freeze":
            redis_server.thaw()
        return answer, turns.greatest

    answer, greatest = own_redis.run(ask)
    assert data_of(answer)["notes"]
    assert answer.get("cache-status").startswith("pcf; fwd=miss")
    assert "stored" not in answer.get("cache-status")
    assert greatest < 0.3
    assert places.take() == [GREENLET]


# --- code of the project


def test_code_that_finds_credentials_may_wait(short, places, live_world, monkeypatch):
    short.learn(HIT)
    lookup = graphql_service()._cache_lookup
    begun, go, find = Event(), Event(), lookup._find_credentials

    def wait(text):
        begun.set()
        assert go.wait(PATIENCE)
        return find(text)

    monkeypatch.setattr(lookup, "_find_credentials", wait)
    tokens = [token_for(live_world.ann) for _ in range(2)]

    async def ask(client):
        second, third = await short.connect(), await short.connect()
        await client.send(post(NOTES, FRESH, f"Authorization: Bearer {tokens[0]}"))
        await second.send(post(NOTES, f"Authorization: Bearer {tokens[1]}", n=11))
        await until(begun.is_set)
        await check_others(third)
        go.set()
        return [*await client.read(1), *await second.read(1)]

    places.take()
    for answer in short.run(ask):
        assert len(data_of(answer)["notes"]) == 2
    assert places.take() == [GREENLET] * 3


WAYS = pytest.mark.parametrize("way", [GREENLET, THREAD])


@pytest.fixture
def answering(short, keeps, monkeypatch):
    """``answering(way)``: greenlets or threads answer. All workers keep their connections."""
    monkeypatch.setattr(concurrency, "IDLE_AFTER", 60.0)

    def choose(way):
        if way == THREAD:
            monkeypatch.setattr(GraphQLEndpoint, "_read_short", lambda *_: None)

    return choose


@WAYS
def test_a_session_that_ends_after_it_found_credentials_is_replaced(
    short, answering, other, live_world, way
):
    answering(way)
    for _ in range(3):
        line = f"Authorization: Bearer {token_for(live_world.ann)}"
        assert len(data_of(short.ask(post(NOTES, FRESH, line)))["notes"]) == 2
        assert other.terminate() >= 1


@WAYS
def test_a_request_needs_one_connection_to_find_credentials_and_rows(
    short, answering, live_world, monkeypatch, way
):
    answering(way)
    pool = connections["default"].pool
    monkeypatch.setattr(pool, "timeout", 0.3)
    line = f"Authorization: Bearer {token_for(live_world.ann)}"
    short.ask(post(NOTES, FRESH))  # a worker keeps its connection

    async def ask(client):
        taken = []
        try:
            with suppress(PoolTimeout):
                while True:
                    taken.append(pool.getconn(0.05))
            return await client.ask(post(NOTES, FRESH, line))
        finally:
            for each in taken:
                pool.putconn(each)

    assert len(data_of(short.run(ask))["notes"]) == 2
