"""A flood of connections: the longest idle one makes room, a busy one never does."""

import resource
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest

from tests.end_to_end.bystanders import LIVEZ, graphql
from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.processes import (
    UNBOUNDED,
    booted,
    cpu_seconds,
    ended,
    replace_workers,
    workers_of,
)
from tests.end_to_end.raw import TIMEOUT, port_of

FILES, FLOOD = 300, 600
SLOW = graphql("{ slowQuery(delay: 1.5) }")


def connect(server, source="127.0.0.1"):
    return socket.create_connection(
        ("127.0.0.1", port_of(server.url)), TIMEOUT, source_address=(source, 0)
    )


def kept(server, source="127.0.0.1"):
    """Return a connection that has had an answer."""
    client = connect(server, source)
    asked(client)
    return client


def asked(client):
    """Check that the connection is open."""
    client.sendall(LIVEZ)
    assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")


def is_closed(client):
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@contextmanager
def started(server, **changed):
    running = start(beside(server.environment, **UNBOUNDED, WORKERS="1", **changed))
    try:
        yield running
    finally:
        stop(running)


@pytest.fixture
def few_files(server):
    """A service whose only worker has a low limit of file descriptors."""
    with started(server) as running:
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        replace_workers(running)
        (worker,) = workers_of(running)
        assert resource.prlimit(worker, resource.RLIMIT_NOFILE) == (FILES, FILES)
        yield running


def test_more_connections_than_file_descriptors_end_no_worker(few_files):
    workers, starts = workers_of(few_files), booted(few_files)
    with ExitStack() as stack:
        for number in range(FLOOD):
            stack.enter_context(kept(few_files) if number % 2 else connect(few_files))
        assert few_files.get("/livez")[0] == few_files.get("/readyz")[0] == 200
        assert few_files.post("{ tags { id } }")[2]["data"]["tags"]
        before = cpu_seconds(few_files)
        time.sleep(1)
        assert cpu_seconds(few_files) - before < 0.8  # the worker does not spin
    assert few_files.get("/readyz")[0] == 200
    assert (workers_of(few_files), booted(few_files)) == (workers, starts)


def test_the_longest_idle_connection_of_an_address_makes_room(server):
    here, there = "127.0.0.2", "127.0.0.3"
    with ExitStack() as stack:
        running = stack.enter_context(started(server, PCF_SERVER_MAX_CONNECTIONS_PER_ADDRESS="3"))
        other = stack.enter_context(kept(running, there))
        first, second, third = (stack.enter_context(kept(running, here)) for _ in range(3))
        asked(first)
        fourth = stack.enter_context(kept(running, here))
        assert is_closed(second)
        for client in (other, first, third, fourth):
            asked(client)
        assert ended(running, "address") == 1

        for client in (first, third, fourth):
            client.sendall(SLOW)
        asked(other)
        asked(other)
        assert is_closed(stack.enter_context(connect(running, here)))  # the busy ones stay
        for client in (first, third, fourth):
            assert client.recv(65_536).endswith(b'{"data":{"slowQuery":1.5}}')
        asked(other)
        assert ended(running, "address") == 2


def test_the_longest_idle_connection_of_a_process_makes_room(server):
    with ExitStack() as stack:
        running = stack.enter_context(started(server, PCF_SERVER_MAX_CONNECTIONS="5"))
        clients = [stack.enter_context(kept(running, f"127.0.0.{n}")) for n in range(2, 7)]
        asked(clients[0])
        newest = stack.enter_context(kept(running))
        assert is_closed(clients[1])
        for client in (clients[0], *clients[2:], newest):
            asked(client)
        for client in (*clients[2:], newest):
            client.sendall(SLOW)
        asked(clients[0])
        asked(clients[0])
        with kept(running, "127.0.0.7") as late:  # it replaces the only idle one
            assert is_closed(clients[0])
            late.sendall(SLOW)
            for client in (*clients[2:], newest, late):
                assert client.recv(65_536).endswith(b'{"data":{"slowQuery":1.5}}')
            assert ended(running, "process") == 3  # the third made room for the client of /metrics
