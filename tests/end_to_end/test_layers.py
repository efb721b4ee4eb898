"""Each layer's deadline in turn, on a worker with a single thread.

The next request of each test shows that the thread is free, and that its connection and its queue
of promises are clean.
"""

import json
import re
import socket
import uuid
from contextlib import suppress

import psycopg
import pytest

from tests.end_to_end.conftest import start, stop

FINE = "{ fine }"
HEAD = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


LIMITS = {
    "PCF_TIMEOUTS_HTTP": "3",
    "PCF_TIMEOUTS_GRAPHQL": "2",
    "PCF_TIMEOUTS_DATABASE": "1",
    "PCF_TIMEOUTS_MIN_DATABASE_BUDGET": "0.2",
    "PCF_TIMEOUTS_HEAD": "2",
    "PCF_SERVER_WRITE": "2",
    "PCF_REQUESTS_MAX_RESPONSE_BYTES": "100000000",
}


@pytest.fixture(scope="module")
def stubborn(server):
    """A service with blocking resolvers, on the migrated database of the shared service."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    own = {
        **server.environment,
        **LIMITS,
        "DJANGO_SETTINGS_MODULE": "tests.end_to_end.stubborn.settings",
        "PORT": port,
        "WORKERS": "1",
        "THREADS": "1",
    }
    running = start(own)
    yield running
    stop(running)


@pytest.fixture
def ask(stubborn):
    """``ask(...)`` returns an answer; the next, harmless request has to work at once."""

    def post(query, **headers):
        answer = stubborn.post(query, **headers)
        assert stubborn.post(FINE)[::2] == (200, {"data": {"fine": 1}})
        return answer

    return post


@pytest.fixture
def connect(stubborn):
    """``connect()`` returns a connection to the service for a misbehaving client."""
    opened = []

    def open_one(**options):
        client = socket.socket()
        opened.append(client)
        for name, value in options.items():
            client.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        client.settimeout(30)
        client.connect(("127.0.0.1", int(stubborn.url.rpartition(":")[2])))
        return client

    yield open_one
    for client in opened:
        client.close()


def timed_out(layer, limit):
    return {"code": "TIMEOUT", "layer": layer, "limit": limit}


def test_database(ask, stubborn, own_database):
    name = f"sleeper-{uuid.uuid4()}"
    status, _, answer = ask(f'{{ sleeping(name: "{name}") fine }}')
    assert status == 200
    assert answer["data"] == {"sleeping": None, "fine": 1}
    [error] = answer["errors"]
    assert (error["path"], error["extensions"]) == (["sleeping"], timed_out("database", 1))
    assert "time limit reached at sleeping (statement " in stubborn.logged()
    with psycopg.connect(own_database) as other:
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> %s"
        values = [f"%{name}%", other.info.backend_pid]
        assert other.execute(running + " AND state <> 'idle'", values).fetchone() == (0,)


def test_client(ask):
    status, _, answer = ask('{ fine sleeping(name: "x") }', **{"X-Request-Timeout": "1"})
    assert (status, answer["data"]) == (200, {"sleeping": None, "fine": 1})
    assert answer["errors"][0]["extensions"] == timed_out("client", 1)


def test_graphql_while_rows_are_completed(ask, stubborn):
    status, headers, answer = ask("{ fine rows { value } }")
    assert status == 504
    assert headers["Content-Type"].startswith("application/json")
    assert [e["extensions"] for e in answer["errors"]] == [timed_out("graphql", 2)]
    assert "data" not in answer
    assert re.search(r"time limit reached at rows\.\d+\.value", stubborn.logged())


@pytest.mark.blocks("a resolver that computes without end", at_least=2.5, within=15)
def test_http_while_a_resolver_computes_without_returning(stubborn, tmp_path):
    """The client gets its answer while the thread is busy; later the thread is free."""
    done = tmp_path / "done"
    try:
        status, headers, answer = stubborn.post(f'{{ computing(until: "{done}") }}')
    finally:
        done.touch()
    assert (status, headers["Connection"]) == (504, "close")
    assert [e["extensions"] for e in answer["errors"]] == [timed_out("http", 3)]
    assert "a thread is busy past its request's deadline" in stubborn.logged()
    assert "in resolve_computing" in stubborn.logged()
    assert stubborn.post(FINE)[2] == {"data": {"fine": 1}}


@pytest.mark.blocks("the body of a request", at_least=2, within=20)
@pytest.mark.parametrize("kept", [False, True])
def test_http_while_a_client_sends_its_body_slowly(ask, connect, kept):
    client = connect()
    if kept:
        answered(client)
    client.sendall(HEAD + b"Content-Length: 999\r\n\r\n")
    dribble(client, b"{")
    assert client.recv(100).startswith(b"HTTP/1.1 408")
    ask(FINE)


@pytest.mark.blocks("the head of a request", at_least=1.5, within=20)
@pytest.mark.parametrize("kept", [False, True])
def test_http_while_a_client_sends_its_head_slowly(ask, connect, kept):
    client = connect()
    if kept:
        answered(client)
    client.sendall(HEAD)
    dribble(client, b"X-Filler: x\r\n")
    assert client.recv(100) == b""
    ask(FINE)


def answered(client):
    """Return a request to send first: gunicorn parses later ones by other code."""
    body = json.dumps({"query": FINE}).encode()
    client.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    assert client.recv(100_000).startswith(b"HTTP/1.1 200")


def dribble(client, piece):
    """Send ``piece`` again and again until the service answers or hangs up."""
    client.settimeout(0.1)
    for _ in range(300):
        try:
            client.sendall(piece)
            client.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            continue
        except ConnectionError:
            break
        break
    client.settimeout(30)


@pytest.mark.blocks("writing the response", at_least=1.5, within=30)
def test_http_while_a_client_does_not_read(stubborn, ask, connect):
    client = connect(SO_RCVBUF=4096)
    body = b'{"query": "{ large }"}'
    client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert client.recv(12) == b"HTTP/1.1 200"
    ask(FINE)
    while b'http_connections_ended_total{limit="unread"} 1.0' not in stubborn.get("/metrics")[2]:
        pass
    received = 0
    with suppress(ConnectionResetError):
        while data := client.recv(1 << 20):
            received += len(data)
    assert received < 40_000_000
