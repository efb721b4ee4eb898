"""The worker's own ways: sharing connections, waiting for the next request, one segment."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from selectors import DefaultSelector

import pytest
from gunicorn import glogging
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from pcf.http import counts as counting
from pcf.http.counts import ConnectionCounts
from pcf.http.watchdog import Watchdog
from pcf.http.worker import QUICK, Settings, Worker

HEAD = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


@pytest.fixture
def sleeps(monkeypatch):
    taken = []
    monkeypatch.setattr(counting, "sleep", taken.append)
    return taken


@pytest.mark.blocks("a connection that another worker may rather accept")
def test_a_worker_gives_way_to_those_with_fewer_connections(sleeps):
    counts = ConnectionCounts()
    counts.give_way(100)
    assert sleeps == [], "it is alone"
    counts.take(1, 5)
    counts.take(2, 4)
    for connections in (3, 4, 5):
        counts.give_way(connections)
    assert sleeps == []
    counts.give_way(6)
    assert sleeps == [counting.PAUSE]
    counts.leave(1)
    counts.leave(2)
    counts.give_way(100)
    assert sleeps == [counting.PAUSE], "the others are gone"


@pytest.fixture
def serve():
    """``serve(application)`` returns a worker, its connection and the client's end of it."""
    with ExitStack() as stack:

        def make(application, **given):
            config = Config()
            for name, value in {"keepalive": 75, "threads": 2, **given}.items():
                config.set(name, value)
            worker = Worker(1, os.getppid(), [], application, 30, config, glogging.Logger(config))
            stack.callback(worker.tmp.close)
            for handler in worker.log.access_log.handlers:
                stack.callback(handler.close)
            worker.cfg = Settings(config)
            worker.wsgi, worker.alive = application, True
            worker.watchdog = Watchdog()
            worker.prepare()
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.settimeout(10)
            theirs, address = listener.accept()
            stack.enter_context(theirs)
            conn = TConn(worker.cfg, theirs, address, listener.getsockname())
            return worker, conn, client

        yield make


def handle(worker, conn):
    worker._queued.append(None)
    return worker.handle(conn)


def echo(environ, start):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start(
        "200 OK",
        [("Content-Length", str(len(body))), ("X-Kind", type(environ["wsgi.input"]).__name__)],
    )
    return [body]


def test_an_answer_is_one_segment_and_its_body_is_there_with_the_head(serve):
    worker, conn, client = serve(echo)
    client.sendall(HEAD + b"body")
    assert handle(worker, conn) is True
    head, _, body = client.recv(10_000).partition(b"\r\n\r\n")
    assert body == b"body"
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert b"Connection: keep-alive" in lines
    assert b"X-Kind: BytesIO" in lines
    assert sum(line.startswith(b"Date: ") for line in lines) == 1


def test_a_body_that_comes_later_is_waited_for(serve):
    worker, conn, client = serve(echo)
    client.sendall(HEAD + b"bo")
    worker.wsgi = lambda environ, start: (client.sendall(b"dy"), echo(environ, start))[1]
    assert handle(worker, conn) is True
    answer = client.recv(10_000)
    assert answer.endswith(b"\r\n\r\nbody")
    assert b"X-Kind: Body" in answer


def test_the_next_request_is_answered_by_the_same_thread(serve):
    """And what came in one piece with the one before it is not lost."""
    worker, conn, client = serve(echo)
    worker._has_more = lambda _conn: False
    client.sendall(HEAD + b"one." + HEAD + b"two.")
    assert handle(worker, conn) is True
    assert handle(worker, conn) is True
    assert client.recv(10_000).count(b"HTTP/1.1 200 OK") == 2

    del worker._has_more
    answered = []

    def again(environ, start):
        if not answered:
            client.sendall(HEAD + b"next")
        answered.append(environ)
        return echo(environ, start)

    worker.wsgi = again
    client.sendall(HEAD + b"this")
    assert handle(worker, conn) is True
    assert len(answered) == 2


@pytest.mark.blocks("a client's next request, in the thread that answered")
def test_clients_that_took_their_time_are_not_waited_for(serve, monkeypatch):
    worker, conn, client = serve(echo)
    waited = []
    monkeypatch.setattr(worker, "_has_more", lambda _conn: waited.append(len(waited)))
    client.sendall(HEAD + b"one.")
    handle(worker, conn)
    client.sendall(HEAD + b"two.")
    handle(worker, conn)
    assert len(waited) == 2
    conn.answered -= QUICK
    client.sendall(HEAD + b"late")
    handle(worker, conn)
    assert len(waited) == 2
    client.sendall(HEAD + b"next")
    handle(worker, conn)
    assert len(waited) == 3


def test_a_thread_gives_its_connection_back_itself(serve):
    worker, conn, client = serve(echo)

    def stop(environ, start):
        worker.alive = False
        return echo(environ, start)

    worker.method_queue.init()
    with ThreadPoolExecutor(1) as worker.tpool, DefaultSelector() as worker.poller:
        worker.nr_conns = 1
        client.sendall(HEAD + b"body")
        worker.enqueue_req(conn)
        assert client.recv(10_000).endswith(b"body")
        worker.tpool.submit(int).result()  # it has finished with the connection
        assert list(worker.keepalived_conns) == [conn]
        assert worker.method_queue._queue.empty()

        client.sendall(HEAD + b"more")
        worker.wait_for_and_dispatch_events(10)
        assert client.recv(10_000).endswith(b"more")
        worker.tpool.submit(int).result()

        client.sendall(HEAD + b"last")
        worker.wsgi = stop
        worker.wait_for_and_dispatch_events(10)
        client.recv(10_000)
        worker.tpool.submit(int).result()
        assert not worker.keepalived_conns
        worker.method_queue.run_callbacks(None)
        assert worker.nr_conns == 0
    worker.method_queue.close()


def test_a_connection_that_the_selector_refuses_is_closed_and_counted_once(serve):
    worker, conn, client = serve(echo)
    worker.method_queue.init()
    with ThreadPoolExecutor(1) as worker.tpool:
        worker.poller = DefaultSelector()
        worker.poller.close()
        worker.nr_conns = 1
        client.sendall(HEAD + b"body")
        worker.enqueue_req(conn)
        assert client.recv(10_000).endswith(b"body")
        worker.tpool.submit(int).result()
        worker.method_queue.run_callbacks(None)
        assert (worker.nr_conns, list(worker.keepalived_conns)) == (0, [])
        assert client.recv(10) == b""
    worker.method_queue.close()


@pytest.mark.blocks("a client's next request, in the thread that answered")
def test_a_thread_waits_only_while_nobody_needs_it(serve):
    worker, conn, client = serve(echo)
    client.sendall(HEAD)
    assert worker._has_more(conn)
    worker._queued.append(None)
    assert not worker._has_more(conn), "a connection is waiting for a thread"
    worker._queued.clear()
    worker._spare.acquire()
    assert not worker._has_more(conn), "the only other thread waits already"
    worker._spare.release()
    assert worker._has_more(conn)
    worker.alive = False
    assert not worker._has_more(conn)
    worker.alive = True
    conn.sock.recv(10_000)
    assert not worker._has_more(conn), "a client that says nothing is waited for no longer"


@pytest.mark.parametrize(
    "header", [("X-A", "b\r\nSet-Cookie: c"), ("X A", "b"), ("X-A", "\x00"), ("X-A\r\nY", "b")]
)
def test_headers_that_must_not_be_sent_are_not(serve, header):
    def split(_environ, start):
        start("200 OK", [header, ("Content-Length", "0")])
        return [b""]

    worker, conn, client = serve(split)
    client.sendall(HEAD + b"body")
    assert handle(worker, conn) is False
    answer = client.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 400")  # gunicorn's word for it
    assert b"\r\nSet-Cookie" not in answer


@pytest.mark.parametrize(
    ("status", "headers", "pieces", "expected"),
    [
        ("200 OK", [], [b"a", b"b"], b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
        ("200 OK", [("Content-Length", "2")], [b"a", b"b"], b"ab"),
        ("200 OK", [("Content-Length", "100000")], [b"x" * 100_000], b"x" * 100_000),
        ("204 No Content", [("Content-Length", "0")], [], b""),
        ("304 Not Modified", [("ETag", '"a"')], [b""], b""),
    ],
)
def test_bodies_of_every_kind_arrive(serve, status, headers, pieces, expected):
    def answer(_environ, start):
        start(status, headers)
        return pieces

    worker, conn, client = serve(answer)
    client.sendall(HEAD + b"body")
    assert handle(worker, conn) is True
    received = b""
    while len(received.partition(b"\r\n\r\n")[2]) < len(expected) or not received:
        received += client.recv(200_000)
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == expected
    assert head.startswith(f"HTTP/1.1 {status}".encode())
    assert (b"Content-Length" in head) == (
        bool(headers) and status != "204 No Content" and "ETag" not in str(headers)
    )


def test_half_an_answer_ends_with_its_connection(serve):
    def broken(_environ, start):
        start("200 OK", [("Content-Length", "2")])
        yield b"a"
        raise ValueError

    worker, conn, client = serve(broken)
    client.sendall(HEAD + b"body")
    assert handle(worker, conn) is False
    received = b""
    while piece := client.recv(10_000):
        received += piece
    assert received.endswith(b"\r\n\r\na")


@pytest.mark.parametrize("given", [{"keepalive": 0}, {"max_requests": 1}])
def test_a_connection_ends_where_the_settings_say_so(serve, given):
    worker, conn, client = serve(echo, **given)
    if "max_requests" in given:
        worker.max_requests = 1
    client.sendall(HEAD + b"body")
    assert handle(worker, conn) is False
    assert b"Connection: close" in client.recv(10_000)
    assert worker.alive == ("max_requests" not in given)


def test_gunicorns_own_access_log_is_gunicorns_business(serve, tmp_path):
    log = tmp_path / "access.log"
    worker, conn, client = serve(echo, accesslog=str(log), access_log_format="%(m)s %(U)s %(s)s")
    client.sendall(HEAD + b"body")
    assert handle(worker, conn) is True
    assert log.read_text() == "POST /graphql 200\n"
