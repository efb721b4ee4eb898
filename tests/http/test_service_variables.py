"""Wrong variables are errors of the request; large ones are refused before they are coerced."""

import json
import uuid
from dataclasses import replace

import pytest
from django.test import Client
from graphql import build_schema

from pcf.errors import InvalidArgument
from tests.http.test_error_responses import answer_of

SCHEMA = """
    scalar Id scalar Odd
    enum Colour { RED GREEN }
    input In { n: Int!, colour: Colour, more: [In!], id: Id, odd: Odd }
    type Query { a(n: Int, ns: [Int!], x: In, b: Boolean, f: Float, id: Id, odd: Odd): Int }
"""
FIELDS = {
    "Int": "n", "[Int!]": "ns", "In": "x", "Boolean": "b", "Float": "f", "Id": "id", "Odd": "odd"
}  # fmt: skip
NEWER = "application/graphql-response+json"


def refuse(value):
    raise InvalidArgument("'odd' is odd")


@pytest.fixture(scope="module")
def schema():
    built = build_schema(SCHEMA)
    for name, parse in (("Id", uuid.UUID), ("Odd", refuse)):
        built.type_map[name].parse_value = parse
    return built


@pytest.mark.parametrize(
    ("declared", "variables"),
    [
        ("$v: Int!", {}),
        ("$v: Int!", {"v": None}),
        ("$v: Int!", {"v": "x"}),
        ("$v: Int!", {"v": 1.5}),
        ("$v: Int!", {"v": 2**31}),
        ("$v: Int", {"v": True}),
        ("$v: Int", {"v": [1]}),
        ("$v: Int", {"v": {}}),
        ("$v: Boolean", {"v": 1}),
        ("$v: Float", {"v": "1"}),
        ("$v: [Int!]", {"v": [1, None]}),
        ("$v: [Int!]", {"v": "x"}),
        ("$v: In", {"v": 1}),
        ("$v: In", {"v": {}}),
        ("$v: In", {"v": {"n": None}}),
        ("$v: In", {"v": {"n": 1, "unknown": 2}}),
        ("$v: In", {"v": {"n": 1, "colour": "BLUE"}}),
        ("$v: In", {"v": {"n": 1, "more": [{"n": "x"}]}}),
        ("$v: In", {"v": {"n": 1, "id": "no uuid"}}),
        ("$v: In", {"v": {"n": 1, "odd": "x"}}),
        ("$v: Id", {"v": "no uuid"}),
        ("$v: Odd", {"v": 1}),
    ],
)
@pytest.mark.parametrize("accept", [NEWER, "application/json"])
def test_wrong_variables_are_a_request_error(db, schema, declared, variables, accept, caplog):
    """GraphQL over HTTP: no ``data``, 422 for the newer media type, 200 for the older."""
    name = FIELDS[declared.removeprefix("$v: ").removesuffix("!")]
    query = f"query({declared}) {{ a({name}: $v) }}"
    response = answer_of(schema, query, variables, accept=accept)
    answer = response.json()
    assert response.status_code == (422 if accept == NEWER else 200)
    assert "data" not in answer
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}
    assert "path" not in answer["errors"][0]
    assert not caplog.records


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ('{ a(id: "no uuid") }', None),
        ("query($v: Id) { a(id: $v) }", {"v": "no uuid"}),
    ],
)
def test_the_words_of_an_exception_stay_inside(db, schema, query, variables, caplog):
    """The client reads which value is wrong, and not what Python says of it."""
    response = answer_of(schema, query, variables, accept=NEWER)
    (error,) = response.json()["errors"]
    assert response.status_code == 422
    assert "no uuid" in error["message"]
    assert "badly formed" not in error["message"]
    assert error["extensions"]["code"] in {"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}
    assert not caplog.records


def test_a_wrong_argument_of_a_field_is_an_error_of_the_field(world, ask):
    answer = ask("query($n: Int = 1) { users(first: $n) { id } }", variables={"n": None})
    assert answer.errors[0]["path"] == ["users"]


# --- the size of variables

TAGS = "mutation($x: NoteTagsInput!) { tagNote(input: $x) { note { id } } }"


def post(content):
    return Client().post("/graphql", content, content_type="application/json")


def tagging(ids):
    return json.dumps({"query": TAGS, "variables": {"x": {"noteId": 1, "tagIds": ids}}})


@pytest.mark.parametrize(
    "ids",
    [
        ["1"] * 120_000,
        ["1"] * 5_000,
        [[]] * 6_000,
        [{"a": 1}] * 3_000,
        {str(n): n for n in range(6_000)},
    ],
    ids=["issue", "just too many", "lists", "objects", "members"],
)
def test_too_many_values_are_refused(world, ids):
    answer = post(tagging(ids))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"] == {
        "code": "VARIABLES_TOO_LARGE",
        "limit": "variables_values",
        "allowed": 5_000,
    }


def test_values_are_counted_before_they_are_parsed(world, monkeypatch):
    """The JSON parser makes an object of each value."""
    monkeypatch.setattr("pcf.http.request.orjson.loads", lambda _: pytest.fail("parsed"))
    assert post(tagging([[]] * 100_000)).status_code == 400


def test_commas_in_texts_are_no_values(world, ask):
    text = "mutation($x: CreateNoteInput!) { createNote(input: $x) { userErrors { code } } }"
    content = 'a,b,"c\\",' * 9_000
    answer = ask(text, variables={"x": {"title": "x", "content": content}})
    assert answer.data == {"createNote": {"userErrors": [{"code": "UNAUTHENTICATED"}]}}


def test_the_limit_of_values_is_for_each_part_of_a_batch(world, settings):
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_batch=2))
    part = json.loads(tagging(["1"] * 4_900))
    assert post(json.dumps([part, part])).status_code == 200
    part = json.loads(tagging(["1"] * 5_100))
    assert post(json.dumps([part, part])).status_code == 400
