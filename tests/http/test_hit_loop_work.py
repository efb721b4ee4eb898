"""What the loop leaves to threads is not lost; an answerer here knows what begins with "hit"."""

import socket
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from threading import Event
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from pcf.http.front import Answer
from pcf.http.hit_loop import HitLoop
from tests.http.looped import Looped, answer_of, beside
from tests.http.worker import serving


class Parrot:
    """Repeats bodies. As an answerer, and as the application behind it."""

    def __init__(self):
        self.size = 1
        self.asked = []
        self.lost = set()

    def recognise(self, environ):
        body = environ["wsgi.input"].getvalue()
        return SimpleNamespace(body=body) if body.startswith(b"hit") else None

    def answer(self, requests):
        self.asked.append(len(requests))
        return [
            None if each.body in self.lost else Answer("200 OK", *self._parts(each.body))
            for each in requests
        ]

    def _parts(self, body):
        body *= self.size
        return [("Content-Length", str(len(body)))], body

    def __call__(self, environ, start):
        headers, body = self._parts(environ["wsgi.input"].read())
        start("200 OK", headers)
        return [body]


def plain(body):
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture
def parrot():
    return Parrot()


@pytest.fixture
def repeating(looped, parrot):
    running = looped(parrot)
    running.ask(plain(b"first"))
    return running


def test_a_client_that_is_slow_to_take_its_answer_stops_nobody(repeating, parrot):
    conn = next(iter(repeating.worker.waiting._waiting.values()))
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    parrot.size = 1_000_000
    repeating.client.sendall(plain(b"hit"))
    assert repeating.turn() == 1, "the rest of the answer"
    with ExitStack() as stack:
        received = []
        thread = beside(stack, lambda: received.append(answer_of(repeating.client)))
        repeating.work()
        thread.join(20)
    assert received[0][1] == b"hit" * 1_000_000
    parrot.size = 1
    assert repeating.ask(plain(b"hit again"))[1:] == (b"hit again", False)


def test_a_client_that_never_takes_it_loses_its_connection(repeating, parrot, settings):
    settings.PCF = replace(
        settings.PCF, timeouts=replace(settings.PCF.timeouts, http=1.5, graphql=1.2, database=1.0)
    )
    parrot.size = 5_000_000
    repeating.client.sendall(plain(b"hit"))
    assert repeating.turn() == 1
    repeating.work()
    repeating.close_ended()
    assert repeating.worker.nr_conns == 0


@pytest.mark.parametrize("where", ["recognise", "answer"])
def test_what_goes_wrong_is_logged_and_costs_no_other_connection(
    repeating, parrot, monkeypatch, caplog, where
):
    other = repeating.connect()
    repeating.ask(plain(b"first"), other)

    def fail(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(parrot, where, fail)
        repeating.client.sendall(plain(b"hit"))
        other.sendall(b"POST / HTTP/1.1\r\n")
        repeating.turn()
        other.sendall(b"Host: x\r\nContent-Length: 3\r\n\r\nhit")
        repeating.work()
    assert "ZeroDivisionError" in caplog.text
    assert answer_of(other)[1] == b"hit"
    if where == "answer":
        assert answer_of(repeating.client)[1] == b"hit", "by a thread"
    assert repeating.ask(plain(b"hit"), other)[1:] == (b"hit", False)


def test_an_answer_that_cannot_be_sent_ends_its_connection(repeating, parrot, caplog):
    parrot._parts = lambda body: ([("X-A", "b\r\nX-B: c")], body)
    repeating.client.sendall(plain(b"hit"))
    repeating.turn()
    repeating.close_ended()
    assert repeating.worker.nr_conns == 0
    assert "InvalidHeader" in caplog.text


BODIES = [b"hit 1", b"hit 2", b"lost", b"hit lost", b"else", b""]


@trying(max_examples=60, deadline=None)
@given(
    sent=st.lists(st.sampled_from(BODIES), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 400), max_size=6),
    threads=st.integers(2, 4),
)
def test_however_requests_are_cut_into_pieces_all_are_answered_in_their_order(sent, cuts, threads):
    parrot = Parrot()
    parrot.lost = {b"hit lost"}
    data = b"".join(map(plain, [b"first", *sent]))
    ends = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    with ExitStack() as stack:
        make = stack.enter_context(serving())
        worker, conn, client = make(parrot)
        worker.method_queue.init()
        stack.callback(worker.method_queue.close)
        worker._jobs.put(HitLoop(worker, parrot))
        for _ in range(threads):
            beside(stack, worker._serve)
        stack.callback(worker.waiting.stop)
        worker.enqueue_req(conn)
        for begin, end in pairwise(ends):
            client.sendall(data[begin:end])
        assert [answer_of(client)[1] for _ in range(1 + len(sent))] == [b"first", *sent]


def test_while_all_threads_are_busy_hits_are_answered_and_no_more_work_is_begun():
    busy, free, begun = Event(), Event(), []
    parrot = Parrot()

    def application(environ, start):
        begun.append(environ["wsgi.input"].getvalue())
        if begun[-1] == b"slow":
            busy.set()
            assert free.wait(20)
        return parrot(environ, start)

    with ExitStack() as stack:
        worker, conn, client = stack.enter_context(serving())(application, threads=1)
        running = Looped(worker, conn, client, parrot, stack)
        others = [running.connect(), running.connect()]
        for each in (client, *others):
            running.ask(plain(b"first"), each)
        worker._jobs.put(HitLoop(worker, parrot))
        for _ in range(2):
            beside(stack, worker._serve)
        stack.callback(worker.waiting.stop)
        stack.callback(free.set)
        client.sendall(plain(b"slow"))
        assert busy.wait(20)
        others[0].sendall(plain(b"else"))
        for _ in range(3):
            others[1].sendall(plain(b"hit"))
            assert answer_of(others[1])[1] == b"hit"
        assert begun[3:] == [b"slow"]
        free.set()
        assert answer_of(client)[1] == b"slow"
        assert answer_of(others[0])[1] == b"else"
