"""redis-py: the undocumented parts that PCF uses (``pcf/_compat/redis.py``) are as they were."""

import asyncio
import socket

import pytest
import redis
from django_redis import get_redis_connection

from pcf._compat import redis as redis_compat

CHANGED = f"redis-py {redis.__version__} has changed what pcf/_compat/redis.py uses: "


@pytest.fixture
def pool():
    return get_redis_connection("default").connection_pool


def test_a_synchronous_connection_hands_over_its_socket(pool):
    opened = redis_compat.open_connection(pool)
    assert isinstance(opened.socket, socket.socket), CHANGED + "Connection._sock"
    assert b"run_id:" in opened.info, CHANGED + "Connection.read_response"
    assert opened.seconds == pool.connection_kwargs["socket_timeout"]
    opened.socket.sendall(b"PING\r\n")
    assert opened.socket.recv(64) == b"+PONG\r\n"


def test_the_owner_of_a_connection_closes_its_socket(pool):
    opened = redis_compat.open_connection(pool)
    opened.owner.disconnect()
    assert opened.socket.fileno() == -1, CHANGED + "Connection._sock"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NOSCRIPT No matching script.", redis.exceptions.NoScriptError),
        ("READONLY You can't write against a read only replica.", redis.exceptions.ReadOnlyError),
        ("OOM command not allowed", redis.exceptions.OutOfMemoryError),
        ("ERR unknown command", redis.exceptions.ResponseError),
    ],
)
def test_an_error_reply_is_an_exception_of_redis_py(text, expected):
    assert type(redis_compat.parse_error(text)) is expected, CHANGED + "BaseParser.parse_error"


def test_an_asynchronous_connection_hands_over_its_transport(pool):
    async def connect():
        transport, info, owner = await redis_compat.connect(pool)
        reader = asyncio.StreamReader()
        transport.set_protocol(asyncio.StreamReaderProtocol(reader))
        transport.write(b"PING\r\n")
        reply = await reader.readline()
        transport.abort()
        del owner
        return transport, info, reply

    assert redis_compat.can_connect(pool)
    transport, info, reply = asyncio.run(asyncio.wait_for(connect(), 20))
    assert isinstance(transport, asyncio.Transport), CHANGED + "asyncio.Connection._writer"
    assert b"run_id:" in info
    assert reply == b"+PONG\r\n"
