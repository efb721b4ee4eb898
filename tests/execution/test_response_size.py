"""Both executors end an operation whose response has too many items or bytes."""

import json

import pytest
from graphql import build_schema, parse

from pcf.errors import ResponseTooLarge
from pcf.execution.executor import execute, execute_with_promises
from pcf.execution.plan_cache import PlanCache

SCHEMA = build_schema(
    "type Query { a: [A] e: [E] text: String! texts: [String!] maybe: [String] }"
    " type A { b: Int made: String } enum E { ONE TWO }"
)
EXECUTORS = pytest.mark.parametrize("execute", [execute, execute_with_promises])
LONG = "x" * 50


def made(_info):
    calls.append(1)


calls = []


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


def size_of(result):
    assert not result.errors
    return len(json.dumps(result.data, separators=(",", ":")))


@EXECUTORS
@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("{ a { %s: b } }" % LONG, {"a": [{"b": None}] * 20}),  # noqa: UP031
        ("{ a { b %s: __typename } }" % LONG, {"a": [{"b": 1}] * 20}),  # noqa: UP031
        ("{ text }", {"text": "y" * 1_000}),
        ("{ texts }", {"texts": ["y" * 50] * 20}),
        ("{ maybe }", {"maybe": ["y" * 50, None] * 20}),
        ("{ e }", {"e": ["ONE", "TWO"] * 500}),
    ],
)
def test_names_and_texts_count(execute, text, root):
    """No response within the limit is refused; one that is far beyond it always is."""
    document = parse(text)
    size = size_of(execute(SCHEMA, document, root_value=root))
    assert execute(SCHEMA, document, root_value=root, max_bytes=size).data
    with pytest.raises(ResponseTooLarge) as refused:
        execute(SCHEMA, document, root_value=root, max_bytes=size // 3)
    assert refused.value.extensions == {
        "code": "RESPONSE_TOO_LARGE",
        "limit": "response",
        "allowed": size // 3,
    }


def test_the_objects_are_refused_before_their_fields_are_resolved():
    root = {"a": [{"made": made}] * 100}
    plans = PlanCache(eager=True)  # a plan counts all objects of a level before it begins one
    execute(SCHEMA, parse("{ a { made } }"), root_value=root)
    assert len(calls) == 100
    calls.clear()
    with pytest.raises(ResponseTooLarge):
        execute(
            SCHEMA,
            parse("{ a { %s: made } }" % LONG),  # noqa: UP031
            root_value=root,
            max_bytes=5_000,
            plan_cache=plans,
        )
    assert not calls


@EXECUTORS
def test_no_limit_is_no_limit(execute):
    root = {"texts": ["y" * 1_000] * 1_000}
    assert len(execute(SCHEMA, parse("{ texts }"), root_value=root).data["texts"]) == 1_000


FAILING = build_schema("type Query { a: [A] b: [Int!] } type A { made: String }")


def fail(_info):
    raise ValueError("no")


@EXECUTORS
def test_errors_count(execute):
    """Their exceptions take memory until the response is complete."""
    root = {"a": [{"made": fail}] * 100}
    result = execute(FAILING, parse("{ a { made } }"), root_value=root, max_bytes=200_000)
    assert len(result.errors) == 100
    with pytest.raises(ResponseTooLarge):
        execute(FAILING, parse("{ a { made } }"), root_value=root, max_bytes=50_000)


@EXECUTORS
def test_the_bytes_are_told_as_they_are_counted(execute):
    told = []
    root = {"a": [{"b": 1}] * 10, "text": "y" * 100}
    result = execute(
        SCHEMA, parse("{ a { b } text }"), root_value=root, max_bytes=10_000, on_bytes=told.append
    )
    assert not result.errors
    assert sum(told) == pytest.approx(len(json.dumps(result.data)), rel=0.5)
    assert len(told) < 15
