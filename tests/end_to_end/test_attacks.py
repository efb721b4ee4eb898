"""A corpus of attacks on a real gunicorn: each has its status, and memory stays flat."""

import gzip
import json
import subprocess

import pytest

from tests.attacks import DOCUMENTS
from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.raw import exchange, request

NEWER = (b"Accept", b"application/graphql-response+json")
JSON = (b"Content-Type", b"application/json")
ME = b'{"query": "{ me { id } }"}'


def ask(server, body, *headers):
    return exchange(server.url, request(headers=[JSON, NEWER, *headers], body=body))


def variables(text):
    return b'{"query": "{ me { id } }", "variables": ' + text + b"}"


BODIES = {
    "empty": (b"", 400),
    "no JSON": (b"{", 400),
    "no object": (b"1", 400),
    "a batch": (b"[" + ME + b"]", 400),
    "no UTF-8": (b'{"query": "\xff"}', 400),
    "UTF-16": (ME.decode().encode("utf-16"), 400),
    "a byte order mark": (b"\xef\xbb\xbf" + ME, 400),
    "NUL": (b'{"query": "\0"}', 400),
    "NUL in the query": (b'{"query": "{ me { id } }\\u0000"}', 400),
    "lone surrogate in the query": (b'{"query": "{ me { id } } \\ud800"}', 400),
    "duplicate keys": (b'{"query": "{ me { id } }", "query": "{ users { id } }"}', 400),
    "deep": (variables(b"[" * 100_000 + b"]" * 100_000), 400),
    "deep objects": (variables(b'{"a":' * 900 + b"1" + b"}" * 900), 400),
    "huge integer": (variables(b'{"n": ' + b"9" * 100_000 + b"}"), 400),
    "huge exponent": (variables(b'{"n": 1e999999}'), 400),
    "not a number": (variables(b'{"n": NaN}'), 400),
    "many variables": (variables(json.dumps({f"v{n}": n for n in range(60_000)}).encode()), 400),
    "long name": (b'{"query": "{ me { id } }", "operationName": "' + b"x" * 500_000 + b'"}', 422),
    "over the limit": (b" " * 1_000_001, 413),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(server, name):
    body, status = BODIES[name]
    answer = ask(server, body)
    assert answer.status == status
    assert answer.headers["content-type"].startswith("application/graphql-response+json") or (
        status == 413
    )
    assert "x-request-id" in answer.headers
    errors = json.loads(answer.body)["errors"]
    assert errors[0]["extensions"]["code"]


def test_documents(server):
    for name, text in DOCUMENTS.items():
        answer = ask(server, json.dumps({"query": text}).encode())
        code = json.loads(answer.body)["errors"][0]["extensions"]["code"]
        unread = code in ("GRAPHQL_PARSE_FAILED", "BAD_REQUEST")
        assert answer.status == (400 if unread else 422), name
        assert b'"data"' not in answer.body, name


BOMB = gzip.compress(b"[" * 10_000_000)
BOMBED = request(headers=[JSON, (b"Content-Encoding", b"gzip")], body=BOMB)
MANY_HEADERS = request(headers=[(b"X-H%d" % n, b"x") for n in range(200)])
LONG_HEADER = request(headers=[(b"X-Long", b"x" * 100_000)])


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (BOMBED, {415}),
        (MANY_HEADERS, {400, 431}),
        (LONG_HEADER, {400, 431}),
        (request(b"GET", b"/graphql?query=" + b"x" * 100_000), {400, 414}),
        (request(b"GET", b"/graphql?" + b"&".join([b"a=1"] * 1_000)), {400}),
        (request(b"GET", b"/graphql?query=%00"), {200}),  # the document does not parse
        (request(b"GET", b"/graphql?query=%ff%fe"), {400}),
        (request(b"GET", b"/graphql?query=\xff"), {400}),
        (request(b"BREW"), {405}),
        (request(b"TRACE"), {405}),
        (request(b"post"), {400, 405}),
        (request(headers=[JSON, (b"Content-Length", b"5")], body=ME), {400}),
        (request(headers=[JSON, (b"Transfer-Encoding", b"chunked")], body=b"0\r\n\r\n"), {400}),
        (request(headers=[(b"Authorization", b"Bearer " + b"x" * 5_000)]), {401}),
        (request(headers=[JSON, (b"Authorization", b"Bearer \xff")], body=ME), {401}),
        (request(headers=[JSON, (b"X-Request-ID", b"a\x00b")], body=ME), {400}),
        (request(headers=[(b"Content-Type", b"text/plain")], body=ME), {415}),
        (request(headers=[JSON, (b"Accept", b"image/png")], body=ME), {406}),
        (b"GET /graphql\r\n\r\n", {0, 400}),
        (b"POST /graphql HTTP/9.9\r\n\r\n", {400, 505}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, {0, 400}),
        (b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
         b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1a\r\n" + ME + b"\r\n0\r\n\r\n",
         {200}),
    ],
    ids=range(22),
)  # fmt: skip
def test_raw_requests(server, data, statuses):
    assert exchange(server.url, data).status in statuses


def test_a_foreign_host_is_refused_as_json_where_hosts_are_listed(server):
    answer = exchange(
        server.url,
        b"POST /graphql HTTP/1.1\r\nHost: evil.example/..;\r\nContent-Length: 0\r\n"
        b"Connection: close\r\n\r\n",
    )
    assert answer.status == 400
    assert json.loads(answer.body)["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


def resident(server):
    """Return the resident memory of all workers in kilobytes."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "ppid=,rss="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    return sum(int(rss) for parent, rss in rows if int(parent) == server.process.pid)


@pytest.fixture(scope="module")
def single(server):
    """A service with one thread, so that every round of attacks meets the same memory.

    With more, the allocator keeps room for each of them, and it is chance who gets what.
    """
    running = start(beside(server.environment, WORKERS="1", THREADS="1"))
    yield running
    stop(running)


def test_memory_stays_flat_under_attack(single):
    """A plateau: before long, eight rounds leave less behind than a quarter of what one sends. What
    every thread needs once is not counted; what is left behind each time is, each time.
    """
    attacks = [
        *(request(headers=[JSON, NEWER], body=body) for body, _ in BODIES.values()),
        *(request(headers=[JSON, NEWER], body=json.dumps({"query": text}).encode())
          for text in DOCUMENTS.values()),
        *[BOMBED, MANY_HEADERS, LONG_HEADER] * 10,
    ]  # fmt: skip

    def held_after(rounds):
        for data in attacks * rounds:
            exchange(single.url, data)
        return resident(single)

    held = [held_after(4)]
    assert held[0] > 0
    grown = []
    while len(grown) < 4 and not (grown and grown[-1] * 1_000 < sum(map(len, attacks)) / 4):
        held.append(held_after(8))
        grown.append(held[-1] - held[-2])
    assert grown[-1] * 1_000 < sum(map(len, attacks)) / 4, grown
