"""The fast path of a real service: exact answers on kept connections, and none is lost."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.differential.raw_http import answers_in
from tests.end_to_end.bystanders import HIT, LIVEZ, graphql
from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.processes import UNBOUNDED, booted, replace_workers, wait_until
from tests.end_to_end.raw import TIMEOUT, port_of

OWN = {"date", "age", "x-request-id"}
NOTES = "{ notes(first: 20) { title isPublic author { id } } }"
SIGNED = graphql(NOTES, "Authorization: Bearer test-token")
GET = b"GET /graphql?query={tags{name}} HTTP/1.1\r\nHost: localhost\r\n\r\n"
REQUESTS = {"post": HIT, "get": GET, "signed": SIGNED, "unsigned": graphql(NOTES)}


@pytest.fixture(scope="module")
def single(server):
    """A service with one worker."""
    running = start(beside(server.environment, **UNBOUNDED, WORKERS="1"))
    yield running
    assert stop(running) == 0


def connect(server):
    return socket.create_connection(("127.0.0.1", port_of(server.url)), TIMEOUT)


def whole(received):
    head, end, body = received.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(end) and len(body) >= int(found[1])


def ask(client, *segments):
    """Return the next answer on an open connection."""
    for segment in segments:
        client.sendall(segment)
    received = b""
    while not whole(received):
        piece = client.recv(65_536)
        assert piece, received
        received += piece
    (answer,) = answers_in(received)
    return answer


def contents(answer):
    headers = sorted((name, value) for name, value in answer.headers if name not in OWN)
    return answer.version, answer.status, headers, answer.body, answer.whole


def hits(server):
    text = server.get("/metrics")[2].decode()
    return float(re.search(r"^response_cache_hits_total (\S+)", text, re.MULTILINE)[1])


def test_the_fast_path_answers_as_the_server_and_counts(single):
    for request in REQUESTS.values():
        named = request.replace(b"\r\nHost", b"\r\nX-Request-ID: same\r\nHost", 1)
        with connect(single) as client:
            for _ in range(6):
                ask(client, request)
            before = hits(single)
            answers = [ask(client, request) for _ in range(20)]
            assert hits(single) - before == 20
            assert len({answer.get("x-request-id") for answer in answers}) == 20
            expected = contents(ask(client, named))
            assert all(contents(answer) == expected for answer in answers)


def test_a_pipeline_of_recorded_requests_is_answered_in_order(single):
    with connect(single) as client:
        alone = [ask(client, request) for request in REQUESTS.values() for _ in range(5)]
    bodies = [answer.body for answer in alone[4::5]]
    order = [0, 1, 2, 3, 0, 3, 2, 1] * 5
    requests = list(REQUESTS.values())
    with connect(single) as client:
        for number in order:
            client.sendall(requests[number])
        client.shutdown(socket.SHUT_WR)
        received = b""
        while piece := client.recv(65_536):
            received += piece
    assert [answer.body for answer in answers_in(received)] == [bodies[n] for n in order]


def test_a_client_that_closes_its_side_gets_the_fast_paths_answer(single):
    with connect(single) as client:
        expected = [contents(ask(client, HIT)) for _ in range(5)][-1]
    for _ in range(20):
        with connect(single) as client:
            client.sendall(HIT)
            client.shutdown(socket.SHUT_WR)
            received = b""
            while piece := client.recv(65_536):
                received += piece
        (answer,) = answers_in(received)
        assert contents(answer) == expected


def test_a_write_invalidates_the_fast_paths_next_answer(single):
    created = single.post(
        'mutation { createNote(input: {title: "0", isPublic: true}) { note { id } } }',
        "test-token",
    )[2]
    key = created["data"]["createNote"]["note"]["id"]
    request = graphql(f'{{ note(id: "{key}") {{ title }} }}')
    with connect(single) as client:
        for number in range(10):
            values = f'id: "{key}", title: "{number}"'
            query = f"mutation {{ updateNote(input: {{{values}}}) {{ note {{ id }} }} }}"
            single.post(query, "test-token")
            for _ in range(5):
                assert ask(client, request).body == b'{"data":{"note":{"title":"%d"}}}' % number


def repeat(server, ends, begun):
    """Repeat a hit on kept connections; return the number of answers."""
    answered = 0
    client = connect(server)
    while not ends.is_set():
        answer = ask(client, HIT)
        assert answer.status == 200, answer
        answered += 1
        begun.set()
        if answer.get("connection") == "close":
            client.close()
            client = connect(server)
    client.close()
    return answered


def test_no_answer_of_the_fast_path_is_lost_while_workers_are_replaced(server):
    running = start(beside(server.environment, **UNBOUNDED, MAX_REQUESTS="2000"))
    ends, begun = Event(), [Event() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        try:
            busy = [pool.submit(repeat, running, ends, each) for each in begun]
            for each in begun:
                assert each.wait(TIMEOUT)
            wait_until(lambda: booted(running) >= 4)  # each after answers of the fast path
            replace_workers(running)
        finally:
            ends.set()
        assert min(each.result() for each in busy) > 0
    assert stop(running) == 0


def test_the_log_of_the_server_has_every_request(server):
    running = start(beside(server.environment, WORKERS="1", ACCESS_LOG="/dev/stderr"))
    with connect(running) as client:
        for _ in range(12):
            ask(client, HIT)
        ask(client, LIVEZ)
        wait_until(lambda: "GET /livez HTTP" in running.logged())
    assert running.logged().count('"POST /graphql HTTP/1.1" 200') == 12
    assert stop(running) == 0
