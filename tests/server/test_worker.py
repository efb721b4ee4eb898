"""gunicorn's worker with limits for connections, and the answers that clients get from it."""

import asyncio
import os
import resource
import signal
from contextlib import ExitStack
from threading import get_ident

import pytest
from gunicorn import glogging
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.config import Config
from gunicorn.workers.gasgi import ASGIWorker

from pcf.server import worker as module
from pcf.server.worker import (
    MEMORY_INTERVAL,
    SPARE_FILES,
    SWEEP_INTERVAL,
    ConnectionLimits,
    GuardedLoop,
    Worker,
    raise_file_limit,
)

PATIENCE = 8.0  # seconds after which a test has failed
HEAD = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


@pytest.fixture
def make():
    """``make(name=value, ...)``: a worker with these settings of gunicorn, and no loop yet."""
    with ExitStack() as stack:

        def begin(**given):
            config = Config()
            for name, value in {"keepalive": 75, **given}.items():
                config.set(name, value)
            worker = Worker(1, os.getppid(), [], None, 30, config, glogging.Logger(config))
            stack.callback(worker.tmp.close)
            worker.alive = True
            return worker

        yield begin


class Server:
    """A worker that listens, and a client of it."""

    def __init__(self, worker, application):
        self.worker = worker
        worker.loop = worker.loop or GuardedLoop()
        self.loop = worker.loop
        self.loop.backlog = 100
        worker.connections = self.loop.connections = ConnectionLimits(100, worker.cfg.keepalive)
        worker.asgi = worker.connections.guarded(application)

    def run(self, client):
        """Run ``await client(reader, writer)`` on a connection; ``reader`` has to end."""

        async def both():
            server = await self.loop.create_server(
                lambda: ASGIProtocol(self.worker), "127.0.0.1", 0
            )
            address = server.sockets[0].getsockname()
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(*address)
                found = await client(reader, writer)
                writer.close()
                server.close()
                await self.gone()
            return found

        return self.loop.run_until_complete(both())

    async def gone(self):
        """Wait until the worker has seen the end of its connections."""
        while len(self.worker.connections):
            self.worker.connections.sweep()
            await asyncio.sleep(0.001)


@pytest.fixture
def serve(make):
    """``serve(application)`` returns a server."""
    servers = []

    def begin(application, **given):
        servers.append(Server(make(**given), application))
        return servers[-1]

    yield begin
    for server in servers:
        pending = asyncio.all_tasks(server.loop)
        for task in pending:
            task.cancel()
        if pending:
            server.loop.run_until_complete(asyncio.wait(pending, timeout=PATIENCE))
        server.loop.close()


async def answer_of(reader):
    """Return the head and the body of an answer with a length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    (length,) = [line for line in head.splitlines() if line.lower().startswith("content-length")]
    return head, await reader.readexactly(int(length.split(":")[1]))


def asking(data, *, times=1):
    """Return a client that sends ``data`` and reads answers with a length."""

    async def ask(reader, writer):
        writer.write(data)
        return [await answer_of(reader) for _ in range(times)]

    return ask


async def last(reader, writer, data=HEAD + b"body"):
    """Return all data until the server closes its side."""
    writer.write(data)
    return await reader.read()


async def echo(_scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send(start(200, (b"Content-Length", str(len(body)).encode())))
    await send({"type": "http.response.body", "body": body})


def start(status, *headers):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def answering(status, headers, pieces):
    async def answer(_scope, receive, send):
        await receive()
        await send(start(status, *headers))
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return answer


def test_a_kept_connection_is_counted_until_its_client_disconnects(serve):
    server = serve(echo)

    async def client(reader, writer):
        for body in (b"one.", b"two."):
            writer.write(HEAD + body)
            assert (await answer_of(reader))[1] == body
            assert len(server.worker.connections) == 1
        (connection,) = server.worker.connections._open
        assert connection.is_idle
        assert connection.address == "127.0.0.1"

    server.run(client)
    assert len(server.worker.connections) == 0


def test_requests_in_one_segment_are_answered_in_order(serve):
    data = HEAD + b"one." + HEAD + b"two." + HEAD + b"last"
    answers = serve(echo).run(asking(data, times=3))
    assert [body for _, body in answers] == [b"one.", b"two.", b"last"]


def test_a_connection_is_busy_while_the_application_works(serve):
    seen = []

    async def application(*how):
        (connection,) = server.worker.connections._open
        seen.append(connection.is_idle)
        await echo(*how)

    server = serve(application)
    server.run(asking(HEAD + b"body"))
    assert seen == [False]


def test_a_client_that_closed_its_side_gets_its_answer_from_the_worker(serve):
    async def client(reader, writer):
        writer.write(HEAD + b"body")
        writer.write_eof()
        head, body = await answer_of(reader)
        return head, body

    head, body = serve(echo).run(client)
    assert head.startswith("HTTP/1.1 200 ")
    assert body == b"body"


def test_an_ending_worker_answers_and_closes(serve):
    server = serve(echo)

    async def client(reader, writer):
        writer.write(HEAD + b"one.")
        await answer_of(reader)
        server.worker.alive = False
        return await last(reader, writer)

    received = server.run(client)
    assert b"Connection: close" in received
    assert received.endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(
    "header",
    [(b"X-A", b"b\r\nSet-Cookie: c"), (b"X A", b"b"), (b"X-A", b"\x00"), (b"X-A\r\nY", b"b")],
)
def test_invalid_headers_are_not_sent(serve, header):
    application = answering(200, [header, (b"Content-Length", b"0")], [])
    received = serve(application).run(last)
    assert received.startswith(b"HTTP/1.1 500")
    assert b"Set-Cookie" not in received


@pytest.mark.parametrize(
    ("status", "headers", "pieces", "expected"),
    [
        (200, [], [b"a", b"b"], b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
        (200, [(b"Content-Length", b"2")], [b"a", b"b"], b"ab"),
        (200, [(b"Content-Length", b"100000")], [b"x" * 100_000], b"x" * 100_000),
        (204, [(b"Content-Length", b"0")], [], b""),
        (304, [(b"ETag", b'"a"')], [b""], b""),
    ],
)
def test_bodies_of_every_kind_are_sent_and_the_next_request_is_answered(
    serve, status, headers, pieces, expected
):
    async def client(reader, writer):
        heads = []
        for _ in range(2):
            writer.write(HEAD + b"body")
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            assert await reader.readexactly(len(expected)) == expected
        return heads

    for head in serve(answering(status, headers, pieces)).run(client):
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert (b"Content-Length" in head) is (bool(headers) and status == 200)


def test_the_answer_to_head_has_a_length_and_no_body(serve):
    application = answering(200, [(b"Content-Length", b"2")], [b"ab"])
    received = serve(application).run(
        lambda *how: last(*how, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    )
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Length: 2" in head
    assert body == b""


@pytest.mark.parametrize("headers", [[(b"Content-Length", b"2")], []])
def test_an_incomplete_answer_ends_the_connection(serve, headers):
    async def broken(_scope, receive, send):
        await receive()
        await send(start(200, *headers))
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise ValueError

    received = serve(broken).run(last)
    assert received.partition(b"\r\n\r\n")[2] in (b"a", b"1\r\na\r\n")


def test_an_unread_body_ends_the_connection_after_the_answer(serve):
    """The next bytes are the rest of the body."""

    async def refuse(_scope, _receive, send):
        await send(start(413, (b"Content-Length", b"0"), (b"Connection", b"close")))
        await send({"type": "http.response.body", "body": b""})

    data = HEAD.replace(b"4", b"9999999") + b"x" * 100_000
    received = serve(refuse).run(lambda *how: last(*how, data))
    assert received.startswith(b"HTTP/1.1 413 ")
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(("trusted", "scheme"), [("127.0.0.1", b"https"), ("192.0.2.1", b"http")])
def test_proxy_headers_count_from_addresses_that_gunicorn_trusts(serve, trusted, scheme):
    async def tell(scope, receive, send):
        told = scope["scheme"].encode()
        await receive()
        await send(start(200, (b"Content-Length", str(len(told)).encode())))
        await send({"type": "http.response.body", "body": told})

    data = HEAD.replace(b"Host", b"X-Forwarded-Proto: https\r\nHost") + b"body"
    server = serve(tell, forwarded_allow_ips=trusted)
    assert [body for _, body in server.run(asking(data))] == [scheme]


# --- the worker itself


@pytest.fixture
def signals():
    """Restore the signal handlers and the signal mask of this process."""
    numbers = {*ASGIWorker.SIGNALS, signal.SIGTERM}
    before = {number: signal.getsignal(number) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_worker_handles_a_signal_that_came_before_its_handlers(make, signals, monkeypatch):
    worker = make()
    worker._setup_event_loop()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.pthread_kill(get_ident(), signal.SIGTERM)  # to this thread

    worker.asgi, told = echo, asyncio.Event()
    monkeypatch.setattr(Worker, "handle_exit_signal", lambda _: told.set())

    def run(_):
        worker.loop.run_until_complete(asyncio.wait_for(told.wait(), PATIENCE))

    monkeypatch.setattr(ASGIWorker, "run", run)
    try:
        worker.init_signals()
        assert isinstance(worker.loop, GuardedLoop)
        assert worker.connections.keepalive == 75
        worker.run()
    finally:
        worker.loop.close()
        asyncio.set_event_loop(None)


def test_a_worker_sweeps_and_gives_memory_back_periodically(make, monkeypatch):
    now, given, swept, again = [1_000.0], [], [], []
    worker = make()
    monkeypatch.setattr(module, "monotonic", lambda: now[0])

    class Loop:
        def call_soon(self, function):
            again.append((0, function))

        def call_later(self, seconds, function):
            again.append((seconds, function))

        def run_in_executor(self, _executor, function):
            given.append((now[0], function))

    class Sweeping:
        fast_path_answers = 0

        def guarded(self, application):
            return ("guarded", application)

        def sweep(self):
            swept.append(now[0])

    worker.loop, worker.connections, worker.asgi = Loop(), Sweeping(), "application"
    monkeypatch.setattr(ASGIWorker, "run", lambda _: None)
    worker.run()
    assert worker.asgi == ("guarded", "application")
    for _ in range(5):
        seconds, sweep = again.pop()
        sweep()
        now[0] += MEMORY_INTERVAL * 0.6
    assert seconds == SWEEP_INTERVAL
    assert [time for time, _ in given] == [
        1_000.0 + MEMORY_INTERVAL * 1.2,
        1_000.0 + MEMORY_INTERVAL * 2.4,
    ]
    assert given[0][1] is module.give_back_memory
    assert len(swept) == 5


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "raised"),
    [
        (1_024, 1_000_000, 8_000 + SPARE_FILES, 8_000 + SPARE_FILES),
        (1_024, 4_096, 4_096, 4_096),
        (1_024, resource.RLIM_INFINITY, 8_000 + SPARE_FILES, 8_000 + SPARE_FILES),
        (100_000, 100_000, 100_000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 8_000 + SPARE_FILES, None),
    ],
)
def test_a_worker_raises_its_limit_of_file_descriptors_as_far_as_allowed(
    monkeypatch, soft, hard, allowed, raised
):
    told = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: told.append(limits))
    assert raise_file_limit() == allowed
    assert told == ([] if raised is None else [(raised, hard)])
