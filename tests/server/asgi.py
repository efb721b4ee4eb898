"""Calling ASGI applications as a server does, on an event loop of the test's own."""

import asyncio
from http import HTTPStatus
from math import inf
from threading import enumerate as all_threads
from typing import Any

import pytest

from pcf.cache.stream import RedisStream
from pcf.schema import graphql_service
from pcf.server import application as applications
from pcf.server.application import Application
from pcf.server.pages import Pages
from tests.http.wsgi import Reply

PATIENCE = 30.0  # seconds after which a test has failed


def scope_of(environ: dict[str, Any]) -> dict[str, Any]:
    """The ASGI scope of the request that a WSGI environ tells of."""
    names = {"CONTENT_TYPE", "CONTENT_LENGTH"}
    headers = [
        (name.removeprefix("HTTP_").replace("_", "-").lower().encode(), value.encode("latin-1"))
        for name, value in environ.items()
        if name in names or name.startswith("HTTP_")
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": environ["PATH_INFO"],
        "raw_path": environ["PATH_INFO"].encode(),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": "",
        "headers": headers,
        "client": (environ["REMOTE_ADDR"], 50_000) if "REMOTE_ADDR" in environ else None,
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
    }


class Exchange:
    """One request, whose body comes in ``pieces``, and what was sent for it.

    With ``silent`` the client sends no more after them, and does not say that the body is whole.
    """

    def __init__(self, scope: dict[str, Any], *pieces: bytes, silent: bool = False) -> None:
        self.scope = scope
        self.sent: list[dict[str, Any]] = []
        self.answered = asyncio.Event()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, piece in enumerate(pieces or (b"",), 1):
            self.give(piece, more=silent or number < len(pieces))

    def give(self, piece: bytes, *, more: bool) -> None:
        """A piece of the body comes."""
        self._incoming.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def hang_up(self) -> None:
        """The client goes away."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        return await self._incoming.get()

    async def send(self, message: dict[str, Any]) -> None:
        kinds = [each["type"] for each in self.sent]
        if message["type"] == "http.response.start":
            assert kinds == []
        else:
            assert kinds[0] == "http.response.start"
            assert len(kinds) == 1 or self.sent[-1]["more_body"]
        self.sent.append(message)
        self.answered.set()

    async def run(self, application: Any) -> "Exchange":
        await application(self.scope, self.receive, self.send)
        return self

    @property
    def pieces(self) -> list[bytes]:
        """The body that was sent, piece by piece."""
        return [each["body"] for each in self.sent[1:]]

    @property
    def reply(self) -> Reply:
        """The whole answer."""
        start = self.sent[0]
        assert not self.sent[-1].get("more_body")
        pairs = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]
        assert len({name.lower() for name, _ in pairs}) == len(pairs)
        status = f"{start['status']} {HTTPStatus(start['status']).phrase}"
        return Reply(status, dict(pairs), b"".join(self.pieces))


class Service:
    """An ASGI application on a loop that runs in the test's thread, while the test waits for it."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.loop = asyncio.new_event_loop()
        self._before = set(all_threads())

    def run(self, awaitable: Any) -> Any:
        """What ``awaitable`` comes to."""

        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await awaitable

        return self.loop.run_until_complete(bounded())

    def call(self, environ: dict[str, Any]) -> Reply:
        """The answer to the request that a WSGI environ tells of."""
        return self.ask(scope_of(environ), environ["wsgi.input"].read())

    def ask(self, scope: dict[str, Any], *pieces: bytes, silent: bool = False) -> Reply:
        """The answer to a request whose body comes in ``pieces``."""
        exchange = self.run(self._exchange(scope, pieces, silent))
        reply: Reply = exchange.reply
        return reply

    async def _exchange(self, scope: Any, pieces: Any, silent: bool) -> Exchange:
        return await Exchange(scope, *pieces, silent=silent).run(self.application)

    def run_together(self, *exchanges: Exchange) -> None:
        """Have requests come at the same turn of the loop."""
        self.run(self._together(exchanges))

    async def _together(self, exchanges: Any) -> None:
        await asyncio.gather(*[exchange.run(self.application) for exchange in exchanges])

    def start(self) -> "Service":
        """Begin what a process has, as the server's lifespan does, and connect to Redis."""
        self.run(self._start())
        return self

    async def _start(self) -> None:
        stream = self.application._runtime().stream
        stream._connect()
        if stream._connecting is not None:
            await stream._connecting

    def close(self) -> None:
        """End it; its threads have ended afterwards."""
        started = getattr(self.application, "_started", None)
        if started is not None:
            started.close()
            self.application._started = None
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run(asyncio.sleep(0))
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        for thread in set(all_threads()) - self._before:
            if thread.name.startswith("pcf-") and thread.name[4:].isdigit():
                thread.join(PATIENCE)
                assert not thread.is_alive()


def call(service: Any, environ: dict[str, Any]) -> Reply:
    """As ``tests.http.wsgi.call``, of a service on a loop."""
    reply: Reply = service.call(environ)
    return reply


class CountingPages(Pages):
    """Django, and the scopes of the requests that reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached: list[dict[str, Any]] = []

    def respond(self, scope: Any, body: Any, arrival: Any) -> Any:
        self.reached.append(scope)
        return super().respond(scope, body, arrival)


@pytest.fixture
def serving(monkeypatch):
    """``serving(pages=..., make_service=...)``: an application that is ready for requests.

    Without the watch, whose lease may end while the test's thread has to wait for the processor.
    """
    monkeypatch.setattr(applications.watch, "start", lambda: None)
    services = []

    def make(pages=None, make_service=graphql_service, alias=None):
        if alias is not None:  # the Redis of this test
            own = lambda gate, loop: RedisStream(gate, loop, alias)  # noqa: E731
            monkeypatch.setattr(applications, "RedisStream", own)
        # what was counted is told with a look-up when a test says so
        monkeypatch.setattr(make_service()._cache.tally, "_due", inf)
        service = Service(Application(pages or CountingPages(), make_service))
        services.append(service)
        return service.start()

    yield make
    for service in services:
        service.close()


@pytest.fixture
def service(live_world, serving):
    """The whole service, which had a request before."""
    return serving()


@pytest.fixture
def pages(service):
    """Django behind ``service``."""
    return service.application._pages
