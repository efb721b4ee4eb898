"""The loop in front of the service: the answers that threads give, with one question to Redis."""

import re
import socket

import pytest

from pcf.database.statements import count_queries
from pcf.http import hits
from pcf.http.front import Front
from pcf.schema import graphql_service
from tests.conftest import make_note, token_for
from tests.http.looped import answer_of, request_of
from tests.http.wsgi import CountingDjango

NOTES = "{ notes { id title author { name } tags { name } } }"
TAGS = "{ tags { id name } }"


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
