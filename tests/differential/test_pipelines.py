"""Pipelines on one connection, cut anywhere: PCF answers each request in order."""

from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from tests.differential.comparison import check_order, compare, seen
from tests.differential.generator import Request, Stream, last
from tests.differential.raw_http import Answer, answers_in, send
from tests.differential.test_streams import AT_ONCE

MANY = 800  # requests; fewer bytes than the C parser keeps behind a request
TAIL = 65_536  # bytes that it keeps


def hit(identity: str) -> Request:
    named = b"X-Request-ID: " + identity.encode()
    return Request(identity, target=b"/graphql?query={tags{id}}", lines=[b"Host: localhost", named])


def post(identity: str, *, chunked: bool = False, token: bytes = b"") -> Request:
    """Return a query that no earlier request had."""
    request = hit(identity)
    request.method, request.target = b"POST", b"/graphql"
    request.body = b'{"query": "{ %b: __typename me { id } }"}' % identity.encode()
    request.lines.append(b"Content-Type: application/json")
    if token:
        request.lines.append(b"Authorization: Bearer " + token)
    if chunked:
        request.framing = [b"Transfer-Encoding: chunked"]
        half = len(request.body) // 2
        parts = (half, request.body[:half], len(request.body) - half, request.body[half:])
        request.written = b"%x\r\n%b\r\n%X;a=b\r\n%b\r\n0\r\nX: y\r\n\r\n" % parts
    else:
        request.framing = [b"Content-Length: %d" % len(request.body)]
    return request


def bad(identity: str) -> Request:
    request = hit(identity)
    request.lines.append(b"X : y")
    return request


PIPELINES = {
    "hits and misses": lambda: [hit("p0"), post("p1"), hit("p2"), last("p3")],
    "viewers": lambda: [post("v0", token=b"test-token"), post("v1"), hit("v2"), last("v3")],
    "a chunked body": lambda: [hit("c0"), post("c1", chunked=True), post("c2"), last("c3")],
    "a bad request": lambda: [post("b0"), hit("b1"), bad("b2"), last("b3")],
}


def contents(answers: list[Answer], stream: Stream) -> list[object]:
    """Return the parts of answers that must not depend on the segments."""
    sent = [request.identity for request in stream.requests]
    check_order(sent, answers)
    return [(a.get("x-request-id"), *seen(a, sent)) for a in answers]


@pytest.mark.parametrize("name", PIPELINES)
def test_the_answers_to_a_pipeline_do_not_depend_on_its_segments(pair, name):
    stream = Stream(0, PIPELINES[name](), [])
    port = pair.ports[0]
    whole, plain = (answers_in(send(port, [stream.data])) for port in pair.ports)
    expected = contents(whole, stream)
    assert len(whole) == (3 if name == "a bad request" else 4)
    used = compare(stream, whole, plain)
    assert used == ([] if name != "a chunked body" else [CHUNKED_RULE])
    random = Random(name)
    places = range(1, len(stream.data))
    cuts = [[place] for place in places]
    cuts += [sorted(random.sample(places, random.randint(2, 12))) for _ in range(60)]

    def cut(at: list[int]) -> list[object]:
        segments = Stream(0, stream.requests, at).segments
        return contents(answers_in(send(port, segments)), stream)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for at, found in zip(cuts, pool.map(cut, cuts), strict=True):
            assert found == expected, at


CHUNKED_RULE = (
    "a chunked body is read by PCF; for Django's view a request without Content-Length is 411"
)


def test_a_client_that_closes_its_side_gets_all_its_answers(pair):
    """Between two requests of a pipeline the connection looks idle for a moment."""
    stream = Stream(0, [hit(f"m{number}") for number in range(MANY)], [])
    assert len(stream.data) < TAIL
    for port in pair.ports:
        answers = answers_in(send(port, [stream.data]))
        assert [answer.get("x-request-id") for answer in answers] == [
            request.identity for request in stream.requests
        ]


def test_requests_that_the_parser_cannot_keep_get_no_answer(pair):
    """The C parser keeps 64 KiB behind a request. What is lost then ends the connection, so that no
    later byte is taken for a request.
    """
    requests = [hit(f"l{number}") for number in range(1_800)]
    stream = Stream(0, requests, [])
    assert len(stream.data) > 2 * TAIL
    sent = [request.identity for request in requests]
    pcf, plain = (answers_in(send(port, [stream.data])) for port in pair.ports)
    assert [answer.get("x-request-id") for answer in plain] == sent
    assert [answer.get("x-request-id") for answer in pcf] == sent[: len(pcf)]
    assert pcf  # their number depends on the segments
