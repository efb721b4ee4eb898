"""The end of a connection: the server announces it, and the client gets the whole answer."""

import socket

import pytest

from tests.end_to_end.bystanders import HIT, LIVEZ
from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.raw import TIMEOUT, parse, port_of

BIG = b"x" * 8_000_000
JSON = b"Content-Type: application/json\r\n"


def talk(server, *pieces):
    """Send ``data`` and read until the server closes; raise for a reset."""
    with socket.create_connection(("127.0.0.1", port_of(server.url)), TIMEOUT) as client:
        for piece in pieces:
            client.sendall(piece)
        received = b""
        while piece := client.recv(65_536):
            received += piece
    return received


def head(method=b"POST", target=b"/graphql", version=b"1.1", more=b""):
    return b"%s %s HTTP/%s\r\nHost: localhost\r\n%s\r\n" % (method, target, version, more)


LENGTH = b"Content-Length: %d\r\n" % len(BIG)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BIG), BIG)
TALKS = {
    "too large": ([head(more=JSON + LENGTH), BIG], {413}),
    "too large in chunks": ([head(more=JSON + CHUNKED), CHUNKS], {413}),
    "too large of a foreign type": ([head(more=LENGTH), BIG], {413, 415}),
    "too large for no page": ([head(target=b"/nowhere", more=LENGTH), BIG], {404, 413}),
    "too large for a probe": ([head(target=b"/livez", more=LENGTH), BIG], {405}),
    "HTTP/1.0": ([head(b"GET", b"/livez", b"1.0")], {200}),
    "HTTP/1.0 and no page": ([head(b"GET", b"/nowhere", b"1.0")], {404}),
    "asked for": ([head(b"GET", b"/livez", more=b"Connection: close\r\n")], {200}),
    "no HTTP": ([b"\r\nnonsense\r\n\r\n" + BIG], {400}),
    "long head": ([head(more=b"X-Long: %s\r\n" % BIG)], {431}),
}


@pytest.mark.parametrize("name", TALKS)
def test_the_end_is_announced_and_the_answer_is_whole(server, name):
    pieces, statuses = TALKS[name]
    received = talk(server, *pieces)
    answer = parse(received)
    assert answer.status in statuses
    assert answer.headers["connection"] == "close"
    assert len(answer.body) == int(answer.headers["content-length"])
    assert received.endswith(b"\r\n\r\n" + answer.body)
    assert received.lower().count(b"connection: close") == 1


def test_an_unfinished_body_is_answered_and_its_connection_closed(server):
    answer = parse(talk(server, head(more=JSON + LENGTH.replace(b"8000000", b"80")), b"{"))
    assert (answer.status, answer.headers["connection"]) == (408, "close")


def test_without_keepalive_every_answer_announces_the_end(server):
    running = start(beside(server.environment, GUNICORN_CMD_ARGS="--keep-alive 0"))
    for request in (LIVEZ, HIT, HIT):
        answer = parse(talk(running, request))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert len(answer.body) == int(answer.headers["content-length"])
    assert stop(running) == 0


def test_data_after_an_announced_end_is_not_executed(server):
    """The rest of a body that is too large is never a request."""
    smuggled = head(b"GET", b"/livez") * 10
    received = talk(server, head(more=JSON + LENGTH), smuggled, BIG[len(smuggled) :])
    assert received.count(b"HTTP/1.1 ") == 1
    assert parse(received).status == 413
