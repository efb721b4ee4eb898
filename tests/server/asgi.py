"""Calls of ASGI applications as a server makes them, on the test's own event loop."""

import asyncio
from http import HTTPStatus
from math import inf
from threading import enumerate as all_threads
from typing import Any

import pytest

from pcf.cache.async_redis import AsyncRedis
from pcf.project.schema import graphql_service
from pcf.server import application as applications
from pcf.server.application import Application
from pcf.server.django_handler import DjangoHandler
from tests.http.wsgi import Reply

PATIENCE = 30.0  # seconds after which a test has failed


def scope_of(environ: dict[str, Any]) -> dict[str, Any]:
    """Return the ASGI scope of the request in a WSGI environ."""
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
    """One request, whose body comes in ``pieces``, and the messages sent as its answer.

    With ``silent`` the client sends the pieces and then neither more data nor an end.
    """

    def __init__(self, scope: dict[str, Any], *pieces: bytes, silent: bool = False) -> None:
        self.scope = scope
        self.sent: list[dict[str, Any]] = []
        self.answered = asyncio.Event()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, piece in enumerate(pieces or (b"",), 1):
            self.give(piece, more=silent or number < len(pieces))

    def give(self, piece: bytes, *, more: bool) -> None:
        """Receive a piece of the body."""
        self._incoming.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def hang_up(self) -> None:
        """Disconnect the client."""
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
        """The pieces of the answer's body."""
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
        """Return the result of ``awaitable``."""

        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await awaitable

        return self.loop.run_until_complete(bounded())

    def call(self, environ: dict[str, Any]) -> Reply:
        """Return the answer to the request in a WSGI environ."""
        return self.ask(scope_of(environ), environ["wsgi.input"].read())

    def ask(self, scope: dict[str, Any], *pieces: bytes, silent: bool = False) -> Reply:
        """Return the answer to a request whose body comes in ``pieces``."""
        exchange = self.run(self._exchange(scope, pieces, silent))
        reply: Reply = exchange.reply
        return reply

    async def _exchange(self, scope: Any, pieces: Any, silent: bool) -> Exchange:
        return await Exchange(scope, *pieces, silent=silent).run(self.application)

    def run_together(self, *exchanges: Exchange) -> None:
        """Send requests in the same turn of the event loop."""
        self.run(self._together(exchanges))

    async def _together(self, exchanges: Any) -> None:
        await asyncio.gather(*[exchange.run(self.application) for exchange in exchanges])

    def start(self) -> "Service":
        """Start the process state, as the lifespan does, and connect to Redis."""
        self.run(self._start())
        return self

    async def _start(self) -> None:
        redis = self.application._start_process().redis
        redis._connect()
        if redis._connecting is not None:
            await redis._connecting

    @staticmethod
    async def _cancel_tasks() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """End the process state and its threads."""
        process = getattr(self.application, "_process", None)
        if process is not None:
            process.close()
            self.application._process = None
        self.run(self._cancel_tasks())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        for thread in set(all_threads()) - self._before:
            if thread.name.startswith("pcf-") and thread.name[4:].isdigit():
                thread.join(PATIENCE)
                assert not thread.is_alive()


def call(service: Any, environ: dict[str, Any]) -> Reply:
    """Return the answer of a service on an event loop; the twin of ``tests.http.wsgi.call``."""
    reply: Reply = service.call(environ)
    return reply


class CountingHandler(DjangoHandler):
    """Django's handler, and the scopes of the requests that reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached: list[dict[str, Any]] = []

    def respond(self, received: Any) -> Any:
        self.reached.append(received.scope)
        return super().respond(received)


@pytest.fixture
def serving(monkeypatch):
    """``serving(django_handler=..., make_service=...)`` returns a started service.

    The outbox relay does not run, because its lease may end while the test's thread waits for the
    processor.
    """
    monkeypatch.setattr(applications.outbox_relay, "start", lambda: None)
    services = []

    def make(django_handler=None, make_service=graphql_service, alias=None):
        if alias is not None:  # a Redis of the test
            own = lambda gate, loop: AsyncRedis(gate, loop, alias)  # noqa: E731
            monkeypatch.setattr(applications, "AsyncRedis", own)
        # no look-up reports the hit statistics unless a test makes them due
        monkeypatch.setattr(make_service()._cache.hit_statistics, "_due", inf)
        service = Service(Application(django_handler or CountingHandler(), make_service))
        services.append(service)
        return service.start()

    yield make
    for service in services:
        service.close()


@pytest.fixture
def service(live_world, serving):
    """The whole service, started."""
    return serving()


@pytest.fixture
def django_handler(service):
    """Django's handler behind ``service``."""
    return service.application._django_handler
