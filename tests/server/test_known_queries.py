"""A short query whose body was read before is answered as one that is read."""

import gc
import json
from contextlib import contextmanager
from hashlib import sha256
from uuid import uuid4

import pytest

from pcf.execution import executor
from pcf.http import short_queries
from pcf.http.short_queries import ShortQueries
from pcf.project.schema import graphql_service
from pcf.server import endpoint
from tests.conftest import make_note, token_for
from tests.server.short_requests import (
    FRESH,
    GREENLET,
    NOTES,
    TAGS,
    USERS,
    data_of,
    places,
    post,
    short,
)
from tests.server.wired import contents, wire, wired

__all__ = ["places", "short", "wire", "wired"]


@pytest.fixture
def parsed(monkeypatch):
    """The bodies that the endpoint has parsed."""
    bodies, parse = [], endpoint._parse

    def noting(received, unparsed):
        bodies.append(bytes(received.body.content))
        return parse(received, unparsed)

    monkeypatch.setattr(endpoint, "_parse", noting)
    return bodies


@pytest.fixture
def reads(monkeypatch):
    """Have the endpoint parse every body in the block of ``reads()``."""

    @contextmanager
    def all_bodies():
        with monkeypatch.context() as patch:
            patch.setattr(ShortQueries, "known", lambda *_: None)
            yield

    return all_bodies


def send(body, *lines):
    """Return a POST of ``body``: a value for JSON, or the text itself."""
    text = body if isinstance(body, str) else json.dumps(body)
    head = ["POST /graphql HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(text)}", *lines, "", text]).encode()


def fresh(query):
    """Return a document that the process does not know."""
    return f"{query} # {uuid4()}"


def learn(wired, request):
    """Ask until the process knows the request; return the answer."""
    for _ in range(4):
        answer = wired.ask(request)
    return answer


def test_a_body_that_was_read_before_is_not_parsed_again(short, places, parsed):
    request = post(fresh(NOTES), FRESH)
    first = learn(short, request)
    parsed.clear(), places.take()
    for _ in range(3):
        assert contents(short.ask(request)) == contents(first)
    assert parsed == []
    assert places.take() == [GREENLET] * 3
    short.ask(request.replace(b'"n": 20', b'"n": 21'))
    assert len(parsed) == 1


HEADERS = {
    "nothing": [],
    "no-store": [FRESH],
    "media": [FRESH, "Accept: application/graphql-response+json"],
    "no media": [FRESH, "Accept: text/html"],
    "gzip": [FRESH, "Accept-Encoding: gzip"],
    "gzip of the cache": ["Accept-Encoding: gzip"],
    "ann": [FRESH, "Authorization: Bearer %(ann)s"],
    "ann and the cache": ["Authorization: Bearer %(ann)s"],
    "bob": [FRESH, "Authorization: Bearer %(bob)s"],
    "staff": [FRESH, "Authorization: Bearer %(staff)s"],
    "no token": [FRESH, "Authorization: Bearer nothing"],
    "no credentials": [FRESH, "Authorization: Basic nothing"],
    "origin": [FRESH, "Origin: https://other.example.org"],
    "a page of another origin": [FRESH, "Cookie: session=x", "Sec-Fetch-Site: cross-site"],
    "an id": [FRESH, "X-Request-ID: abc"],
    "a tag": ['If-None-Match: "x"'],
    "a key": [FRESH, "Idempotency-Key: abc"],
}


def test_other_headers_with_a_known_body_have_the_answers_of_a_body_that_is_read(
    live_world, short, places, parsed, reads
):
    for number in range(30):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
        make_note(live_world.bob, f"private {number}", public=False)
    tokens = {name: token_for(getattr(live_world, name)) for name in ("ann", "bob", "staff")}
    query, answers = fresh(NOTES), {}
    learn(short, post(query, FRESH, n=60))
    for name, lines in HEADERS.items():
        request = post(query, *[line % tokens for line in lines], n=60)
        with reads():
            learn(short, request)
            expected = short.ask(request)
        parsed.clear()
        answers[name] = short.ask(request)
        assert contents(answers[name]) == contents(expected), name
        assert parsed == [], name
    bodies = {name: answers[name].body for name in ("no-store", "ann", "bob", "staff", "gzip")}
    assert len(set(bodies.values())) == len(bodies)
    assert answers["no credentials"].status == 401
    assert answers["no token"].status == 401


CONDITIONS = "query ($yes: Boolean = true) { tags { id name @include(if: $yes) } }"
OPTIONAL = "query ($n: Int! = 2, $after: ID) { notes(first: $n, after: $after) { id } }"
TWO = "query A { tags { id } } query B($n: Int!) { tags(first: $n) { name } }"
LISTS = "query ($l: [TagOrder!]) { tagsConnection(orderBy: $l) { nodes { id } } }"
FILTERS = "query ($f: TagFilter) { tagsConnection(filter: $f) { nodes { id } } }"
BODIES = {
    "the cost": {"query": USERS, "variables": {"n": 3}, "extensions": {"cost": True}},
    "no cost": {"query": USERS, "variables": {"n": 3}, "extensions": {"cost": 1}},
    "no variables": {"query": OPTIONAL},
    "null as the variables": {"query": OPTIONAL, "variables": None},
    "a null variable": {"query": OPTIONAL, "variables": {"after": None}},
    "a number for an id": {"query": OPTIONAL, "variables": {"after": 1}},
    "a number with a point": {"query": OPTIONAL, "variables": {"n": 1.0}},
    "a variable that is not declared": {"query": OPTIONAL, "variables": {"x": [{}], "n": 1}},
    "a condition by default": {"query": CONDITIONS},
    "a condition that holds": {"query": CONDITIONS, "variables": {"yes": True}},
    "a condition that does not hold": {"query": CONDITIONS, "variables": {"yes": False}},
    "a variable of no field": {"query": CONDITIONS, "variables": {"n": 1}},
    "the first operation": {"query": TWO, "operationName": "A", "variables": {"n": 1}},
    "the second operation": {"query": TWO, "operationName": "B", "variables": {"n": 1}},
    "an empty name": {"query": TAGS, "variables": {"n": 1}, "operationName": ""},
    "an error of a field": {"query": OPTIONAL, "variables": {"n": 0}},
    # read each time
    "a null condition": {"query": CONDITIONS, "variables": {"yes": None}},
    "a wrong condition": {"query": CONDITIONS, "variables": {"yes": 1}},
    "no operation": {"query": TWO, "operationName": "C"},
    "no name": {"query": TWO, "variables": {"n": 1}},
    "a missing variable": {"query": TAGS},
    "a wrong variable": {"query": TAGS, "variables": {"n": "x"}},
    "a null that must not be": {"query": OPTIONAL, "variables": {"n": None}},
    "a list": {"query": LISTS, "variables": {"l": [{"field": "NAME"}]}},
    "an object": {"query": FILTERS, "variables": {"f": {}}},
    "a long body": {"query": TAGS + " " * 2_100, "variables": {"n": 1}},
    "a parameter twice": '{"query": "{ tags { id } }", "query": "{ users { id } }"}',
    "no JSON": '{"query": "{ tags { id } }"',
    "a number for a name": {"query": "{ tags { id } }", "operationName": 1},
    "a mutation": {"query": "mutation { __typename }"},
    "no field": {"query": "{ nothing }"},
}
READ = list(BODIES).index("a null condition")


@pytest.mark.parametrize("name", BODIES)
def test_a_body_has_the_answer_of_its_first_time(short, parsed, reads, name):
    request = send(BODIES[name], FRESH)
    with reads():
        learn(short, send({"query": TWO, "operationName": "A"}, FRESH))
        if isinstance(BODIES[name], dict):  # other bodies of the same document
            others = {"yes": True, "n": 1}
            learn(short, send({**BODIES[name], "variables": others}, FRESH))
            learn(short, send({**BODIES[name], "variables": {}}, FRESH))
        expected = learn(short, request)
    learn(short, request)
    parsed.clear()
    assert contents(short.ask(request)) == contents(expected)
    assert bool(parsed) == (list(BODIES).index(name) >= READ)


def test_bodies_that_name_a_document_are_known(short, parsed, reads):
    text = fresh(TAGS)
    digest = sha256(text.encode()).hexdigest()
    by_hash = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}}
    variables = {"variables": {"n": 2}}
    both = send({"query": text, **by_hash, **variables}, FRESH)
    expected = short.ask(both)
    for body in ({"documentId": f"sha256:{digest}"}, {"documentId": digest}, by_hash):
        request = send({**body, **variables}, FRESH)
        assert contents(learn(short, request)) == contents(expected)
        parsed.clear()
        assert contents(short.ask(request)) == contents(expected)
        assert parsed == []
    learn(short, both)  # a text with its hash is read, since it may be wrong
    parsed.clear()
    short.ask(both)
    assert parsed
    wrong = send({"query": f"{text} ", **by_hash, **variables}, FRESH)
    assert "errors" in json.loads(learn(short, wrong).body)


def documents():
    """Return the cache of the process's documents."""
    return graphql_service()._documents._documents._documents


def forget(cache):
    """Empty an LRU cache, as many other entries do."""
    for entries in (cache._young, cache._old, cache._weights):
        entries.clear()
    cache._young_weight = 0


@pytest.mark.parametrize("what", ["document", "plan", "both"])
def test_a_body_without_its_document_or_its_plan_is_read_again(short, places, parsed, what):
    request = post(fresh(NOTES), FRESH)
    expected = learn(short, request)
    short.ask(post(TAGS, FRESH))  # a greenlet keeps its last request until the next one
    if what != "plan":
        forget(documents())
    if what != "document":
        forget(executor._plan_cache._operations)
    gc.collect()  # requests and the fields of a plan refer to themselves
    parsed.clear(), places.take()
    assert contents(short.ask(request)) == contents(expected)
    assert parsed
    assert places.take() == []
    learn(short, request)
    parsed.clear(), places.take()
    assert contents(short.ask(request)) == contents(expected)
    assert parsed == []
    assert places.take() == [GREENLET]


def test_an_operation_that_has_become_long_is_not_short_any_more(
    live_world, short, places, parsed, monkeypatch
):
    request = post(fresh(NOTES), FRESH)
    learn(short, request)
    size = len(short.ask(request).body)
    monkeypatch.setattr(short_queries, "MAX_RESPONSE_BYTES", size)
    places.take(), parsed.clear()
    short.ask(request)
    assert (places.take(), parsed) == ([GREENLET], [])
    make_note(live_world.ann, "one more")
    assert len(data_of(short.ask(request))["notes"]) == 2
    assert (places.take(), parsed) == ([GREENLET], [])
    assert len(data_of(short.ask(request))["notes"]) == 2
    assert places.take() == []
    assert parsed
