"""The whole service behind gunicorn's protocol on real sockets, in the process of the test."""

import asyncio
import os
import socket
import struct
from math import inf

import pytest
from gunicorn import glogging
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.config import Config

from pcf.cache.async_redis import AsyncRedis
from pcf.project.schema import graphql_service
from pcf.server import application as applications
from pcf.server import connection as connections
from pcf.server.application import Application
from pcf.server.worker import ConnectionLimits, GuardedLoop, Worker
from tests.differential.raw_http import answers_in
from tests.server.asgi import CountingHandler, Service

OWN = {"date", "age", "x-request-id"}  # headers that differ between two answers


def contents(answer):
    """Return what two answers to one request must share."""
    headers = sorted((name, value) for name, value in answer.headers if name not in OWN)
    return answer.version, answer.status, headers, answer.body, answer.whole


async def until(holds):
    """Let the event loop turn until ``holds()`` is true."""
    while not holds():  # noqa: ASYNC110 - a turn, not a time
        await asyncio.sleep(0)


class Client:
    """A client of ``wired`` that sends segments, which the server reads one by one."""

    def __init__(self, wired, reader, writer):
        self._wired, self._reader, self._writer = wired, reader, writer
        self.received = b""

    async def send(self, *segments):
        """Send segments; return once the server has read them."""
        for segment in segments:
            expected = self._wired.received + len(segment)
            await self.push(segment)
            await until(lambda expected=expected: self._wired.received >= expected)

    async def push(self, data):
        """Send data without waiting for the server."""
        self._writer.write(data)

    async def read(self, number):
        """Return the next answers, which must have a length."""
        answers = []
        for _ in range(number):
            head = await self._reader.readuntil(b"\r\n\r\n")
            (answer,) = answers_in(head)
            body = await self._reader.readexactly(int(answer.get("content-length")))
            answers += answers_in(head + body)
        return answers

    async def ask(self, *segments):
        """Return the answer to one request."""
        await self.send(*segments)
        (answer,) = await self.read(1)
        return answer

    async def rest(self):
        """Close this side; return all answers until the server closes."""
        self._writer.write_eof()
        return answers_in(await self._reader.read())

    async def until_closed(self):
        """Return all answers until the server closes."""
        return answers_in(await self._reader.read())

    def reset(self):
        """Disconnect with a reset, which the server sees at once."""
        own = self._writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.leave()

    def leave(self):
        self._writer.transport.abort()


class Wired:
    """The service, its connections, and the number of bytes that it has received."""

    def __init__(self, monkeypatch, **given):
        config = Config()
        for name, value in {"keepalive": 75, **given}.items():
            config.set(name, value)
        self.worker = worker = Worker(
            1, os.getppid(), [], None, 30, config, glogging.Logger(config)
        )
        worker.alive = True
        self.application = Application(CountingHandler(), graphql_service)
        self._service = Service(self.application)
        self._service.loop.close()
        self.loop = self._service.loop = worker.loop = GuardedLoop()
        self.loop.backlog = 100
        self.connections = ConnectionLimits(100, config.keepalive)
        worker.connections = self.loop.connections = self.connections
        worker.asgi = self.connections.guarded(self.application)
        self._service.start()
        self.received = 0
        receive = connections.ClientConnection.data_received

        def counted(connection, data):
            if not getattr(connection, "_replays", False):
                self.received += len(data)
            receive(connection, data)

        answer = connections.ClientConnection._send_answer

        def replaying(connection, *given):
            connection._replays = True  # the connection receives the held data again
            try:
                answer(connection, *given)
            finally:
                connection._replays = False

        monkeypatch.setattr(connections.ClientConnection, "data_received", counted)
        monkeypatch.setattr(connections.ClientConnection, "_send_answer", replaying)

    @property
    def stream(self):
        """The event loop's connection to Redis."""
        return self.application._process.redis

    @property
    def fast_path_answers(self):
        """The number of answers from the fast path."""
        return self.connections.fast_path_answers

    def run(self, *clients, host="127.0.0.1"):
        """Run ``await each(Client)`` for every client, each on its own connection.

        Returns what the last one returned.
        """
        return self._service.run(self._run(clients, host))

    async def _run(self, clients, host):
        server = await self.loop.create_server(
            lambda: ASGIProtocol(self.worker), "127.0.0.1", self._port()
        )
        self._address = server.sockets[0].getsockname()
        found, self._clients = None, []
        try:
            for client in clients:
                found = await client(await self.connect(host))
        finally:
            server.close()
            for client in self._clients:
                client.leave()
        await until(lambda: not len(self.connections))
        return found

    def _port(self):
        return self._address[1] if hasattr(self, "_address") else 0

    async def connect(self, host="127.0.0.1"):
        """Return another client."""
        opened = await asyncio.open_connection(*self._address, local_addr=(host, 0))
        self._clients.append(Client(self, *opened))
        return self._clients[-1]

    def ask(self, *segments):
        """Return the answer to one request on its own connection."""
        return self.run(lambda client: client.ask(*segments))

    def learn(self, *requests):
        """Ask until the fast path answers each of the requests."""
        for request in requests:
            for _ in range(4):
                answer = self.ask(request)
            before = self.fast_path_answers
            answer = self.ask(request)
            assert self.fast_path_answers == before + 1, request
            assert answer.get("cache-status") == "pcf; hit"

    def close(self):
        self._service.close()
        self.worker.tmp.close()


@pytest.fixture
def wire(monkeypatch):
    """``wire(**settings)``: the whole service under gunicorn's ``settings``.

    The outbox relay does not run, because its lease may end while the test's thread waits for the
    processor.
    """
    monkeypatch.setattr(applications.outbox_relay, "start", lambda: None)
    monkeypatch.setattr(graphql_service()._cache.hit_statistics, "_due", inf)
    all_wired = []

    def make(alias=None, **given):
        if alias is not None:  # a Redis of the test
            own = lambda gate, loop: AsyncRedis(gate, loop, alias)  # noqa: E731
            monkeypatch.setattr(applications, "AsyncRedis", own)
            monkeypatch.setattr(graphql_service()._cache.hit_statistics, "_due", inf)
        all_wired.append(Wired(monkeypatch, **given))
        return all_wired[-1]

    yield make
    for wired in all_wired:
        wired.close()


@pytest.fixture
def wired(live_world, wire):
    """The whole service."""
    return wire()
