"""What comes while a repeated request is answered: each answer in its order, and none is lost."""

import asyncio
from itertools import product
from math import inf
from random import Random
from unittest.mock import Mock

import pytest

from pcf.server.connection import Connection
from tests.server.test_repeats import NOTES, TAGS, get, post
from tests.server.wired import until, wire, wired

__all__ = ["wire", "wired"]

OTHER = "{ tags { name } }"


class Slow:
    """Redis, whose replies to the event loop wait for ``release``."""

    def __init__(self, wired, monkeypatch):
        self.waiting = []
        self._read = wired.stream.read
        self.passes = False
        monkeypatch.setattr(wired.stream, "read", self._wait)

    def _wait(self, *given):
        if self.passes:
            self._read(*given)
        else:
            self.waiting.append(given)

    async def asked(self, number=1):
        await until(lambda: len(self.waiting) >= number)

    def release(self, *, hit=True):
        waiting, self.waiting = self.waiting, []
        for packed, replies, callback in waiting:
            if hit:
                self._read(packed, replies, callback)
            else:
                callback(b"", None)


@pytest.fixture
def known(wired):
    wired.learn(post(), post(NOTES), get())
    return wired


@pytest.fixture
def slow(known, monkeypatch):
    return Slow(known, monkeypatch)


async def turns(number):
    """Let the loop turn; nothing depends on how far that leads."""
    for _ in range(number):
        await asyncio.sleep(0)


async def follow(slow, stop):
    """Release whatever waits until ``stop`` is set."""
    while not stop.is_set():  # turns, not times
        slow.release()
        await asyncio.sleep(0)


async def released(slow, waiting):
    stop = asyncio.Event()
    following = asyncio.ensure_future(follow(slow, stop))
    found = await waiting
    stop.set()
    await following
    return found


@pytest.mark.parametrize("hit", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_what_comes_meanwhile_is_answered_behind_it(known, slow, hit, alone):
    async def ask(client):
        if not alone:
            await released(slow, client.ask(get("{ tags { id } }")))
        await client.send(post(NOTES))
        await slow.asked()
        await client.push(post() + post(OTHER)[:40])
        await turns(50)
        await client.push(post(OTHER)[40:] + get())
        await turns(50)
        assert len(slow.waiting) == 1
        slow.release(hit=hit)
        return await released(slow, client.read(4))

    found = known.run(ask)
    slow.passes = True
    expected = [known.ask(each) for each in (post(NOTES), post(), post(OTHER), get())]
    assert [each.body for each in found] == [each.body for each in expected]
    assert {each.status for each in found} == {200}


def test_known_requests_that_come_meanwhile_are_repeated_one_by_one(known, slow):
    async def ask(client):
        await client.send(post())
        await slow.asked()
        for request in (post(NOTES), get()):
            await client.push(request)
        slow.release()
        return await released(slow, client.read(3))

    found = known.run(ask)
    assert b"notes" in found[1].body
    assert b"notes" not in found[0].body + found[2].body


@pytest.mark.parametrize("held", [b"", post(NOTES)])
def test_a_client_that_goes_away_meanwhile_leaves_nothing(known, slow, held):
    before = known.repeated

    async def ask(client):
        (connection,) = known.connections._open
        await client.send(post())
        await slow.asked()
        await client.push(held)
        client.reset()
        if not held:  # a transport that reads nothing sees it later
            await until(lambda: not known.connections._open)
        slow.release()
        await released(slow, until(lambda: not (known.connections._open or connection._requests)))
        return connection

    connection = known.run(ask)
    assert (connection._requests, connection._held) == (0, None)
    assert known.repeated - before <= 2 * bool(held)


@pytest.mark.parametrize("hit", [True, False])
def test_a_client_that_sends_no_more_gets_its_answer(known, slow, hit):
    for early, more in product([True, False], [[], [post(NOTES)]]):

        async def ask(client, early=early, more=more):
            await client.send(post())
            await slow.asked()
            for request in more:
                await client.push(request)
            if early:
                slow.release(hit=hit)
            answers = asyncio.ensure_future(client.rest())
            await turns(20)
            slow.release(hit=hit)
            return await released(slow, answers)

        answers = known.run(ask)
        assert [each.status for each in answers] == [200] * (1 + len(more))


def test_a_connection_that_was_closed_meanwhile_gets_no_answer(known, slow):
    async def ask(client):
        (connection,) = known.connections._open
        await client.send(post())
        await slow.asked()
        await client.push(post(NOTES))
        connection.close()
        slow.release()
        return await client.until_closed()

    assert known.run(ask) == []


def test_a_process_that_ends_waits_for_the_repeated_answer(known, slow):
    async def ask(client):
        await client.send(post())
        await slow.asked()
        ending = asyncio.ensure_future(known.connections.end(30))
        await asyncio.sleep(0.1)
        assert not ending.done()
        slow.release()
        (first,) = await client.read(1)
        await ending
        second = await released(slow, client.ask(post()))
        return first, second

    before = known.repeated
    first, second = known.run(ask)
    assert (first.status, second.status) == (200, 200)
    assert second.get("connection") == "close"
    assert known.repeated == before + 1


def test_unread_answers_leave_requests_to_the_server(known, monkeypatch):
    before = known.repeated

    async def ask(client):
        await client.ask(post())
        monkeypatch.setattr(Connection, "unread", 1)
        await client.ask(post())
        monkeypatch.undo()

    known.run(ask)
    assert known.repeated == before + 1


def test_a_worker_ends_after_so_many_requests_repeated_ones_too(known, monkeypatch):
    ended = []
    monkeypatch.setattr(known.worker, "handle_exit_signal", lambda: ended.append(True))
    known.worker._tidied = inf
    known.worker._most_requests = known.worker.nr + known.repeated + 2
    for number in range(1, 4):
        known.ask(post())
        with monkeypatch.context() as patch:
            patch.setattr(known.worker, "loop", Mock())
            known.worker._sweep()
        assert len(ended) == max(0, number - 1)


BAD = b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"


@pytest.mark.parametrize("seed", range(3))
def test_random_requests_cut_anywhere_are_answered_as_one_by_one(known, seed):
    random = Random(seed)
    choice = {
        "tags": post(), "notes": post(NOTES), "get": get(), "other": post(OTHER),
        "mutation": post("mutation { __typename }"), "no page": get().replace(b"graphql", b"x"),
        "named": post(TAGS, "X-Request-ID: a"), "invalid": post("{ nothing }"),
    }  # fmt: skip
    alone = {name: known.ask(request) for name, request in choice.items()}
    before = known.repeated

    for _ in range(30):
        names = random.choices(list(choice), [6, 6, 6, 1, 1, 1, 1, 1], k=random.randint(2, 12))
        requests = [choice[name] for name in names]
        if random.random() < 0.3:
            requests.append(BAD)
        segments = cut(random, requests)

        async def ask(client, segments=segments):
            for segment in segments:
                await client.push(segment)
                await turns(random.choice([1, 5, 200]))
            return await client.rest()

        found = known.run(ask)
        expected = [alone[name] for name in names]
        if requests[-1] is BAD:
            assert found.pop().status == 400
        assert [body_of(each) for each in found] == [body_of(each) for each in expected], names
    assert known.repeated > before


def body_of(answer):
    return answer.status, answer.version, answer.body


def cut(random, requests):
    """The requests as segments: whole, several at once, or cut anywhere."""
    segments = [b""]
    for request in requests:
        if random.random() < 0.3:
            place = random.randrange(len(request))
            segments[-1] += request[:place]
            segments.append(request[place:])
        else:
            segments[-1] += request
        if random.random() < 0.8:
            segments.append(b"")
    return [each for each in segments if each]
