"""The loop that answers hits: what it answers itself, and that nothing it hands on is lost."""

import json
import re
import socket
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from threading import Event, Thread
from types import SimpleNamespace

import pytest
from gunicorn.workers.gthread import TConn
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from pcf.database.statements import count_queries
from pcf.http import hits
from pcf.http.front import Answer, Front
from pcf.http.hit_loop import HitLoop
from pcf.schema import graphql_service
from tests.conftest import make_note, token_for
from tests.http.worker import serving
from tests.http.wsgi import CountingDjango

NOTES = "{ notes { id title author { name } tags { name } } }"
TAGS = "{ tags { id name } }"


def request_of(query, **headers):
    """The bytes of a POST."""
    body = json.dumps({"query": query}).encode()
    lines = ["POST /graphql HTTP/1.1", "Host: testserver", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer_of(client):
    """One whole answer, and nothing behind it: its head and its body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])
    body = b""
    while len(body) < length:
        body += client.recv(length - len(body))
    return head.decode("latin-1"), body


def beside(stack, function):
    """Call ``function`` in a thread, which has ended when ``stack`` is closed."""
    thread = Thread(target=function)
    thread.start()
    stack.callback(thread.join, 20)
    return thread


class Looped:
    """A worker whose loop and threads are the test's own thread."""

    def __init__(self, worker, conn, client, answerer, stack):
        self.worker, self.client, self.stack = worker, client, stack
        self.loop = HitLoop(worker, answerer)
        worker.method_queue.init()
        stack.callback(worker.method_queue.close)
        worker.nr_conns = 1
        worker.enqueue_req(conn)

    def connect(self):
        """Another client."""
        ours, theirs = socket.socketpair()
        self.stack.enter_context(theirs).settimeout(10)
        conn = TConn(self.worker.cfg, ours, ("127.0.0.1", 1), ("127.0.0.1", 80))
        self.stack.callback(lambda: conn.sock.close())
        self.worker.nr_conns += 1
        self.worker.enqueue_req(conn)
        return theirs

    def turn(self):
        """One turn of the loop; returns how many pieces of work it has left."""
        work = self.loop.turn(self.worker.waiting.take())
        if work is not None:
            self.worker.hand_on(work)
        return len(self.worker._jobs)

    def work(self):
        """Do what was handed on."""
        jobs = self.worker._jobs
        while len(jobs):
            self.worker._work(jobs.get())

    def close_ended(self):
        while not self.worker.method_queue._queue.empty():
            self.worker.method_queue.run_callbacks(None)

    def ask(self, data, client=None):
        """Send ``data`` and return the answer, and whether a thread made it."""
        client = client or self.client
        client.sendall(data)
        handed = self.turn()
        self.work()
        return *answer_of(client), bool(handed)


@pytest.fixture
def looped():
    """``looped(application)``: a worker with its loop, and the client of its first connection."""
    with ExitStack() as stack:
        make = stack.enter_context(serving())

        def begin(application, answerer=None, **given):
            worker, conn, client = make(application, **given)
            return Looped(worker, conn, client, answerer or application, stack)

        yield begin


@pytest.fixture
def service(looped, live_world, fresh_service):
    """The whole service on a connection that had a request before."""
    front = Front(CountingDjango(), graphql_service)
    running = looped(front)
    running.front = front
    running.ask(request_of(TAGS))
    return running


def learn(service, data, client=None):
    """Ask until the short way is known."""
    for _ in range(3):
        found = service.ask(data, client)
    return found


def without_clock(head):
    return re.sub(r"(?m)^(Age|Date): .*\n", "", head)


@pytest.mark.parametrize("query", [NOTES, TAGS])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Accept": "application/graphql-response+json"},
        {"Accept-Encoding": "gzip"},
        {"Origin": "https://app.example.org"},
        {"If-None-Match": "*"},
        {"Connection": "close"},
        {"Authorization": "Bearer ann"},
    ],
)
def test_the_loop_answers_as_a_thread_does(live_world, service, headers, query):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    if "Authorization" in headers:
        headers = {"Authorization": f"Bearer {token_for(live_world.ann)}"}
    data = request_of(query, X_Request_ID="same", **headers)
    service.loop._answerer = None
    for _ in range(3):
        client = service.connect()
        head, body, by_thread = service.ask(data, client)
    assert by_thread
    assert "Cache-Status: pcf; hit" in head

    service.loop._answerer = service.front
    client = service.connect()
    service.ask(request_of(TAGS), client)
    looped_head, looped_body, by_thread = service.ask(data, client)
    assert not by_thread
    assert (without_clock(looped_head), looped_body) == (without_clock(head), body)
    service.close_ended()
    if "Connection" in headers:
        assert client.recv(10) == b""


def test_hits_that_come_together_are_one_question_and_no_work_for_threads(service, commands):
    clients = [service.client, service.connect(), service.connect()]
    for client, query in zip(clients, (TAGS, NOTES, TAGS), strict=True):
        learn(service, request_of(query), client)
    commands.clear()
    with count_queries() as queries:
        for client, query in zip(clients, (TAGS, NOTES, TAGS), strict=True):
            client.sendall(request_of(query))
        assert service.turn() == 0
    answers = [answer_of(client)[1] for client in clients]
    assert (commands, queries.count) == (["read"], 0)
    assert answers[0] == answers[2] != answers[1]
    assert b"notes" in answers[1]
    assert len(service.worker.waiting) == 3


def test_viewers_that_come_together_get_each_their_own(live_world, service):
    users = live_world.ann, live_world.bob
    clients = [service.client, service.connect()]
    requests = [request_of(NOTES, Authorization=f"Bearer {token_for(user)}") for user in users]
    for client, data in zip(clients, requests, strict=True):
        learn(service, data, client)
    for client, data in zip(clients, requests, strict=True):
        client.sendall(data)
    assert service.turn() == 0
    ann, bob = (answer_of(client)[1].decode() for client in clients)
    assert "private of ann" in ann
    assert "private of ann" not in bob


def test_what_is_no_hit_any_more_is_asked_once_and_answered_by_a_thread(
    live_world, service, commands
):
    learn(service, request_of(NOTES))
    make_note(live_world.ann, "new")
    commands.clear()
    head, body, by_thread = service.ask(request_of(NOTES))
    assert by_thread
    assert "Cache-Status: pcf; fwd=miss; stored" in head
    assert b"new" in body
    assert commands == ["read", "EVALSHA", "EVALSHA"], "tried, looked up, stored"
    assert service.ask(request_of(NOTES))[2] is False


def test_a_revoked_token_is_refused(live_world, service):
    data = request_of(NOTES, Authorization=f"Bearer {token_for(live_world.ann)}")
    assert learn(service, data)[2] is False
    live_world.ann.is_active = False
    live_world.ann.save()
    head, _, by_thread = service.ask(data)
    assert by_thread
    assert head.startswith("HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "data",
    [
        request_of(TAGS, X_Request_Timeout="5"),
        request_of(TAGS, Cache_Control="no-store"),
        request_of(TAGS, Authorization="Basic x"),
        request_of(TAGS, Host="other.example.org").replace(b"Host: testserver\r\n", b"", 1),
        request_of(TAGS).replace(b"/graphql", b"/livez", 1),
        request_of(TAGS).replace(b"Host", b"HOST", 1).replace(b"/json", b"/xml", 1),
        request_of("{ tags { id } }"),
        request_of(TAGS).replace(b"POST /graphql", b"PUT /graphql"),
        b"nonsense\r\n\r\n",
    ],
)
def test_everything_else_is_handed_on(service, data):
    assert learn(service, request_of(TAGS))[2] is False
    service.client.sendall(data)
    assert service.turn() == 1
    service.work()
    assert service.client.recv(65_536).startswith(b"HTTP/1.1 ")


def test_what_is_too_heavy_to_be_asked_for_with_others_is_handed_on(service, monkeypatch):
    monkeypatch.setattr(hits, "LIGHT", 20)
    head, body, by_thread = learn(service, request_of(NOTES))
    assert "Cache-Status: pcf; hit" in head
    assert len(body) > 20
    assert by_thread


def test_a_frozen_redis_is_waited_for_once_and_then_left_to_threads(
    live_world, redis_server, service, commands
):
    data = request_of(NOTES)
    learn(service, data)
    redis_server.freeze()
    commands.clear()
    for _ in range(2):
        head, _, by_thread = service.ask(data)
        assert by_thread
        assert head.startswith("HTTP/1.1 200 ")
    assert commands.count("read") == 1, "the loop does not ask while Redis fails"
    redis_server.thaw()


def test_a_client_that_hangs_up_is_closed_and_one_that_only_listens_is_answered(service):
    data = request_of(TAGS)
    learn(service, data)
    service.client.sendall(data)
    service.client.shutdown(socket.SHUT_WR)
    assert service.turn() == 0
    assert b"tags" in answer_of(service.client)[1]
    assert service.turn() == 0
    service.close_ended()
    assert (service.worker.nr_conns, len(service.worker.waiting)) == (0, 0)
    assert service.client.recv(10) == b""


def test_a_worker_that_ends_says_so(service):
    learn(service, request_of(TAGS))
    service.worker.alive = False
    head, _, by_thread = service.ask(request_of(TAGS))
    assert not by_thread
    assert "Connection: close" in head
    service.close_ended()
    assert service.client.recv(10) == b""


def test_hits_count_for_when_a_worker_is_to_be_replaced(service):
    learn(service, request_of(TAGS))
    service.worker.nr, service.worker.max_requests = 0, 2
    assert "Connection: keep-alive" in service.ask(request_of(TAGS))[0]
    assert "Connection: close" in service.ask(request_of(TAGS))[0]
    assert service.worker.alive is False


# --- without the service: an answerer that knows what begins with "hit"


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
