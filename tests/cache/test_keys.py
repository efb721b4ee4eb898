"""Digests of requests, and names of dependencies."""

import re
from dataclasses import replace

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notes.models import Note
from pcf.cache import triggers
from pcf.cache.keys import complete, read_names, request_digest, write_names
from pcf.cache.triggers import Touch, declare
from pcf.database.key_types import IntegerKey, TextKey
from pcf.execution.dependencies import WHOLE, Dependencies
from pcf.project.schema import graphql_service
from tags.models import Tag

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
def test_only_equal_requests_have_the_same_digest(one, other):
    same = request_digest(*one) == request_digest(*other)
    assert same == (canonical(one) == canonical(other))


@given(requests)
def test_the_order_of_variables_does_not_change_the_digest(request):
    fingerprint, document, name, values = request
    turned = dict(reversed(values.items()))
    assert request_digest(fingerprint, document, name, turned) == request_digest(*request)


def test_similar_values_have_different_digests():
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
def test_a_write_shares_a_name_with_each_reader_it_touches(
    read, written, whole, read_limit, write_limit
):
    """It does whatever the limits are on either side."""
    triggers = any(
        kind in whole or of_kind & written.get(kind, set()) for kind, of_kind in read.items()
    )
    named = set(read_names(build(read), read_limit)) & set(
        write_names(build(written, whole), write_limit)
    )
    assert named or not triggers


@given(reads, reads)
def test_without_limits_a_write_shares_no_name_with_other_readers(read, written):
    triggers = any(of_kind & written.get(kind, set()) for kind, of_kind in read.items())
    named = set(read_names(build(read), 10_000)) & set(write_names(build(written), 10_000))
    assert bool(named) == triggers


def test_responses_made_under_other_declarations_are_not_found(live_world, ask, monkeypatch):
    """A version that declares fewer touches would not remove their entries."""
    query = "{ notes { title } }"
    assert [ask(query).cache_status for _ in range(2)] == ["pcf; fwd=miss; stored", "pcf; hit"]
    graphql_service.cache_clear()
    assert ask(query, **{"X-Other": "bytes"}).cache_status == "pcf; hit"
    declared = triggers._declarations[Note]
    monkeypatch.setitem(
        triggers._declarations, Note, replace(declared, touches=declared.touches[:-1])
    )
    graphql_service.cache_clear()
    try:
        assert ask(query).cache_status == "pcf; fwd=miss; stored"
    finally:
        graphql_service.cache_clear()


@pytest.fixture
def _copied_declarations(monkeypatch):
    monkeypatch.setattr(triggers, "_declarations", dict(triggers._declarations))


def named_by_a_write(*names):
    return set(complete(names, 100))


@pytest.mark.usefixtures("_copied_declarations")
def test_a_kind_whose_touches_disagree_is_read_as_a_whole():
    declare(Note, Touch(kind="mixed", key="id"))
    assert set(read_names(build({"mixed": {7}}), 100)) == {"mixed!", "mixed:7"}
    declare(Tag, Touch(kind="mixed", key="name"))
    assert set(read_names(build({"mixed": {7}}), 100)) == {"mixed!", "mixed:*"}
    assert named_by_a_write("mixed:7") & {"mixed:*"}
    assert named_by_a_write("mixed:" + "0" * 32) & {"mixed:*"}


def test_a_reader_with_keys_of_another_type_depends_on_the_whole_kind():
    dependencies = Dependencies()
    dependencies.add("tag-name", {7}, IntegerKey)
    assert set(read_names(dependencies, 100)) == {"tag-name!", "tag-name:*"}
    other = Dependencies()
    other.add("tag-name", {"red"}, TextKey)
    assert "tag-name:*" not in read_names(other, 100)
    other.update(dependencies)
    assert "tag-name:*" in read_names(other, 100)


def test_a_whole_list_of_a_kind_with_keys_is_the_whole_kind():
    """A text that is empty is a key; WHOLE is not."""
    for kind in ("note", "tag-name"):
        assert set(read_names(build({kind: {WHOLE}}), 100)) == {f"{kind}!", f"{kind}:*"}
        assert f"{kind}:*" not in read_names(build({kind: {""}}), 100)
    assert set(read_names(build({"notes": {WHOLE}}), 100)) == {"notes!", "notes:"}


@pytest.mark.parametrize("key", ["a:b", "a\nb", "a b", "a!", "*", "ä", "x" * 10_000, "\ud800"])
def test_names_hold_no_text_of_a_client(key):
    for kind in ("tag-name", "note", "undeclared"):
        (name,) = set(read_names(build({kind: {key}}), 100)) - {f"{kind}!"}
        assert re.fullmatch(rf"{kind}:[0-9a-f]{{32}}", name)
