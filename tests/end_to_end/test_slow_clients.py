"""Slow, silent and unreading clients take no resource from other clients."""

import json
import socket
import struct
from contextlib import ExitStack
from threading import Event, Thread

import pytest

from tests.end_to_end.bystanders import HIT, LIVEZ, graphql
from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.processes import UNBOUNDED, descriptors, ended, resident, wait_until
from tests.end_to_end.raw import TIMEOUT, port_of

LARGE = graphql(
    "{ users(first: 100) { id name notes { id title content createdAt updatedAt "
    "author { id name } tags { id name } } } }"
)
SLOW, UNREADING, SILENT = 100, 40, 2_300
RESET = struct.pack("ii", 1, 0)  # SO_LINGER, so that close sends a reset
PLATEAU = 5_000  # kilobytes
SHARE = 0.25  # of a crowd, where a small one is enough
BEGUN = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\n"
BODY = BEGUN + b"Content-Type: application/json\r\nContent-Length: 10000\r\n\r\n"
ROOMY = {**UNBOUNDED, "PCF_SERVER_MAX_CONNECTIONS_PER_ADDRESS": "0"}
HASTY = {
    **ROOMY,
    "PCF_TIMEOUTS_HEAD": "1",
    "PCF_SERVER_WRITE": "1",
    "PCF_SERVER_BODY_SILENCE": "1",
    "PCF_SERVER_LINGER": "1",
}


class Crowd:
    """Misbehaving clients of all kinds. A thread makes the slow ones send single bytes."""

    def __init__(self, server, stack, share=1.0):
        self._port = port_of(server.url)
        self._stack = stack
        heads, bodies, unreading, silent = (
            round(share * number) for number in (SLOW, SLOW, UNREADING, SILENT)
        )
        self.heads = [self._connected(BEGUN) for _ in range(heads // 2)]
        self.heads += [self._connected(LIVEZ) for _ in range(heads // 2)]
        for client in self.heads[heads // 2 :]:  # kept connections
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
            client.sendall(BEGUN)
        self.bodies = [self._connected(BODY) for _ in range(bodies)]
        self.unreading = [self._connected(LARGE * 20) for _ in range(unreading)]
        self.silent = [self._connected(b"") for _ in range(silent)]
        self.all = [*self.heads, *self.bodies, *self.unreading, *self.silent]
        self._end = Event()
        self._thread = Thread(target=self._dribble)
        self._thread.start()
        stack.callback(self._thread.join)
        stack.callback(self._end.set)

    def _connected(self, data):
        client = socket.socket()
        self._stack.callback(client.close)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.settimeout(TIMEOUT)
        client.connect(("127.0.0.1", self._port))
        client.sendall(data)
        return client

    def _dribble(self):
        while not self._end.wait(0.3):
            for client in [*self.heads, *self.bodies]:
                try:
                    client.send(b"X")
                except OSError:
                    continue  # the server closed it

    def open(self):
        """Return the number of open connections, except those with large requests."""
        return sum(is_open(client) for client in [*self.heads, *self.bodies, *self.silent])


def is_open(client):
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def closed(client):
    """Read until the server closes; return the answer, if any."""
    client.settimeout(TIMEOUT)
    received = b""
    try:
        while piece := client.recv(65_536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def test_other_clients_are_answered_while_the_crowd_is_connected(server):
    running = start(
        beside(
            server.environment,
            **ROOMY,
            PCF_TIMEOUTS_HEAD="60",
            PCF_SERVER_WRITE="60",
            PCF_SERVER_BODY_SILENCE="60",
            PCF_TIMEOUTS_HTTP="60",
        )
    )
    try:
        running.post(json.loads(LARGE.partition(b"\r\n\r\n")[2])["query"])
        with ExitStack() as stack:
            crowd = Crowd(running, stack)
            for _ in range(50):
                assert running.get("/livez")[0] == 200
                assert running.post("{ tags { id name } }")[2]["data"]["tags"]
            assert crowd.open() == 2 * SLOW + SILENT
            assert sum(map(is_open, crowd.unreading)) == UNREADING
    finally:
        stop(running)


@pytest.fixture(scope="module")
def hasty(server):
    """A service with limits of one second for slow clients."""
    running = start(beside(server.environment, **HASTY))
    running.post(json.loads(LARGE.partition(b"\r\n\r\n")[2])["query"])
    yield running
    stop(running)


def test_the_crowd_is_disconnected_when_its_time_is_over(hasty):
    with ExitStack() as stack:  # the service starts its threads and connections
        crowd = Crowd(hasty, stack, SHARE)
        for client in [*crowd.heads, *crowd.bodies, *crowd.silent]:
            closed(client)
        wait_until(lambda: ended(hasty, "unread") >= SHARE * UNREADING)
    before = descriptors(hasty)
    counted = {reason: ended(hasty, reason) for reason in ("unread", "head")}
    with ExitStack() as stack:
        crowd = Crowd(hasty, stack)
        for client in [*crowd.heads, *crowd.bodies, *crowd.silent]:
            closed(client)
        wait_until(lambda: ended(hasty, "unread") >= counted["unread"] + UNREADING)
        assert ended(hasty, "unread") == counted["unread"] + UNREADING
        assert ended(hasty, "head") == counted["head"] + SLOW + SILENT
        wait_until(
            lambda: descriptors(hasty) < before + SLOW / 4
        )  # this side keeps its descriptors
    assert hasty.get("/livez")[0] == 200


def test_a_body_that_never_ends_is_answered(hasty):
    with ExitStack() as stack:
        crowd = Crowd(hasty, stack, 0.05)
        answers = [closed(client) for client in crowd.bodies]
    assert len(answers) == 5
    assert {answer.split(b" ", 2)[1] for answer in answers} == {b"408"}


def test_the_crowd_leaves_no_memory_allocated(hasty):
    """A plateau: before long, a crowd leaves less behind than a tenth of what it does not read."""

    def held_after_a_crowd():
        with ExitStack() as stack:
            crowd = Crowd(hasty, stack, SHARE)
            for client in [*crowd.heads, *crowd.silent]:
                closed(client)
        return resident(hasty)

    held = [held_after_a_crowd(), held_after_a_crowd()]
    while len(held) < 8 and held[-1] - held[-2] > PLATEAU:
        held.append(held_after_a_crowd())
    assert held[-1] - held[-2] <= PLATEAU, held


def test_a_silent_client_is_disconnected_after_the_time_for_a_head(hasty):
    with socket.create_connection(("127.0.0.1", port_of(hasty.url)), TIMEOUT) as client:
        assert client.recv(1) == b""


def test_a_hit_is_whole_for_a_client_that_reads_late(server):
    """The client reads only after the server's buffers are full."""
    count = 20
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.settimeout(TIMEOUT)
        client.connect(("127.0.0.1", port_of(server.url)))
        client.sendall(
            HIT * (count - 1)
            + LARGE * count
            + HIT.replace(b"Host", b"Connection: close\r\nHost", 1)
        )
        received = closed(client)
    assert received.count(b"HTTP/1.1 200 ") == 2 * count
    assert received.endswith(b"}}")
