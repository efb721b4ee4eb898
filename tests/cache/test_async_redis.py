"""AsyncRedis: replies in their order, None after a failure, and no wait."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from unittest.mock import Mock

import hiredis
import pytest

from pcf._compat import redis as redis_compat
from pcf.cache.async_redis import AsyncRedis
from pcf.cache.redis_gateway import RedisGateway

PATIENCE = 20.0  # seconds after which a test fails


def pack(*commands):
    return b"".join([hiredis.pack_command(tuple(command.split())) for command in commands])


class Reader:
    """An AsyncRedis, its gateway, and the event loop that runs both."""

    def __init__(self, alias):
        self.loop = asyncio.new_event_loop()
        self.gateway = RedisGateway(alias)
        self.gateway.deliver_with(lambda: None)
        self.redis = AsyncRedis(self.gateway, self.loop, alias)

    def run(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, PATIENCE))

    def send(self, *commands):
        """Send commands; return the future of the run_id and the replies."""
        future = self.loop.create_future()
        self.redis.read(pack(*commands), len(commands), lambda *answer: future.set_result(answer))
        return future

    def read(self, *commands):
        async def read():
            return await self.send(*commands)

        return self.run(read())

    def connect(self):
        """Connect as the first read does."""

        async def connected():
            if self.redis._transport is None:
                assert self.send("PING").result() == (b"", None)
                await self.redis._connecting

        self.run(connected())
        return self

    def recover(self):
        """Do what a thread does after a failure."""
        self.gateway.flush_pending()
        self.gateway.ping()

    async def gone(self):
        """Wait until the protocol has lost its connection."""
        lost = asyncio.Event()
        whole = self.redis.connection_lost
        self.redis.connection_lost = lambda error: (whole(error), lost.set())
        await lost.wait()

    def close(self):
        self.redis.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run(asyncio.sleep(0))
        self.loop.close()


@pytest.fixture
def reader(redis_server, settings):
    timeouts = replace(settings.PCF.timeouts, cache=0.2)
    settings.PCF = replace(settings.PCF, timeouts=timeouts)
    reader = Reader(redis_server.alias)
    yield reader
    reader.close()


@pytest.fixture
def connected(reader):
    return reader.connect()


def test_the_first_read_gets_none_and_opens_the_connection(reader):
    assert reader.read("PING") == (b"", None)
    reader.connect()
    run, replies = reader.read("PING")
    assert replies == [b"PONG"]
    assert len(run) == 8


def test_reads_of_one_turn_get_their_replies_in_order(connected, redis_server):
    with redis_server.client() as client:
        client.mset({f"key{number}": number for number in range(50)})

    async def read():
        futures = [
            connected.send(f"GET key{number}", "PTTL nothing", f"GET key{number + 1}")
            for number in range(49)
        ]
        return await asyncio.gather(*futures)

    answers = connected.run(read())
    assert [replies for _, replies in answers] == [
        [b"%d" % number, -2, b"%d" % (number + 1)] for number in range(49)
    ]


@pytest.mark.parametrize("data", [b"+PONG\r\n" * 3, b"nonsense\r\n"])
def test_a_callback_that_fails_ends_no_other_read(reader, data, caplog):
    answers = []
    reader.redis._transport = Mock()
    reader.redis.read(b"", 1, lambda _, replies: answers.append(replies))
    reader.redis.read(b"", 1, lambda *_: 1 / 0)
    reader.redis.read(b"", 1, lambda _, replies: answers.append(replies))
    reader.redis.data_received(data)
    assert answers == ([[b"PONG"]] * 2 if data.startswith(b"+") else [None, None])
    assert "ZeroDivisionError" in caplog.text


def test_the_run_id_is_that_of_the_server(connected, redis_server):
    with redis_server.client() as client:
        expected = client.info("server")["run_id"][:8].encode()
    assert connected.read("PING")[0] == expected


@pytest.mark.parametrize("cuts", [(), (3,), (1, 2, 9, 10, 20)])
def test_replies_arrive_in_any_pieces_and_pushes_are_ignored(reader, cuts):
    answers = []
    reader.redis._transport = Mock()
    for _ in range(2):
        reader.redis.read(b"", 2, lambda _, replies: answers.append(replies))
    data = b"$1\r\na\r\n:1\r\n>2\r\n+x\r\n+y\r\n*1\r\n$1\r\nb\r\n$-1\r\n"
    for begin, end in pairwise([0, *cuts, len(data)]):
        reader.redis.data_received(data[begin:end])
    assert answers == [[b"a", 1], [[b"b"], None]]


@pytest.mark.parametrize("data", [b"nonsense\r\n", b"+PONG\r\n:1\r\n"])
def test_an_unexpected_or_malformed_reply_closes_the_connection(reader, data):
    answers = []
    reader.redis._transport = transport = Mock()
    if data.startswith(b"nonsense"):
        reader.redis.read(b"", 1, lambda _, replies: answers.append(replies))
    else:
        reader.redis.read(b"", 1, lambda *_: None)
    reader.redis.data_received(data)
    transport.abort.assert_called_once_with()
    assert reader.redis._transport is None
    assert reader.gateway.has_pending, "the gateway learns of the failure"
    assert answers == ([None] if data.startswith(b"nonsense") else [])


def test_an_error_reply_makes_one_read_fail_and_no_other(connected, redis_server):
    with redis_server.client() as client:
        client.lpush("list", 1)

    async def read():
        return await asyncio.gather(
            connected.send("PING"),
            connected.send("PING", "GET list"),
            connected.send("PING"),
        )

    good, bad, after = (replies for _, replies in connected.run(read()))
    assert (good, bad, after) == ([b"PONG"], None, [b"PONG"])
    assert connected.gateway.has_pending
    transport = connected.redis._transport
    connected.recover()
    assert connected.read("PING")[1] == [b"PONG"]
    assert connected.redis._transport is transport


def test_reads_of_a_silent_server_fail_and_its_late_reply_is_dropped(connected, redis_server):
    with redis_server.client() as client:
        client.mset({"one": 1, "two": 2})
    redis_server.freeze()

    async def read():
        return await asyncio.gather(connected.send("GET one"), connected.send("GET one"))

    assert connected.run(read()) == [(b"", None)] * 2
    assert connected.redis._transport is None
    assert connected.read("GET one") == (b"", None), "at once: the gateway knows of the failure"
    assert connected.redis._connecting is None
    redis_server.thaw()
    connected.recover()
    connected.connect()
    assert connected.read("GET two")[1] == [b"2"]


def test_a_server_that_answers_only_the_first_read_times_out_at_the_next(reader):
    """The time-out starts with a read, not with the connection."""
    answers = []
    reader.redis._transport = Mock()

    async def read():
        reader.redis.read(b"", 1, lambda _, replies: answers.append(replies))
        reader.redis.data_received(b":1\r\n")
        later = reader.loop.create_future()
        reader.redis.read(b"", 1, lambda _, replies: later.set_result(replies))
        return await later

    assert reader.run(read()) is None
    assert answers == [[1]]


def test_a_restarted_server_has_another_run_id(connected, redis_server):
    run, _ = connected.read("PING")
    redis_server.kill()
    redis_server.start()
    assert connected.read("PING") == (b"", None)
    connected.recover()
    connected.connect()
    again, replies = connected.read("PING")
    assert replies == [b"PONG"]
    assert again != run


def test_pending_reads_fail_when_the_server_dies(connected, redis_server):
    async def read():
        redis_server.freeze()
        future = connected.send("PING")
        redis_server.kill()
        return await future

    assert connected.run(read()) == (b"", None)
    assert connected.gateway.has_pending


def test_a_connection_without_pending_reads_ends_without_a_failure(connected, redis_server):
    async def die():
        waiting = asyncio.ensure_future(connected.gone())
        await asyncio.sleep(0)
        redis_server.kill()
        await waiting

    connected.run(die())
    assert connected.redis._transport is None
    assert not connected.gateway.has_pending


def test_a_refused_connection_is_a_failure_for_the_gateway(reader, redis_server):
    redis_server.kill()
    reader.connect()
    assert reader.redis._transport is None
    assert reader.gateway.has_pending
    assert reader.read("PING") == (b"", None)
    assert reader.redis._connecting is None, "the gateway admits no reads"
    redis_server.start()
    reader.recover()
    reader.connect()
    assert reader.read("PING")[1] == [b"PONG"]


def test_no_read_is_sent_while_writes_are_pending(connected):
    connected.gateway.add_pending()
    connected.redis._transport = Mock(wraps=connected.redis._transport)
    assert connected.read("PING") == (b"", None)
    connected.redis._transport.write.assert_not_called()
    connected.gateway.flush_pending()
    assert connected.read("PING")[1] == [b"PONG"]


def test_closing_resolves_pending_reads(connected, redis_server):
    redis_server.freeze()

    async def read():
        future = connected.send("PING")
        connected.redis.close()
        return await future

    assert connected.run(read()) == (b"", None)
    redis_server.thaw()


def test_closing_cancels_an_opening_connection(reader, redis_server):
    redis_server.freeze()

    async def close():
        reader.send("PING")
        connecting = reader.redis._connecting
        await asyncio.sleep(0)
        reader.redis.close()
        await asyncio.gather(connecting, return_exceptions=True)
        return connecting.cancelled()

    assert reader.run(close())
    assert reader.redis._connecting is None
    redis_server.thaw()


def test_an_unknown_class_of_connections_admits_no_reads(reader, monkeypatch):
    monkeypatch.setattr(redis_compat, "_ASYNC_CLASSES", {})
    reader.redis = AsyncRedis(reader.gateway, reader.loop, reader.gateway.alias)
    assert reader.read("PING") == (b"", None)
    assert reader.redis._connecting is None
