"""Headers and bodies of requests: in parts, late, too large, too short, missing."""

import asyncio
import json
from dataclasses import replace
from itertools import pairwise

import pytest

from pcf.http.request_state import RequestState, open_timeout
from pcf.server.messages import ReceivedRequest, headers_of, read_body, read_request
from pcf.timeouts import TimeoutContext
from tests.http.wsgi import environ_of
from tests.server.asgi import Exchange, scope_of

QUERY = b'{"query": "{ tags { name } }"}'


LENGTH = len(QUERY)


def scope(length=LENGTH, **headers):
    """Return the scope of a POST with this Content-Length, or without one for None."""
    made = scope_of(environ_of(b"", **headers))
    kept = [header for header in made["headers"] if header[0] != b"content-length"]
    if length is not None:
        kept.append((b"content-length", str(length).encode()))
    return {**made, "headers": kept}


def chunked(**headers):
    return scope(None, transfer_encoding="chunked", **headers)


def code(reply):
    return json.loads(reply.body)["errors"][0]["extensions"]["code"]


@pytest.fixture
def soon(settings):
    """The server waits a moment for a silent client."""
    server = replace(settings.PCF.server, body_silence=0.05)
    settings.PCF = replace(settings.PCF, server=server)


@pytest.fixture
def small(settings):
    documents = replace(settings.PCF.documents, max_body_bytes=len(QUERY))
    settings.PCF = replace(settings.PCF, documents=documents)


@pytest.mark.parametrize("make", [scope, chunked])
@pytest.mark.parametrize("cuts", [(), (1,), (5, 6, 20), tuple(range(1, len(QUERY)))])
def test_a_body_may_come_in_any_parts(service, small, make, cuts):
    ends = [0, *cuts, len(QUERY)]
    pieces = [QUERY[begin:end] for begin, end in pairwise(ends)]
    for _ in range(2):
        reply = service.ask(make(), *pieces)
    assert reply.status == "200 OK"
    assert reply.headers["Cache-Status"] == "pcf; hit"
    assert "Connection" not in reply.headers


def test_the_server_reads_no_more_than_the_declared_length(service):
    """The bytes after it are the next request."""
    exchange = Exchange(scope(0), b"", silent=True)
    service.run_together(exchange)
    assert exchange.reply.status == "400 Bad Request"


@pytest.mark.parametrize("make", [scope, chunked])
@pytest.mark.parametrize("known", [False, True])
def test_a_missing_body_is_answered_with_408_and_ends_the_connection(service, soon, make, known):
    if known:
        service.ask(make(), QUERY)
    reply = service.ask(make(), QUERY[:-1], silent=True)
    assert (reply.status, code(reply)) == ("408 Request Timeout", "BAD_REQUEST")
    assert reply.headers["Connection"] == "close"


def test_a_client_that_sends_slowly_has_the_time_that_the_deadline_leaves():
    sizes = []

    async def receive():
        sizes.append(1)
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    deadline = TimeoutContext.start("http", 0.2)
    body = asyncio.run(read_body({"content-length": "10000"}, receive, deadline))
    assert isinstance(body.error, TimeoutError)
    assert (body.is_whole, body.length) == (False, 10_000)
    assert 1 < len(sizes) < 100


@pytest.mark.parametrize("make", [scope, chunked])
def test_a_client_that_disconnects_gets_no_answer(service, django_handler, make):
    exchange = Exchange(make(), QUERY[:-1], silent=True)
    exchange.hang_up()
    service.run_together(exchange)
    assert (exchange.sent, django_handler.reached) == ([], [])


def test_a_body_that_is_declared_too_large_is_refused_unread(service, small):
    exchange = Exchange(scope(len(QUERY) + 1), silent=True)

    async def receive():
        raise AssertionError("the server reads the body")

    exchange.receive = receive
    service.run_together(exchange)
    assert (exchange.reply.status, code(exchange.reply)) == (
        "413 Request Entity Too Large",
        "BODY_TOO_LARGE",
    )
    assert exchange.reply.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("pieces", "silent"),
    [((QUERY + b" ",), False), ((QUERY, b" "), False), ((QUERY, b" "), True)],
)
def test_a_body_of_unknown_length_is_read_up_to_the_limit(service, small, pieces, silent):
    reply = service.ask(chunked(), *pieces, silent=silent)
    assert (reply.status, code(reply)) == ("413 Request Entity Too Large", "BODY_TOO_LARGE")
    assert reply.headers["Connection"] == "close"


def test_a_body_without_a_length_is_refused(service):
    reply = service.ask(scope(None), QUERY)
    assert reply.status == "411 Length Required"


@pytest.mark.parametrize("known", [False, True])
def test_a_body_that_is_shorter_than_its_length_is_refused(service, known):
    if known:
        service.ask(scope(), QUERY)
    reply = service.ask(scope(len(QUERY) + 1), QUERY)
    assert reply.status == "400 Bad Request"
    assert reply.headers["Connection"] == "close"


@pytest.mark.parametrize("length", ["x", "+4", "\xb2", ""])
def test_a_content_length_that_is_no_number_is_ignored(length):
    made = scope(None)
    made["headers"].append((b"content-length", length.encode("latin-1")))
    exchange = Exchange(made, QUERY)
    body = asyncio.run(read_body(headers_of(made), exchange.receive, open_timeout()))
    assert body.content == QUERY
    assert body.length == len(QUERY)


def test_a_get_with_an_unread_body_ends_its_connection_even_for_a_hit(service, small):
    got = scope_of(environ_of(None, "query={tags{name}}"))
    for _ in range(3):
        reply = service.ask(got)
    assert (reply.headers["Cache-Status"], "Connection" in reply.headers) == ("pcf; hit", False)
    got["headers"].append((b"content-length", b"1000"))
    reply = service.ask(got, b"", silent=True)
    assert (reply.headers["Cache-Status"], reply.headers["Connection"]) == ("pcf; hit", "close")


def test_headers_of_one_name_are_joined_and_names_with_an_underscore_are_left_out():
    headers = [(b"x-a", b"1"), (b"x_a", b"evil"), (b"x-b", b"\xe4"), (b"x-a", b"2")]
    assert headers_of({"headers": headers}) == {"x-a": "1,2", "x-b": "\xe4"}
    assert headers_of({"headers": headers[:2]}) == {"x-a": "1"}


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("application/json", {}),
        ("application/json; charset=utf-8", {}),
        ("Application/JSON;charset=UTF-8", {}),
        ("text/plain", None),
        ("application/json; charset=latin-1", None),
        ("application/json", {"content_encoding": "gzip"}),
        ("application/json", {"accept": "image/png"}),
        ("application/json", {"authorization": "Basic x"}),
    ],
)
def test_only_a_well_formed_request_gets_a_digest(content_type, headers):
    is_refused = headers != {}
    made = scope(**(headers or {}))
    kept = [header for header in made["headers"] if header[0] != b"content-type"]
    made["headers"] = [*kept, (b"content-type", content_type.encode())]
    state, headers = RequestState.from_headers({}), headers_of(made)
    exchange = Exchange(made, QUERY)
    body = asyncio.run(read_body(headers, exchange.receive, state.timeout))
    unparsed = read_request(ReceivedRequest(made, headers, body, state))
    assert (unparsed is None) is is_refused
    assert (state.raw_digest is None) is (unparsed is None)


def test_over_http2_a_body_needs_no_header():
    pieces = [b"{", b"}"]

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    body = asyncio.run(read_body({}, receive, open_timeout(), http1=False))
    assert (body.content, body.length, body.is_whole) == (b"{}", 2, True)
    assert asyncio.run(read_body({}, receive, open_timeout())).length is None


def test_cookies_that_http2_has_split_are_one_header_again():
    headers = [(b"cookie", b"a=b"), (b"accept", b"x"), (b"cookie", b"c=d"), (b"accept", b"y")]
    assert headers_of({"headers": headers}) == {"cookie": "a=b; c=d", "accept": "x,y"}
