"""What ``ShortQueries`` remembers of the requests that it has read: little, and for a while."""

import gc
import json
import weakref
from uuid import uuid4

import pytest
from graphql import parse

from pcf.execution import executor
from pcf.http import short_queries
from pcf.http.request import GraphQLRequest, make_request, parse_body
from pcf.http.request_state import open_timeout
from pcf.http.short_queries import MAX_KNOWN_BYTES, ShortQueries
from pcf.project.schema import graphql_service

DIGEST = b"digest"
HEADERS = GraphQLRequest("", token="token", address="::1", accepts_gzip=True, if_none_match="x")
TAGS = "query Tags($n: Int = 5, $after: ID) { tags(first: $n, after: $after) { id } }"


def request_of(query, header_fields=None, **parameters):
    """Return the request of a body; the document is one that no other test has."""
    body = json.dumps({"query": query, **parameters}).encode()
    return make_request(parse_body("application/json", body), **(header_fields or {}))


@pytest.fixture
def query(world):
    """A document whose operation a thread has executed."""
    text = f"{TAGS} # {uuid4()}"
    for variables in ({"n": 1}, {}):
        request = request_of(text, {"no_store": True}, variables=variables)
        assert graphql_service().answer(request, open_timeout()).status == 200
    return text


@pytest.fixture
def queries():
    """The short queries of the process, of which none is known."""
    service = graphql_service()
    return ShortQueries(service._documents, service._runner)


HEADER_FIELDS = {
    "token": "token", "from_cookie": True, "same_origin": False, "no_store": True,
    "idempotency_key": "key", "address": "::1", "accepts_gzip": True, "if_none_match": "x",
    "media": "application/graphql-response+json", "coding": "gzip",
}  # fmt: skip


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"variables": None},
        {"variables": {"n": 2, "after": None}},
        {"variables": {"after": 7}},
        {"operationName": "Tags"},
        {"operationName": ""},
        {"extensions": {"cost": True}},
        {"extensions": {"cost": False, "other": 1}},
    ],
)
@pytest.mark.parametrize("fields", [{}, HEADER_FIELDS])
def test_a_known_query_is_the_request_that_its_body_gives(query, queries, parameters, fields):
    other = request_of(query, {"token": "another", "no_store": False}, **parameters)
    expected = request_of(query, fields, **parameters)
    queries.read(other, DIGEST)
    headers = GraphQLRequest("", **fields)
    request, read = queries.known(DIGEST, headers)
    assert request == expected
    assert read == queries.read(expected).read
    assert read.bound.variables == queries.read(expected).read.bound.variables


def test_a_persisted_document_is_known_by_its_id(query, queries):
    document = graphql_service()._documents.known(query, None)
    by_id = make_request({"documentId": document.digest.hex(), "variables": {"n": 1}})
    queries.read(by_id, DIGEST)
    found = queries.known(DIGEST, HEADERS)
    assert found.request.query == ""
    assert found.request.document_id == by_id.document_id
    assert found.read.document is document


def test_only_what_was_read_is_known(query, queries):
    assert queries.known(DIGEST, HEADERS) is None
    assert queries.read(request_of(query)) is not None
    assert queries.known(None, HEADERS) is None
    assert queries.known(DIGEST, HEADERS) is None
    queries.read(request_of(query), DIGEST)
    assert queries.known(DIGEST, HEADERS) is not None
    assert queries.known(b"other", HEADERS) is None


@pytest.mark.parametrize("variables", [{"n": "x"}, {"n": 2**40}, {"after": [1]}, {"after": {}}])
def test_invalid_variables_are_never_known(query, queries, variables):
    request = request_of(query, variables=variables)
    for _ in range(2):
        short = queries.read(request, DIGEST)
        assert short is None or short.read.bound is None
        assert queries.known(DIGEST, HEADERS) is None


def test_long_requests_are_not_known(query, queries):
    def is_known(**parameters):
        digest = uuid4().bytes
        assert queries.read(request_of(query, **parameters), digest) is not None
        return queries.known(digest, HEADERS) is not None

    room = MAX_KNOWN_BYTES - len(query) - len('{"x":""}')
    assert is_known(variables={"x": "a" * room})
    assert not is_known(variables={"x": "a" * (room + 1)})
    assert is_known(variables={"x": "ö" * (room // 2)})
    assert not is_known(variables={"x": "ö" * (room // 2 + 1)})
    assert is_known(variables={"x": "a" * (room - 4)}, operationName="Tags")
    assert not is_known(variables={"x": "a" * (room - 3)}, operationName="Tags")


def test_what_the_operation_does_not_declare_is_not_kept(query, queries):
    """Lists and objects take many times the memory of their JSON."""
    request = request_of(query, variables={"n": 1, "x": [[]] * 500, "y": {}})
    queries.read(request, DIGEST)
    known = queries.known(DIGEST, HEADERS)
    assert known.request.variables == {"n": 1}
    assert known.request.variable_values == request.variable_values == 503
    assert known.request.variable_bytes == request.variable_bytes
    assert known.read.cost == queries.read(request).read.cost


def test_the_number_of_known_requests_has_a_bound(query, monkeypatch):
    monkeypatch.setattr(short_queries, "MAX_KNOWN", 10)
    service = graphql_service()
    queries = ShortQueries(service._documents, service._runner)
    for number in range(50):
        queries.read(request_of(query), b"%d" % number)
        assert queries.known(b"%d" % number, HEADERS) is not None
        assert queries.known(b"0", HEADERS) is not None  # it is used
        assert len(queries._known) <= 10
    assert queries.known(b"1", HEADERS) is None


def forget(cache):
    """Empty an LRU cache, as many other entries do."""
    for entries in (cache._young, cache._old, cache._weights):
        entries.clear()
    cache._young_weight = 0


def test_a_known_query_does_not_keep_its_document(query, queries):
    queries.read(request_of(query), DIGEST)
    documents = graphql_service()._documents
    document = weakref.ref(documents.known(query, None))
    assert queries.known(DIGEST, HEADERS).read.document is document()
    forget(documents._documents._documents)
    assert document() is None  # without the garbage collector
    assert queries.known(DIGEST, HEADERS) is None
    assert queries.read(request_of(query), DIGEST) is None


def test_a_known_query_does_not_keep_its_plan(query, queries):
    queries.read(request_of(query), DIGEST)
    plan = weakref.ref(queries.known(DIGEST, HEADERS).read.bound.plan)
    assert plan() is not None
    forget(executor._plan_cache._operations)
    gc.collect()
    assert plan() is None
    assert queries.known(DIGEST, HEADERS) is None
    assert queries.read(request_of(query), DIGEST) is None


def test_other_documents_and_plans_do_not_drop_those_in_use(query, queries, monkeypatch):
    service = graphql_service()
    queries.read(request_of(query), DIGEST)
    size = service._documents.known(query, None).bytes
    plans = executor._plan_cache._operations
    monkeypatch.setattr(service._documents._documents._documents, "_half", 100_000)
    monkeypatch.setattr(plans, "_half", 10 * size)
    for number in range(60):
        other = request_of(f"{query} {number}", {"no_store": True})
        assert service.answer(other, open_timeout()).status == 200
        for _ in range(8):  # one of eight uses tells the caches
            assert queries.known(DIGEST, HEADERS) is not None
    gc.collect()
    assert queries.known(DIGEST, HEADERS) is not None
    assert service._documents.known(f"{query} 0", None) is None
    assert queries._runner.known_plan(parse(f"{query} 0"), "Tags", {}) is None
