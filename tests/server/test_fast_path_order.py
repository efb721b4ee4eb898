"""Data that comes while the fast path answers: every answer comes, in order."""

import asyncio
from itertools import product
from math import inf
from random import Random
from time import monotonic
from unittest.mock import Mock

import pytest

from pcf.server import connection as module
from pcf.server.connection import ClientConnection
from tests.server.test_fast_path import NOTES, TAGS, get, post
from tests.server.wired import until, wire, wired

__all__ = ["wire", "wired"]

OTHER = "{ tags { name } }"


class Slow:
    """The event loop's connection to Redis, whose replies wait for ``release``."""

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
    """Let the event loop turn; the tests do not depend on the number."""
    for _ in range(number):
        await asyncio.sleep(0)


async def follow(slow, stop):
    """Release the waiting replies until ``stop`` is set."""
    while not stop.is_set():  # it waits for turns of the loop
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
def test_requests_that_come_meanwhile_are_answered_after_it(known, slow, hit, alone):
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


def test_requests_in_their_usual_form_that_come_meanwhile_are_answered_one_by_one(known, slow):
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
def test_a_client_that_disconnects_meanwhile_leaves_no_state(known, slow, held):
    before = known.fast_path_answers

    async def ask(client):
        (connection,) = known.connections._open
        await client.send(post())
        await slow.asked()
        await client.push(held)
        client.reset()
        if not held:  # a paused transport sees it later
            await until(lambda: not known.connections._open)
        slow.release()
        await released(
            slow, until(lambda: not (known.connections._open or connection._open_requests))
        )
        return connection

    connection = known.run(ask)
    assert (connection._open_requests, connection._held) == (0, [])
    assert known.fast_path_answers - before <= 2 * bool(held)


@pytest.mark.parametrize("hit", [True, False])
def test_a_client_that_closes_its_side_meanwhile_gets_its_answers(known, slow, hit):
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


def test_a_connection_that_the_server_closes_meanwhile_gets_no_answer(known, slow):
    async def ask(client):
        (connection,) = known.connections._open
        await client.send(post())
        await slow.asked()
        await client.push(post(NOTES))
        connection.close()
        slow.release()
        return await client.until_closed()

    assert known.run(ask) == []


def test_an_ending_process_waits_for_the_fast_paths_answer(known, slow):
    async def ask(client):
        await client.send(post())
        await slow.asked()
        ending = asyncio.ensure_future(known.connections.end(30))
        await asyncio.sleep(0.1)
        assert not ending.done()
        slow.release()
        (first,) = await client.until_closed()
        client.leave()
        await ending
        second = await released(slow, (await known.connect()).ask(post()))
        return first, second

    before = known.fast_path_answers
    answers = known.run(ask)
    assert [(each.status, each.get("connection")) for each in answers] == [(200, "close")] * 2
    assert known.fast_path_answers == before + 1


def test_an_ending_process_waits_for_clients_that_only_the_fast_path_knows(known):
    async def ask(client):
        before = known.fast_path_answers
        await client.ask(post())
        assert known.fast_path_answers == before + 1
        ending = asyncio.ensure_future(known.connections.end(30))
        await asyncio.sleep(0.2)
        assert not ending.done()  # the client may have sent a request, or reads its answer
        (answer,) = [await client.ask(post()), *await client.until_closed()]
        client.leave()
        await ending
        return answer

    answer = known.run(ask)
    assert (answer.status, answer.get("connection")) == (200, "close")


def test_the_server_answers_while_earlier_answers_are_unread(known, monkeypatch):
    before = known.fast_path_answers

    async def ask(client):
        await client.ask(post())
        monkeypatch.setattr(ClientConnection, "unread", 1)
        await client.ask(post())
        monkeypatch.undo()

    known.run(ask)
    assert known.fast_path_answers == before + 1


def test_max_requests_counts_the_fast_paths_answers(known, monkeypatch):
    ended = []
    monkeypatch.setattr(known.worker, "handle_exit_signal", lambda: ended.append(True))
    known.worker._memory_given_back, known.worker._ending = inf, None
    known.worker._max_answers = known.worker.nr + known.fast_path_answers + 2
    for number in range(1, 4):
        known.ask(post())
        with monkeypatch.context() as patch:
            patch.setattr(known.worker, "loop", Mock())
            known.worker._sweep()
        assert len(ended) == max(0, number - 1)
    known.worker._ending = Mock()  # the worker ends: it says so once
    monkeypatch.setattr(known.worker, "loop", Mock())
    known.worker._sweep()
    assert len(ended) == 2


def test_a_client_that_leaves_meanwhile_cancels_its_request(known, monkeypatch):
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(*_):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    monkeypatch.setattr(known.application._endpoint, "answer_in_thread", wait)

    async def ask(client):
        await client.send(post("mutation { __typename }"))  # which no greenlet answers
        await begun.wait()
        client.reset()
        await cancelled.wait()

    known.run(ask)


def test_the_end_that_the_server_asks_for_comes_after_the_answer(known, slow):
    async def ask(client):
        await released(slow, client.ask(post()[:-3], post()[-3:]))
        (connection,) = known.connections._open
        await client.send(post())
        await slow.asked()
        connection._protocol.transport.close()
        slow.release()
        return await client.until_closed()

    (answer,) = known.run(ask)
    assert (answer.status, answer.get("connection")) == (200, "close")


@pytest.mark.parametrize("late", [True, False])
def test_an_answer_announces_the_end_where_the_server_soon_takes_the_connection_for_idle(
    known, slow, monkeypatch, late
):
    clock = [monotonic()]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])

    async def ask(client):
        await released(slow, client.ask(post()[:-3], post()[-3:]))
        await client.send(post())
        await slow.asked()
        clock[0] += 38 if late else 37  # of 75 seconds
        slow.release()
        (answer,) = await client.read(1)
        return answer

    assert known.run(ask).get("connection") == ("close" if late else None)


@pytest.mark.parametrize("hit", [True, False])
def test_a_client_that_disconnects_before_an_announced_end_causes_no_error(
    known, slow, caplog, hit
):
    async def ask(client):
        await released(slow, client.ask(post()[:-3], post()[-3:]))
        (connection,) = known.connections._open
        await client.send(post())
        await slow.asked()
        connection._protocol.transport.close()
        client.reset()
        await until(lambda: not known.connections._open)
        slow.release(hit=hit)
        await released(slow, until(lambda: not connection._open_requests))
        await turns(50)

    known.run(ask)
    slow.passes = True
    assert known.ask(post()).get("cache-status") == "pcf; hit"
    assert not caplog.records


BAD = b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"


@pytest.mark.parametrize("seed", range(3))
def test_random_requests_cut_anywhere_are_answered_as_if_sent_alone(known, seed):
    random = Random(seed)
    choice = {
        "tags": post(), "notes": post(NOTES), "get": get(), "other": post(OTHER),
        "mutation": post("mutation { __typename }"), "no page": get().replace(b"graphql", b"x"),
        "named": post(TAGS, "X-Request-ID: a"), "invalid": post("{ nothing }"),
    }  # fmt: skip
    alone = {name: known.ask(request) for name, request in choice.items()}
    before = known.fast_path_answers

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
    assert known.fast_path_answers > before


def body_of(answer):
    return answer.status, answer.version, answer.body


def cut(random, requests):
    """Return the requests as segments: whole, several at once, or cut anywhere."""
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
