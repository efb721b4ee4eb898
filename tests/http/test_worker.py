"""The worker's own ways: sharing connections, threads that wait themselves, one segment."""

import os
import socket
from contextlib import ExitStack
from ssl import SSLSocket
from threading import Thread
from time import sleep
from unittest.mock import Mock

import pytest
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from pcf.http import counts as counting
from pcf.http import waiting
from pcf.http.counts import ConnectionCounts
from pcf.http.parsing import PlainParser
from pcf.http.worker import IDLE_AT_END, LOOK, TIDY, _has_begun
from tests.http.worker import HEAD, echo


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
def threads():
    """``threads(worker)`` has the worker's threads serve until the test is over."""
    with ExitStack() as stack:

        def start(worker):
            worker.method_queue.init()
            stack.callback(worker.method_queue.close)
            worker._jobs.put(worker.new_loop())
            for _ in range(worker.cfg.threads + 1):
                thread = Thread(target=worker._serve)
                thread.start()
                stack.callback(thread.join)
            stack.callback(worker.waiting.stop)

        yield start


def run_deferred(worker):
    """What the main thread does once a thread has left something to it."""
    while worker.method_queue._queue.empty():
        sleep(0.001)
    while not worker.method_queue._queue.empty():  # it is there before the byte that tells of it
        worker.method_queue.run_callbacks(None)


def test_an_answer_is_one_segment_and_its_body_is_there_with_the_head(serve):
    worker, conn, client = serve(echo)
    client.sendall(HEAD + b"body")
    assert worker.handle(conn) is True
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
    assert worker.handle(conn) is True
    answer = client.recv(10_000)
    assert answer.endswith(b"\r\n\r\nbody")
    assert b"X-Kind: Body" in answer


def test_requests_that_come_in_one_piece_are_all_answered(serve, threads):
    worker, conn, client = serve(echo)
    threads(worker)
    client.sendall(HEAD + b"one." + HEAD + b"two." + HEAD)
    worker.enqueue_req(conn)
    received = b""
    while received.count(b"HTTP/1.1 200 OK") < 2 or not received.endswith(b"two."):
        received += client.recv(10_000)
    client.sendall(b"last")
    assert client.recv(10_000).endswith(b"\r\n\r\nlast")


@pytest.mark.parametrize(("pending", "begun"), [(0, False), (5, True)])
def test_what_tls_has_decrypted_already_is_a_request_that_has_begun(pending, begun):
    """It makes no socket readable, so no poll would tell."""
    line = Mock(spec=SSLSocket, pending=lambda: pending)
    unreader = SocketUnreader(line)
    assert _has_begun(Mock(sock=line, parser=Mock(unreader=unreader))) is begun
    unreader.unread(b"GET")
    assert _has_begun(Mock(sock=line, parser=Mock(unreader=unreader))) is True


def test_a_kept_connection_goes_from_thread_to_thread_and_is_counted_when_it_ends(serve, threads):
    worker, conn, client = serve(echo)
    threads(worker)
    worker.nr_conns = 1
    worker.enqueue_req(conn)
    for body in (b"body", b"more"):
        client.sendall(HEAD + body)
        assert client.recv(10_000).endswith(body)
    assert worker.method_queue._queue.empty(), "the main thread has nothing to do with it"

    client.shutdown(socket.SHUT_WR)
    run_deferred(worker)
    assert (worker.nr_conns, len(worker.waiting)) == (0, 0)
    assert client.recv(10) == b""


def test_a_worker_that_ends_keeps_no_connection(serve, threads):
    worker, conn, client = serve(echo)

    def stop(environ, start):
        worker.alive = False
        return echo(environ, start)

    worker.wsgi = stop
    threads(worker)
    worker.nr_conns = 1
    worker.enqueue_req(conn)
    client.sendall(HEAD + b"body")
    assert client.recv(10_000).endswith(b"body")
    run_deferred(worker)
    assert (worker.nr_conns, len(worker.waiting)) == (0, 0)


def test_silent_clients_take_no_thread_from_others(serve, threads):
    worker, conn, client = serve(echo, threads=1)
    threads(worker)
    quiet = []
    for _ in range(5):
        ours, theirs = socket.socketpair()
        quiet.append((TConn(worker.cfg, ours, "", ""), theirs))
        worker.enqueue_req(quiet[-1][0])
    worker.enqueue_req(conn)
    client.sendall(HEAD + b"body")
    assert client.recv(10_000).endswith(b"body")
    assert len(worker.waiting) >= 5
    for silent, theirs in quiet:
        silent.sock.close()
        theirs.close()


@pytest.mark.parametrize(
    ("client", "scheme"),
    [(("127.0.0.1", 1), b"https"), (("192.0.2.1", 1), b"http"), ("", b"https")],
)
def test_headers_of_a_proxy_are_believed_from_those_whom_gunicorn_trusts(
    serve, threads, client, scheme
):
    def tell(environ, start):
        start("200 OK", [("Content-Length", str(len(environ["wsgi.url_scheme"])))])
        return [environ["wsgi.url_scheme"].encode()]

    worker, conn, ours = serve(tell)
    conn.client = client  # a path is that of a socket of the file system
    threads(worker)
    worker.enqueue_req(conn)
    for _ in range(2):
        ours.sendall(HEAD.replace(b"Host", b"X-Forwarded-Proto: https\r\nHost") + b"body")
        assert ours.recv(10_000).endswith(b"\r\n\r\n" + scheme)


def test_a_connection_is_told_to_block_once(serve, monkeypatch):
    worker, conn, client = serve(echo)
    worker.enqueue_req(conn)
    assert (os.get_blocking(conn.sock.fileno()), conn.sock.getblocking()) == (True, True)
    told = []
    monkeypatch.setattr(socket.socket, "setblocking", lambda *flag: told.append(flag))
    for _ in range(2):
        client.sendall(HEAD + b"body")
        assert worker.handle(conn) is True
    assert told == []
    conn.sock.setblocking(False)
    assert len(told) == 1


@pytest.mark.parametrize("error", [ValueError, SystemExit, OSError])
def test_a_thread_survives_whatever_goes_wrong(serve, threads, monkeypatch, error):
    worker, conn, client = serve(echo, threads=1)
    worker.nr_conns = 2
    whole = worker.handle
    monkeypatch.setattr(worker, "handle", Mock(side_effect=error("once")))
    broken, other = socket.socketpair()
    threads(worker)
    worker.enqueue_req(TConn(worker.cfg, broken, "", ""))
    other.sendall(b"x")
    run_deferred(worker)
    assert other.recv(10) == b"", "closed"
    assert worker.nr_conns == 1
    monkeypatch.setattr(worker, "handle", whole)
    worker.enqueue_req(conn)
    client.sendall(HEAD + b"body")
    assert client.recv(10_000).endswith(b"body")
    other.close()


def test_a_worker_whose_loop_fails_ends(serve, monkeypatch):
    worker, _, _ = serve(echo)
    monkeypatch.setattr(worker.waiting, "take", Mock(side_effect=OSError("no poll")))
    worker._jobs.put(worker.new_loop())
    worker._serve()
    assert worker.alive is False
    assert worker._jobs.get() is None, "the other threads are told"


def test_a_new_connection_that_is_closed_already_is_counted_once(serve):
    worker, conn, _ = serve(echo)
    worker.nr_conns = 1
    conn.sock.close()
    worker.enqueue_req(conn)
    assert (worker.nr_conns, len(worker.waiting)) == (0, 0)


@pytest.fixture
def clock(monkeypatch):
    """What the worker and its connections take for the time."""
    now = [1_000.0]
    monkeypatch.setattr(waiting, "monotonic", lambda: now[0])
    monkeypatch.setattr("pcf.http.worker.monotonic", lambda: now[0])
    return now


def test_clients_may_be_silent_for_as_long_as_the_settings_say(clock, serve):
    worker, conn, client = serve(echo)
    worker.nr_conns = 1
    worker.enqueue_req(conn)
    clock[0] += 74.5
    worker.murder_keepalived()
    assert worker.nr_conns == 1
    clock[0] += LOOK
    worker.murder_keepalived()
    assert (worker.nr_conns, len(worker.waiting)) == (0, 0)
    assert client.recv(10) == b""


def test_memory_is_given_back_now_and_then(clock, serve, monkeypatch):
    given = []
    monkeypatch.setattr("pcf.http.worker.give_back_memory", lambda: given.append(clock[0]))
    worker, _, _ = serve(echo)
    for _ in range(5):
        worker.notify()
        clock[0] += TIDY * 0.6
    assert given == [1_000.0 + TIDY * 1.2, 1_000.0 + TIDY * 2.4]


def test_a_worker_that_ends_closes_those_that_are_silent_for_a_moment(clock, serve):
    worker, conn, client = serve(echo)
    worker.nr_conns = 1
    worker.enqueue_req(conn)
    worker.alive = False
    clock[0] += LOOK / 2  # too early for a look
    worker.murder_keepalived()
    assert worker.nr_conns == 1
    clock[0] += max(LOOK, IDLE_AT_END)
    worker.murder_keepalived()
    assert (worker.nr_conns, len(worker.waiting)) == (0, 0)
    assert client.recv(10) == b""


def test_the_main_loop_of_a_worker_that_ends_looks_around(serve, monkeypatch):
    worker, _, _ = serve(echo)
    asked = []
    monkeypatch.setattr(
        ThreadWorker, "wait_for_and_dispatch_events", lambda _, timeout: asked.append(timeout)
    )
    worker.wait_for_and_dispatch_events(30)
    worker.alive = False
    worker.wait_for_and_dispatch_events(30)
    worker.wait_for_and_dispatch_events(0.1)
    assert asked == [30, LOOK, 0.1]


@pytest.mark.parametrize(
    "header", [("X-A", "b\r\nSet-Cookie: c"), ("X A", "b"), ("X-A", "\x00"), ("X-A\r\nY", "b")]
)
def test_headers_that_must_not_be_sent_are_not(serve, header):
    def split(_environ, start):
        start("200 OK", [header, ("Content-Length", "0")])
        return [b""]

    worker, conn, client = serve(split)
    client.sendall(HEAD + b"body")
    assert worker.handle(conn) is False
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
    assert worker.handle(conn) is True
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
    assert worker.handle(conn) is False
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
    assert worker.handle(conn) is False
    assert b"Connection: close" in client.recv(10_000)
    assert worker.alive == ("max_requests" not in given)


def test_gunicorns_own_access_log_is_gunicorns_business(serve, tmp_path):
    log = tmp_path / "access.log"
    worker, conn, client = serve(echo, accesslog=str(log), access_log_format="%(m)s %(U)s %(s)s")
    client.sendall(HEAD + b"body")
    assert worker.handle(conn) is True
    assert log.read_text() == "POST /graphql 200\n"


def test_an_error_of_a_plain_request_is_answered_as_any_other(serve):
    def broken_then_well(environ, start):
        if environ["wsgi.input"].read() == b"evil":
            raise ValueError
        start("204 No Content", [])
        return []

    worker, conn, client = serve(broken_then_well)
    for body, status, kept in (
        (b"well", b"204", True),
        (b"well", b"204", True),
        (b"evil", b"500", False),
    ):
        client.sendall(HEAD + body)
        assert worker.handle(conn) is kept
        assert client.recv(10_000).split()[1] == status
    assert type(conn.parser) is PlainParser
