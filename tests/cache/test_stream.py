"""A connection of an event loop to Redis: replies in their order, or None and never a wait."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from unittest.mock import Mock

import hiredis
import pytest

from pcf._compat import redis as redis_compat
from pcf.cache.gate import Gate
from pcf.cache.stream import RedisStream

PATIENCE = 20.0  # seconds after which a test has failed


def pack(*commands):
    return b"".join([hiredis.pack_command(tuple(command.split())) for command in commands])


class Line:
    """A stream, its gate, and the loop that both are used on."""

    def __init__(self, alias):
        self.loop = asyncio.new_event_loop()
        self.gate = Gate(alias)
        self.gate.settle_with(lambda: None)
        self.stream = RedisStream(self.gate, self.loop, alias)

    def run(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, PATIENCE))

    def question(self, *commands):
        """Ask; the future of the server's run and the replies."""
        future = self.loop.create_future()
        self.stream.read(pack(*commands), len(commands), lambda *answer: future.set_result(answer))
        return future

    def ask(self, *commands):
        async def asked():
            return await self.question(*commands)

        return self.run(asked())

    def connect(self):
        """Have the stream connect, as the first question does."""

        async def connected():
            if self.stream._transport is None:
                assert self.question("PING").result() == (b"", None)
                await self.stream._connecting

        self.run(connected())
        return self

    def recover(self):
        """What a thread does after a failure."""
        self.gate.settle()
        self.gate.ping()

    async def gone(self):
        """Until the stream has noticed that it has no connection."""
        lost = asyncio.Event()
        whole = self.stream.connection_lost
        self.stream.connection_lost = lambda error: (whole(error), lost.set())
        await lost.wait()

    def close(self):
        self.stream.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run(asyncio.sleep(0))
        self.loop.close()


@pytest.fixture
def line(redis_server, settings):
    timeouts = replace(settings.PCF.timeouts, cache=0.2)
    settings.PCF = replace(settings.PCF, timeouts=timeouts)
    line = Line(redis_server.alias)
    yield line
    line.close()


@pytest.fixture
def connected(line):
    return line.connect()


def test_the_first_question_is_left_to_a_thread_and_connects(line):
    assert line.ask("PING") == (b"", None)
    line.connect()
    run, replies = line.ask("PING")
    assert replies == [b"PONG"]
    assert len(run) == 8


def test_questions_that_are_asked_at_once_are_answered_in_their_order(connected, redis_server):
    with redis_server.client() as client:
        client.mset({f"key{number}": number for number in range(50)})

    async def ask():
        futures = [
            connected.question(f"GET key{number}", "PTTL nothing", f"GET key{number + 1}")
            for number in range(49)
        ]
        return await asyncio.gather(*futures)

    answers = connected.run(ask())
    assert [replies for _, replies in answers] == [
        [b"%d" % number, -2, b"%d" % (number + 1)] for number in range(49)
    ]


def test_the_run_is_that_of_the_server(connected, redis_server):
    with redis_server.client() as client:
        expected = client.info("server")["run_id"][:8].encode()
    assert connected.ask("PING")[0] == expected


@pytest.mark.parametrize("cuts", [(), (3,), (1, 2, 9, 10, 20)])
def test_replies_may_come_in_any_pieces_and_pushes_are_none_of_them(line, cuts):
    answers = []
    line.stream._transport = Mock()
    for _ in range(2):
        line.stream.read(b"", 2, lambda _, replies: answers.append(replies))
    data = b"$1\r\na\r\n:1\r\n>2\r\n+x\r\n+y\r\n*1\r\n$1\r\nb\r\n$-1\r\n"
    for begin, end in pairwise([0, *cuts, len(data)]):
        line.stream.data_received(data[begin:end])
    assert answers == [[b"a", 1], [[b"b"], None]]


@pytest.mark.parametrize("data", [b"nonsense\r\n", b"+PONG\r\n:1\r\n"])
def test_what_was_not_asked_for_or_is_no_reply_ends_the_connection(line, data):
    answers = []
    line.stream._transport = transport = Mock()
    if data.startswith(b"nonsense"):
        line.stream.read(b"", 1, lambda _, replies: answers.append(replies))
    else:
        line.stream.read(b"", 1, lambda *_: None)
    line.stream.data_received(data)
    transport.abort.assert_called_once_with()
    assert line.stream._transport is None
    assert line.gate.is_owing, "a failure is told to the gate"
    assert answers == ([None] if data.startswith(b"nonsense") else [])


def test_an_error_among_the_replies_is_none_and_costs_the_others_nothing(connected, redis_server):
    with redis_server.client() as client:
        client.lpush("list", 1)

    async def ask():
        return await asyncio.gather(
            connected.question("PING"),
            connected.question("PING", "GET list"),
            connected.question("PING"),
        )

    good, bad, after = (replies for _, replies in connected.run(ask()))
    assert (good, bad, after) == ([b"PONG"], None, [b"PONG"])
    assert connected.gate.is_owing
    transport = connected.stream._transport
    connected.recover()
    assert connected.ask("PING")[1] == [b"PONG"]
    assert connected.stream._transport is transport


def test_a_silent_server_is_given_up_and_its_late_reply_is_nobodys(connected, redis_server):
    with redis_server.client() as client:
        client.mset({"one": 1, "two": 2})
    redis_server.freeze()

    async def ask():
        return await asyncio.gather(connected.question("GET one"), connected.question("GET one"))

    assert connected.run(ask()) == [(b"", None)] * 2
    assert connected.stream._transport is None
    assert connected.ask("GET one") == (b"", None), "at once: the gate knows"
    assert connected.stream._connecting is None
    redis_server.thaw()
    connected.recover()
    connected.connect()
    assert connected.ask("GET two")[1] == [b"2"]


def test_a_server_that_answers_the_first_question_only_is_given_up_for_the_next(line):
    """The timer goes with the questions, not with the connection."""
    answers = []
    line.stream._transport = Mock()

    async def ask():
        line.stream.read(b"", 1, lambda _, replies: answers.append(replies))
        line.stream.data_received(b":1\r\n")
        later = line.loop.create_future()
        line.stream.read(b"", 1, lambda _, replies: later.set_result(replies))
        return await later

    assert line.run(ask()) is None
    assert answers == [[1]]


def test_a_server_that_restarts_is_connected_to_again_and_is_another_run(connected, redis_server):
    run, _ = connected.ask("PING")
    redis_server.kill()
    redis_server.start()
    assert connected.ask("PING") == (b"", None)
    connected.recover()
    connected.connect()
    again, replies = connected.ask("PING")
    assert replies == [b"PONG"]
    assert again != run


def test_questions_under_way_when_the_server_dies_are_none(connected, redis_server):
    async def ask():
        redis_server.freeze()
        future = connected.question("PING")
        redis_server.kill()
        return await future

    assert connected.run(ask()) == (b"", None)
    assert connected.gate.is_owing


def test_a_connection_that_ends_while_nobody_asks_is_no_failure(connected, redis_server):
    async def die():
        waiting = asyncio.ensure_future(connected.gone())
        await asyncio.sleep(0)
        redis_server.kill()
        await waiting

    connected.run(die())
    assert connected.stream._transport is None
    assert not connected.gate.is_owing


def test_a_server_that_is_not_there_is_a_failure_for_the_gate(line, redis_server):
    redis_server.kill()
    line.connect()
    assert line.stream._transport is None
    assert line.gate.is_owing
    assert line.ask("PING") == (b"", None)
    assert line.stream._connecting is None, "the gate leaves Redis alone"
    redis_server.start()
    line.recover()
    line.connect()
    assert line.ask("PING")[1] == [b"PONG"]


def test_nothing_is_asked_while_something_is_owed(connected):
    connected.gate.owe()
    connected.stream._transport = Mock(wraps=connected.stream._transport)
    assert connected.ask("PING") == (b"", None)
    connected.stream._transport.write.assert_not_called()
    connected.gate.settle()
    assert connected.ask("PING")[1] == [b"PONG"]


def test_closing_answers_what_is_under_way(connected, redis_server):
    redis_server.freeze()

    async def ask():
        future = connected.question("PING")
        connected.stream.close()
        return await future

    assert connected.run(ask()) == (b"", None)
    redis_server.thaw()


def test_closing_ends_a_connection_that_is_being_made(line, redis_server):
    redis_server.freeze()

    async def close():
        line.question("PING")
        connecting = line.stream._connecting
        await asyncio.sleep(0)
        line.stream.close()
        await asyncio.gather(connecting, return_exceptions=True)
        return connecting.cancelled()

    assert line.run(close())
    assert line.stream._connecting is None
    redis_server.thaw()


def test_a_kind_of_connection_that_is_not_known_leaves_everything_to_threads(line, monkeypatch):
    monkeypatch.setattr(redis_compat, "_KINDS", {})
    line.stream = RedisStream(line.gate, line.loop, line.gate._alias)
    assert line.ask("PING") == (b"", None)
    assert line.stream._connecting is None


def test_redis_py_still_has_what_is_not_documented(line):
    """``Connection._writer``: see ``pcf/_compat/redis.py``."""

    async def connect():
        transport, info, owner = await redis_compat.connect(line.stream._pool)
        transport.write(pack("PING"))
        assert await owner._protocol._stream_reader.readline() == b"+PONG\r\n"
        transport.abort()
        return transport, info

    transport, info = line.run(connect())
    assert isinstance(transport, asyncio.Transport)
    assert b"run_id:" in info
