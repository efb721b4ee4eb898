"""Workers are replaced under load: neither a request nor a signal is lost."""

import signal
import socket
import time

from tests.end_to_end.bystanders import HIT, LIVEZ, Bystanders, graphql
from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.processes import UNBOUNDED, booted, replace_workers, wait_until, workers_of
from tests.end_to_end.raw import TIMEOUT, parse, port_of

SLOW = graphql("{ slowQuery(delay: 4) }")
PATIENT = {
    **UNBOUNDED,
    "PCF_TIMEOUTS_DATABASE": "20",
    "PCF_TIMEOUTS_GRAPHQL": "25",
    "PCF_TIMEOUTS_HTTP": "30",
}


def connect(server):
    return socket.create_connection(("127.0.0.1", port_of(server.url)), TIMEOUT)


def ask(client, request):
    """Return the next answer on an open connection."""
    client.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received or len(parse(received).body) < int(
        parse(received).headers["content-length"]
    ):
        piece = client.recv(65_536)
        assert piece, received
        received += piece
    return parse(received)


def test_no_request_is_lost_while_workers_are_replaced(server):
    running = start(beside(server.environment, **PATIENT))
    with Bystanders(running.url, connections=40, rate=2_000) as clients:
        for _ in range(2):
            replace_workers(running)
    assert (clients.faults, clients.reasons) == (0, {})
    assert clients.announced >= 40
    assert booted(running) == 6
    assert stop(running) == 0


def test_no_request_is_lost_with_max_requests(server):
    running = start(beside(server.environment, **PATIENT, MAX_REQUESTS="300"))
    with Bystanders(running.url, connections=40, rate=2_000) as clients:
        wait_until(lambda: booted(running) >= 6)
    assert (clients.faults, clients.reasons) == (0, {})
    assert clients.announced > 0
    assert stop(running) == 0


def test_an_ending_worker_answers_open_connections_and_closes_idle_ones(server):
    running = start(beside(server.environment, WORKERS="1", **PATIENT))
    with connect(running) as busy, connect(running) as idle, connect(running) as slow:
        assert ask(busy, HIT).status == ask(idle, HIT).status == 200
        (old,) = workers_of(running)
        slow.sendall(SLOW)
        running.process.send_signal(signal.SIGHUP)
        while "connection" not in (answer := ask(busy, LIVEZ)).headers:
            assert answer.status == 200
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert busy.recv(1) == b""
        assert idle.recv(1) == b""
        assert old in workers_of(running)  # the slow request keeps its worker
        answer = ask(slow, b"")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert answer.body == b'{"data":{"slowQuery":4.0}}'
        assert slow.recv(1) == b""
    wait_until(lambda: old not in workers_of(running))
    assert stop(running) == 0


def test_a_signal_during_the_start_of_a_worker_is_not_lost(server):
    """All workers but the last get the signal, some before they have a handler."""
    running = start(beside(server.environment, WORKERS="1"))
    for number in range(8):
        seen = booted(running)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda seen=seen: booted(running) >= seen + 1)
        time.sleep(number % 4 / 50)
    wait_until(lambda: booted(running) == 9 and len(workers_of(running)) == 1)
    assert running.get("/livez")[0] == 200
    assert "SIGKILL" not in running.logged()
    assert stop(running) == 0
