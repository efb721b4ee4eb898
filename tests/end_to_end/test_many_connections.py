"""Thousands of short connections end no worker and disturb no other client."""

import socket

import pytest

from tests.end_to_end.bystanders import HIT, LIVEZ, Bystanders
from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.processes import UNBOUNDED, booted, workers_of
from tests.end_to_end.raw import port_of

CASES = {"a probe": (LIVEZ, 1_500), "a POST": (HIT, 500)}


@pytest.fixture(scope="module")
def unbounded(server):
    """A service without rate limits."""
    running = start(beside(server.environment, **UNBOUNDED))
    yield running
    stop(running)


@pytest.mark.parametrize("case", CASES)
def test_a_connection_for_every_request_ends_no_worker(unbounded, case):
    request, connections = CASES[case]
    workers, starts = workers_of(unbounded), booted(unbounded)
    assert len(workers) == starts == 2
    with Bystanders(unbounded.url, rate=2_000) as others:
        for _ in range(connections):
            with socket.create_connection(("127.0.0.1", port_of(unbounded.url)), 30) as client:
                client.sendall(request)
                assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert (others.faults, others.reasons) == (0, {})
    assert others.answered > connections / 10
    assert (workers_of(unbounded), booted(unbounded)) == (workers, starts)
