"""Bytes and the end of the stream of a client connection, without a server behind it."""

import asyncio
from typing import Any

import pytest

from pcf.server.connection import SLICE_BYTES, ClientConnection
from pcf.server.worker import ConnectionLimits


class Transport:
    """The methods of a transport that a connection uses."""

    def __init__(self) -> None:
        self.is_closed = False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def is_reading(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        raise AssertionError("the server of this test answers nothing")

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True


class Inner(asyncio.Protocol):
    """A server's protocol that keeps its data, and closes after a number of pieces."""

    def __init__(self, most: int = 1_000) -> None:
        self.pieces: list[bytes] = []
        self._most = most

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        if len(self.pieces) == self._most:
            self._transport.close()


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def opened() -> tuple[ClientConnection, Transport]:
    transport = Transport()
    connection = ClientConnection(ConnectionLimits(10, 75.0), Inner)
    connection.connection_made(transport)
    connection.data_received(b"several requests")
    return connection, transport


@pytest.mark.parametrize("late", [0, 1, 3, 6])
def test_a_half_closed_connection_waits_for_the_next_request_of_a_pipeline(late):
    async def run() -> None:
        connection, transport = opened()
        connection.begin()
        assert connection.eof_received()
        for _ in range(100):
            connection.finish()
            await turns(late)
            connection.begin()
            assert not transport.is_closed
        await turns(100)
        assert not transport.is_closed
        connection.finish()
        await turns(100)
        assert transport.is_closed

    asyncio.run(run())


def test_a_client_may_close_its_side_between_two_requests_of_a_pipeline():
    async def run() -> None:
        connection, transport = opened()
        connection.begin()
        connection.finish()
        assert connection.eof_received()
        await turns(3)
        connection.begin()
        await turns(100)
        assert not transport.is_closed
        connection.finish()
        await turns(100)
        assert transport.is_closed

    asyncio.run(run())


def test_a_half_closed_connection_with_part_of_a_request_is_closed():
    async def run() -> None:
        connection, transport = opened()
        assert connection.eof_received()
        await turns(100)
        assert transport.is_closed

    asyncio.run(run())


def test_a_client_that_has_sent_nothing_is_disconnected_at_once():
    async def run() -> None:
        connection = ClientConnection(ConnectionLimits(10, 75.0), Inner)
        connection.connection_made(Transport())
        assert not connection.eof_received()

    asyncio.run(run())


def test_the_server_gets_large_data_in_slices():
    inner = Inner()
    connection = ClientConnection(ConnectionLimits(10, 75.0), lambda: inner)
    connection.connection_made(Transport())
    data = bytes(range(256)) * 1_000
    connection.data_received(data)
    connection.data_received(b"rest")
    assert b"".join(inner.pieces) == data + b"rest"
    assert max(map(len, inner.pieces)) == SLICE_BYTES < len(data)


def test_the_server_gets_no_data_after_it_closed_the_connection():
    inner = Inner(most=3)
    connection = ClientConnection(ConnectionLimits(10, 75.0), lambda: inner)
    connection.connection_made(Transport())
    connection.data_received(bytes(10 * SLICE_BYTES))
    assert len(inner.pieces) == 3
