"""What operations cost, and that it is never less than what they may fetch."""

import pytest

from pcf.config import Documents
from pcf.documents.document import InvalidDocument, prepare
from pcf.schema import schema

SCHEMA = schema.graphql_schema
SEED = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"
LOOSE = Documents(max_cost=10**12)


def cost(text, variables=None):
    return prepare(SCHEMA, text, LOOSE).operation(None).cost.cost(variables or {})


def points(text, variables=None):
    return cost(text, variables).points


@pytest.mark.parametrize(
    ("text", "statements", "rows", "expected"),
    [
        ("{ __typename }", 0, 0, 0),
        ("{ me { id name } }", 1, 1, 2),
        ("{ users { id } }", 1, 20, 2),
        ("{ users(first: 100) { id } }", 1, 100, 2),
        ("{ note(id: 1) { author { name } tags { name } } }", 3, 1 + 1 + 5, 4),
        (SEED, 4, 100 + 10_000 + 10_000 + 50_000, 705),
        ('mutation { createNote(input: {title: "x"}) { note { id } } }', 2, 2, 12),
        ("{ slowQuery(delay: 1) }", 1, 1, 2),
        ("{ __schema { types { fields { name } } } }", 0, 0, 0),
        ("{ a: users { id } b: users { id } }", 2, 40, 3),
        ("{ users { id } users { name } ...F } fragment F on Query { users { email } }", 1, 20, 2),
    ],
)
def test_points_are_statements_and_hundreds_of_rows(text, statements, rows, expected):
    found = cost(text)
    assert (found.statements, found.rows, found.points) == (statements, rows, expected)


def test_page_sizes_may_come_from_variables():
    text = "query ($n: Int! = 3) { users(first: $n) { notes(first: $n) { id } } }"
    assert cost(text).rows == 3 + 9
    assert cost(text, {"n": 50}).rows == 50 + 2_500
    assert cost(text, {"n": 50.0}).rows == 50 + 2_500
    assert cost(text, {"n": 10**30}).points > 10**9
    for useless in ("x", None, [], {}):
        assert cost(text, {"n": useless}).rows == 3 + 9
    for small in (0, -5, -(10**30)):
        assert cost(text, {"n": small}).rows == 2
    without_default = "query ($n: Int!) { users(first: $n) { id } }"
    assert cost(without_default).rows == 20


def test_a_literal_with_thousands_of_digits_is_as_good_as_very_many():
    text = f"{{ users(first: {'9' * 5_000}) {{ notes {{ id }} }} }}"
    with pytest.raises(InvalidDocument) as caught:
        prepare(SCHEMA, text, Documents())
    assert caught.value.errors[0].extensions["code"] == "COST_TOO_HIGH"


def test_the_limit_holds_at_its_value_and_refuses_one_beyond():
    assert prepare(SCHEMA, SEED, Documents(max_cost=705))
    with pytest.raises(InvalidDocument) as caught:
        prepare(SCHEMA, SEED, Documents(max_cost=704))
    assert caught.value.errors[0].extensions == {
        "code": "COST_TOO_HIGH",
        "limit": "cost",
        "allowed": 704,
        "cost": 705,
    }


def test_the_cost_of_an_answer_can_be_asked_for(world, ask):
    answer = ask("{ users(first: 2) { notes(first: 3) { id } } }", extensions={"cost": True})
    assert answer.data["users"]
    assert answer.content["extensions"]["cost"] == {
        "points": 3,
        "allowed": 1_000,
        "rows": 8,
        "fields": [
            {"path": "users", "points": 1, "rows": 2},
            {"path": "users.notes", "points": 1, "rows": 6},
        ],
    }
    assert answer.cache_status == "pcf; fwd=bypass"
    assert "extensions" not in ask("{ me { id } }", extensions={"cost": "x"}).content


def test_variables_that_make_it_dear_are_refused_before_the_database(world, ask):
    query = "query ($n: Int!) { users(first: $n) { notes(first: $n) { tags { notes { id } } } } }"
    assert ask(query, variables={"n": 10}).data["users"]
    answer = ask(query, variables={"n": 100}, token="unknown")
    assert answer.codes == ["COST_TOO_HIGH"]  # the token was not looked at yet
    assert answer.status == 200
    assert "data" not in answer.content
