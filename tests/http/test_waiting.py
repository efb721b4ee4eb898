"""Connections that wait for their clients, on each kind of poll."""

import os
import socket
from contextlib import ExitStack
from queue import SimpleQueue
from threading import Thread
from time import monotonic, sleep

import pytest

from pcf.http.waiting import AT_ONCE, EpollPoll, SelectorPoll, WaitingConnections, make_poll


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
    assert waiting.take() == [(second, False)]
    client.sendall(b"x")
    assert waiting.take() == [(first, False)]
    assert len(waiting) == 0
    waiting.add(first, 10)
    waiting.add(second, 10)  # what has not been read is found again
    assert {conn for conn, _ in waiting.take()} == {first, second}


def test_a_client_that_hangs_up_is_something_to_read(waiting, connect):
    conn, client = connect()
    waiting.add(conn, 10)
    client.close()
    assert [taken for taken, _ in waiting.take()] == [conn]
    assert conn.sock.recv(1) == b""


def test_one_that_was_read_to_its_end_waits_for_more(waiting, connect):
    conn, client = connect()
    waiting.add(conn, 10)
    for text in (b"one", b"two"):
        client.sendall(text)
        assert waiting.take() == [(conn, False)]
        assert conn.sock.recv(10) == text
        waiting.keep(conn, 10)
    assert len(waiting) == 1


def test_what_came_before_a_client_hung_up_does_not_hide_that_it_did(waiting, connect):
    """An edge tells once; who is told that the end was part of it has to have it told again."""
    conn, client = connect()
    waiting.add(conn, 10)
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    [(taken, rearm)] = waiting.take()
    assert taken is conn
    assert conn.sock.recv(100) == b"last words"
    if rearm:
        waiting.add(conn, 10)
    else:
        waiting.keep(conn, 10)
    assert [taken for taken, _ in waiting.take()] == [conn]
    assert conn.sock.recv(100) == b""


def test_many_that_came_at_once_are_taken_together(waiting, connect):
    pairs = [connect() for _ in range(AT_ONCE + 6)]
    for conn, client in pairs:
        waiting.add(conn, 10)
        client.sendall(b"x")
    first = waiting.take()
    assert len(first) == AT_ONCE
    assert {conn for conn, _ in first + waiting.take()} == {conn for conn, _ in pairs}


@pytest.fixture
def shared(waiting, connect):  # the threads end before its sockets are closed
    """What one thread takes, a list of what others read of it, and the threads."""
    taken, read = SimpleQueue(), []

    def work():
        while (conn := taken.get()) is not None:
            read.append(conn.sock.recv(1))  # a part of what is there
            waiting.add(conn, 10)

    def wait():
        while found := waiting.take():
            for conn, _ in found:
                taken.put(conn)
        for _ in range(8):
            taken.put(None)

    threads = [Thread(target=work) for _ in range(8)] + [Thread(target=wait)]
    for thread in threads:
        thread.start()
    yield read
    waiting.stop()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_one_thread_takes_what_many_add_again_and_nothing_is_missed(waiting, connect, shared):
    pairs = [connect() for _ in range(40)]
    for conn, _ in pairs:
        waiting.add(conn, 10)
    for _ in range(5):
        for _, client in pairs:
            client.sendall(b"x")
    deadline = monotonic() + 20
    while (len(shared) < 200 or len(waiting) < 40) and monotonic() < deadline:
        sleep(0.001)
    assert shared == [b"x"] * 200
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
    assert waiting.take() == [(late, False)]
    assert waiting.expire(now + 1_000) == []


def test_one_that_was_used_just_now_stays(waiting, connect):
    conn, client = connect()
    waiting.add(conn, 1)
    now = monotonic()

    class UsedMeanwhile(dict):
        def copy(self):
            before = dict(self)
            client.sendall(b"x")
            assert waiting.take() == [(conn, False)]
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
    assert waiting.take() == [(conn, False)]


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
    assert waiting.take() == [(again, False)]


def test_stop_is_for_all_and_for_good(waiting, connect):
    ended = []
    threads = [Thread(target=lambda: ended.append(waiting.take())) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting.stop()
    waiting.stop()
    for thread in threads:
        thread.join(10)
    assert ended == [[]] * 4
    assert waiting.take() == []


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
        assert waiting.take() == [(conn, False)]
        waiting.add(conn, 10)

    waiting._poll.arm = arm_slowly
    waiting.add(conn, 10)
    assert (len(waiting), waiting.take()) == (1, [(conn, False)])
