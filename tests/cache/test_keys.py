"""Keys: equal requests meet, different ones never do."""

from dataclasses import replace

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notes.models import Note
from pcf.cache import touches
from pcf.cache.names import read_names, write_names
from pcf.cache.responses import request_digest
from pcf.execution.dependencies import Dependencies
from pcf.schema import graphql_service

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda v: _is_json(v))
variables = st.dictionaries(st.text(), json_values, max_size=3).filter(lambda v: _is_json(v))
requests = st.tuples(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.none() | st.from_regex("[_A-Za-z][_0-9A-Za-z]*", fullmatch=True),
    variables,
)


def _is_json(value):
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def canonical(request):
    fingerprint, document, name, values = request
    return fingerprint, document, name, orjson.dumps(values, option=orjson.OPT_SORT_KEYS)


@given(requests, requests)
def test_two_requests_share_a_key_only_when_they_are_equal(one, other):
    same = request_digest(*one) == request_digest(*other)
    assert same == (canonical(one) == canonical(other))


@given(requests)
def test_the_order_of_variables_does_not_matter(request):
    fingerprint, document, name, values = request
    turned = dict(reversed(values.items()))
    assert request_digest(fingerprint, document, name, turned) == request_digest(*request)


def test_values_that_look_alike_are_told_apart():
    digests = {request_digest(b"s", b"d", None, {"a": a}) for a in (1, 1.0, "1", True, None, [1])}
    assert len(digests) == 6


kinds = st.sampled_from(["note", "notes-by-author", "tag-name", "user"])
keys = st.integers(1, 5) | st.sampled_from(["red", "blue", ""])
reads = st.dictionaries(kinds, st.sets(keys, min_size=1), min_size=1)


def build(by_kind, whole=()):
    dependencies = Dependencies()
    for kind, of_kind in by_kind.items():
        dependencies.add(kind, of_kind)
    for kind in whole:
        dependencies.add_kind(kind)
    return dependencies


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(reads, reads, st.sets(kinds), st.integers(1, 12), st.integers(1, 12))
def test_a_write_meets_every_reader_it_touches(read, written, whole, read_limit, write_limit):
    """Whatever was coarsened on either side: what shares a key shares a name."""
    touches = any(
        kind in whole or of_kind & written.get(kind, set()) for kind, of_kind in read.items()
    )
    named = set(read_names(build(read), read_limit)) & set(
        write_names(build(written, whole), write_limit)
    )
    assert named or not touches


@given(reads, reads)
def test_without_coarsening_a_write_meets_only_readers_it_touches(read, written):
    touches = any(of_kind & written.get(kind, set()) for kind, of_kind in read.items())
    named = set(read_names(build(read), 10_000)) & set(write_names(build(written), 10_000))
    assert bool(named) == touches


def test_what_was_made_under_other_declarations_is_not_found(live_world, ask, monkeypatch):
    """A version that declares less would not remove what one that declared more has stored."""
    query = "{ notes { title } }"
    assert [ask(query).cache_status for _ in range(2)] == ["pcf; fwd=miss; stored", "pcf; hit"]
    graphql_service.cache_clear()
    assert ask(query, **{"X-Other": "bytes"}).cache_status == "pcf; hit"
    declared = touches._declarations[Note]
    monkeypatch.setitem(
        touches._declarations, Note, replace(declared, touches=declared.touches[:-1])
    )
    graphql_service.cache_clear()
    try:
        assert ask(query).cache_status == "pcf; fwd=miss; stored"
    finally:
        graphql_service.cache_clear()
