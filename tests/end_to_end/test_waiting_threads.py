"""Waiting threads block no other request, and a full queue refuses at once."""

import json
import select
import socket
from contextlib import ExitStack

import psycopg
import pytest

from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.raw import port_of

SLOW = "{ slowQuery(delay: 60) }"  # the test ends it


@pytest.fixture(scope="module")
def narrow(server):
    """A service with one process of four threads and a queue of two requests."""
    running = start(
        beside(server.environment, WORKERS="1", THREADS="4", PCF_SERVER_MAX_QUEUED="2",
               PCF_TIMEOUTS_HTTP="90", PCF_TIMEOUTS_GRAPHQL="80", PCF_TIMEOUTS_DATABASE="70")
    )  # fmt: skip
    yield running
    stop(running)


def begin(stack, server, query):
    """Send a request on its own connection; return the connection."""
    body = json.dumps({"query": query}).encode()
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(server.url)), 30))
    client.sendall(
        b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body
    )
    return client


def rest(client):
    received = b""
    while piece := client.recv(65_536):
        received += piece
    return received


def busy(server):
    """Return the number of database connections in use."""
    text = server.get("/metrics")[2].decode()
    lines = [line for line in text.splitlines() if line.startswith("db_pool_connections{")]
    return sum(float(line.split()[-1]) for line in lines if 'state="in_use"' in line)


def end(server, slow):
    """Cancel sleeping statements until all these requests have answers; return the answers."""
    cancel = (
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE %s AND state = %s"
    )
    waiting = list(slow)
    with psycopg.connect(server.environment["DATABASE_URL"], autocommit=True) as connection:
        while waiting:
            connection.execute(cancel, ["%SELECT pg_sleep(%", "active"])
            answered = select.select(waiting, [], [], 0.1)[0]
            waiting = [client for client in waiting if client not in answered]
    return [rest(client) for client in slow]


def test_slow_queries_in_all_threads_but_one_block_no_other_request(narrow):
    with ExitStack() as stack:
        slow = [begin(stack, narrow, SLOW) for _ in range(3)]
        while busy(narrow) < 3:
            pass
        for number in range(1, 30):
            status, _, answer = narrow.post(f'{{ note(id: "{number}") {{ id }} }}')
            assert status == 200
            assert "errors" not in answer
        assert select.select(slow, [], [], 0)[0] == [], "the slow ones are still under way"
        for answer in end(narrow, slow):
            assert b'"path":["slowQuery"]' in answer


def test_a_full_queue_refuses_at_once_with_retry_after(narrow):
    with ExitStack() as stack:
        slow = [begin(stack, narrow, SLOW) for _ in range(6)]
        refused = []
        while not refused:
            client = begin(stack, narrow, "{ tags(first: 1) { id } }")
            if select.select([client], [], [], 0.5)[0]:
                refused.append(rest(client))
        head, _, body = refused[0].partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in head + b"\r\n"
        assert json.loads(body)["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        assert narrow.get("/livez")[0] == 200
        end(narrow, slow)
