"""Documents are measured, validated and kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcf.conf.sections import DocumentSettings
from pcf.documents.document import DocumentStore, InvalidDocument, UnknownOperation, prepare
from pcf.project.schema import schema

SCHEMA = schema.graphql_schema


def codes(text: str, **limits: int) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        prepare(SCHEMA, text, DocumentSettings(**limits))
    return [error.extensions["code"] for error in caught.value.errors]


def measure_of(text: str):
    return prepare(SCHEMA, text, DocumentSettings()).operation(None).measure


def test_a_document_is_measured_with_its_fragments_expanded():
    text = """
        query { users { ...U } me { ...U ... on User { id } } }
        fragment U on User { name notes { title } }
    """
    assert (measure_of(text).depth, measure_of(text).complexity) == (3, 9)


def test_a_bomb_of_nested_fragments_is_refused_by_its_expanded_size():
    # 3 ** 30 fields when expanded, in 31 fragments of text
    fragments = "".join(
        f"fragment F{n} on User {{ ...F{n + 1} notes {{ author {{ ...F{n + 1} }} }} ...F{n + 1} }}"
        for n in range(30)
    )
    text = "{ me { ...F0 } } " + fragments + "fragment F30 on User { id }"

    assert codes(text, max_depth=1_000) == ["DOCUMENT_TOO_LARGE"]


def test_cycles_of_fragments_are_invalid():
    text = "{ me { ...A } } fragment A on User { notes { author { ...A } } }"
    assert "GRAPHQL_VALIDATION_FAILED" in codes(text)


def test_deep_nesting_of_brackets_is_an_error_and_no_crash():
    text = "{ me(a: " + "[" * 4_000 + "]" * 4_000 + ") { id } }"
    assert codes(text, max_tokens=100_000) == ["DOCUMENT_TOO_LARGE"]
    loose = {"max_tokens": 100_000, "max_value_depth": 100_000}
    assert codes(text, **loose) == ["DOCUMENT_TOO_LARGE"]


@pytest.mark.parametrize("text", ["", "{", "{ me { id }", "query Q(", "\u0000", "{ nope }"])
def test_an_invalid_document_is_an_error_with_a_code(text):
    assert set(codes(text)) <= {"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"}


def test_introspection_can_be_switched_off():
    for text in (
        "{ __schema { queryType { name } } }",
        '{ me { id } x: __type(name: "User") { name } }',
        "{ ...F } fragment F on Query { ... { __schema { queryType { name } } } }",
    ):
        assert prepare(SCHEMA, text, DocumentSettings())
        assert codes(text, introspection=False) == ["INTROSPECTION_DISABLED"]
    assert prepare(SCHEMA, "{ me { __typename } }", DocumentSettings(introspection=False))


def test_operations_are_picked_as_the_specification_says():
    document = prepare(SCHEMA, "query A { me { id } } query B { users { id } }", DocumentSettings())

    assert document.operation("B").name == "B"
    for name in (None, "", "C"):
        with pytest.raises(UnknownOperation):
            document.operation(name)


def test_known_documents_are_not_prepared_again_and_the_oldest_are_forgotten():
    store = DocumentStore(SCHEMA, DocumentSettings(remembered=2))
    a, b, c = ("{ me { id } }", "{ me { name } }", "{ users { id } }")

    first = store.get(a)
    store.get(b)
    assert store.get(a) is first
    store.get(c)  # evicts b, the least recently used
    assert store.get(a) is first
    assert len(store) == 2


def test_invalid_documents_push_out_nothing():
    store = DocumentStore(SCHEMA, DocumentSettings(remembered=1))
    kept = store.get("{ me { id } }")
    for number in range(3):
        with pytest.raises(InvalidDocument):
            store.get(f"{{ nope{number} }}")
    assert store.get("{ me { id } }") is kept


@given(st.text())
def test_any_text_is_a_document_or_refused(text):
    try:
        prepare(SCHEMA, text, DocumentSettings())
    except InvalidDocument as caught:
        refused = caught
        assert all(error.extensions["code"] for error in refused.errors)
