"""Connections that wait for their clients, on each kind of poll."""

import os
import socket
from collections import Counter
from contextlib import ExitStack
from threading import Barrier, Thread
from time import monotonic

import pytest

from pcf.http.waiting import EpollPoll, SelectorPoll, WaitingConnections, make_poll


class Conn:
    """What the worker's connections have."""

    timeout = 0.0

    def __init__(self, sock):
        self.sock = sock


@pytest.fixture(params=[EpollPoll, SelectorPoll])
def waiting(request):
    connections = WaitingConnections(request.param())
    yield connections
    connections.stop()
    connections._poll.close()
    os.close(connections._stop)


@pytest.fixture
def connect():
    """``connect()`` returns a connection and the client's end of it."""
    with ExitStack() as stack:

        def make():
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            stack.enter_context(theirs)
            return Conn(ours), theirs

        yield make


def test_one_that_has_something_to_read_is_taken_once(waiting, connect):
    (first, client), (second, other) = connect(), connect()
    waiting.add(first, 10)
    waiting.add(second, 10)
    other.sendall(b"x")
    assert waiting.take() is second
    client.sendall(b"x")
    assert waiting.take() is first
    assert len(waiting) == 0
    waiting.add(first, 10)
    waiting.add(second, 10)  # what has not been read is found again
    assert {waiting.take(), waiting.take()} == {first, second}


def test_a_client_that_hangs_up_is_something_to_read(waiting, connect):
    conn, client = connect()
    waiting.add(conn, 10)
    client.close()
    assert waiting.take() is conn
    assert conn.sock.recv(1) == b""


def test_each_connection_goes_to_one_of_many_threads(waiting, connect):
    pairs = [connect() for _ in range(40)]
    taken = [[] for _ in range(8)]
    together = Barrier(9)

    def work(mine):
        together.wait()
        while (conn := waiting.take()) is not None:
            conn.sock.recv(1)
            mine.append(conn)
            waiting.add(conn, 10)

    threads = [Thread(target=work, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for conn, _ in pairs:
        waiting.add(conn, 10)
    together.wait()
    for _ in range(5):
        for _, client in pairs:
            client.sendall(b"x")
    deadline = monotonic() + 20
    while sum(map(len, taken)) < 200 and monotonic() < deadline:
        pass
    waiting.stop()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    counts = Counter(conn for mine in taken for conn in mine)
    assert counts == {conn: 5 for conn, _ in pairs}
    assert len(waiting) == 40


def test_those_whose_time_is_over_are_given_out_and_found_no_more(waiting, connect):
    (early, client), (late, other) = connect(), connect()
    waiting.add(early, 1)
    waiting.add(late, 100)
    now = monotonic()
    assert waiting.expire(now) == []
    assert waiting.expire(now + 2) == [early]
    assert len(waiting) == 1
    client.sendall(b"x")
    other.sendall(b"x")
    assert waiting.take() is late
    assert waiting.expire(now + 1_000) == []


def test_one_that_was_used_just_now_stays(waiting, connect):
    conn, client = connect()
    waiting.add(conn, 1)
    now = monotonic()

    class UsedMeanwhile(dict):
        def copy(self):
            before = dict(self)
            client.sendall(b"x")
            assert waiting.take() is conn
            conn.sock.recv(1)
            waiting.add(conn, 50)
            conn.timeout, self.later = 0.0, conn.timeout
            return before

        def pop(self, *key):
            if hasattr(self, "later"):
                conn.timeout = self.later
            return super().pop(*key)

    waiting._waiting = UsedMeanwhile(waiting._waiting)
    assert waiting.expire(now + 2) == []
    assert len(waiting) == 1
    client.sendall(b"y")
    assert waiting.take() is conn


def test_a_closed_socket_is_refused_and_does_not_stay(waiting, connect):
    conn, _ = connect()
    conn.sock.close()
    with pytest.raises((OSError, ValueError)):
        waiting.add(conn, 10)
    assert len(waiting) == 0


def test_the_number_of_a_closed_socket_may_come_again(waiting, connect):
    conn, _ = connect()
    waiting.add(conn, 0)
    number = conn.sock.fileno()
    assert waiting.expire(monotonic() + 1) == [conn]
    conn.sock.close()
    again, client = connect()
    assert again.sock.fileno() == number
    waiting.add(again, 10)
    client.sendall(b"x")
    assert waiting.take() is again


def test_stop_is_for_all_and_for_good(waiting, connect):
    ended = []
    threads = [Thread(target=lambda: ended.append(waiting.take())) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting.stop()
    waiting.stop()
    for thread in threads:
        thread.join(10)
    assert ended == [None] * 4
    assert waiting.take() is None


def test_linux_has_the_better_one():
    poll = make_poll()
    assert type(poll) is EpollPoll
    poll.close()


def test_one_may_be_taken_and_added_again_before_adding_it_has_returned(waiting, connect):
    """A quick thread has answered while the one that added the connection is still at it."""
    conn, client = connect()
    client.sendall(b"x")
    arm = waiting._poll.arm

    def arm_slowly(fd, *, known):
        arm(fd, known=known)
        waiting._poll.arm = arm
        assert waiting.take() is conn
        waiting.add(conn, 10)

    waiting._poll.arm = arm_slowly
    waiting.add(conn, 10)
    assert (len(waiting), waiting.take()) == (1, conn)
