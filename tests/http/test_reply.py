"""Headers of an answer: those of the connection are the server's."""

import pytest

from tests.http.worker import HEAD


def answers(serve, headers, body=b"ab", times=2):
    """The heads of ``times`` answers with these headers."""

    def answer(_environ, start):
        start("200 OK", headers)
        return [body]

    worker, conn, client = serve(answer)
    heads = []
    for _ in range(times):
        client.sendall(HEAD + b"body")
        assert worker.handle(conn) is True
        head, _, received = client.recv(10_000).partition(b"\r\n\r\n")
        assert received == body
        heads.append(head)
    return heads


@pytest.mark.parametrize("name", ["Connection", "dATE", "Server", "Transfer-Encoding", "upgrade"])
def test_headers_of_the_connection_are_not_the_applications(serve, name):
    headers = [("Content-Length", "2"), (name, "of-the-application"), ("X-Other", "1")]
    for head in answers(serve, headers):
        assert b"of-the-application" not in head
        assert b"X-Other: 1" in head
        assert b"Connection: keep-alive" in head


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "CONTENT-LENGTH"])
def test_a_length_is_one_however_it_is_spelled(serve, name):
    for head in answers(serve, [("X-A", "1"), (name, "2"), ("X-B", "1")]):
        assert b"chunked" not in head


def test_the_last_of_two_lengths_counts(serve):
    headers = [("Content-Length", "1"), ("X-A", "1"), ("content-length", "2")]
    assert len(answers(serve, headers)) == 2, "gunicorn takes the last one"
