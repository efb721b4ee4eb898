"""The cost of an operation is an upper bound of what it fetches."""

import pytest

from pcf.conf.sections import DocumentSettings
from pcf.documents.document import InvalidDocument, prepare
from pcf.project.schema import schema_with_diagnostics as schema

SCHEMA = schema.graphql_schema
SEED = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"
LOOSE = DocumentSettings(max_cost=10**12)


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
        ('{ node(nodeId: "x") { nodeId } }', 1, 1, 2),
        ('{ nodes(nodeIds: ["x", "y"]) { nodeId } }', 3, 2, 4),
        ('{ nodes(nodeIds: "x") { nodeId ... on Note { tags { id } } } }', 4, 1 + 5, 5),
        ("{ notesConnection { nodes { id } } }", 1, 1 + 20, 2),
        (
            "{ notesConnection(first: 100) { edges { node { id } } pageInfo { endCursor } } }",
            1,
            101,
            3,
        ),
        (
            "{ notesConnection(last: 50) { nodes { author { id } } totalCount } }",
            3,
            1 + 100 + 1,
            14,
        ),
        (
            "{ users(first: 100) { notesConnection(first: 10) { nodes { id } } noteCount } }",
            3,
            100 + 100 + 1_000 + 100,
            25,
        ),
        (
            (
                '{ notesConnection(filter: {search: "x", or: [{isPublic: true}, '
                '{id: {in: ["1", "2"]}}]}) { nodes { id } } }'
            ),
            1,
            21,
            5,
        ),
        ("{ users { id } users { name } ...F } fragment F on Query { users { email } }", 1, 20, 2),
    ],
)
def test_points_are_statements_and_hundreds_of_rows(text, statements, rows, expected):
    found = cost(text)
    assert (found.statements, found.rows, found.points) == (statements, rows, expected)


def test_filters_and_page_sizes_of_connections_may_come_from_variables():
    text = """query ($n: Int, $f: NoteFilter, $s: String) {
        a: notesConnection(first: $n, filter: $f) { nodes { id } }
        b: notesConnection(last: $n, filter: {search: $s}) { nodes { id } }
    }"""
    assert cost(text).rows == 2 + 40
    assert cost(text, {"n": 7}).rows == 2 + 14
    plain = points(text, {"n": 1})
    three = {"and": [{"isPublic": True}, {"title": {"eq": "x", "in": ["y", "z"]}}]}
    assert points(text, {"n": 1, "f": three}) == plain + 2  # a missing filter counts as one


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


def test_the_rows_of_nodes_are_their_ids():
    text = "query ($ids: [ID!]! = [1]) { nodes(nodeIds: $ids) { nodeId } }"
    assert cost(text, {"ids": ["x"] * 40}).rows == 40
    assert cost(text, {"ids": ["x"] * 1_000}).points == 3 + 10
    for useless in (None, "x", 5, 10**30, {}):
        assert cost(text, {"ids": useless}).rows == 100
    assert cost("query ($a: ID!) { nodes(nodeIds: [$a, $a]) { nodeId } }", {"a": "x"}).rows == 2


def test_fields_of_different_types_below_an_interface_cost_each():
    """Section 5.3.2 allows them other arguments."""
    notes = "... on User { notes(first: %d) { id } } ... on Tag { notes(first: %d) { id } }"
    for first in (1, 50), (50, 1):
        text = f'{{ nodes(nodeIds: ["x", "y"]) {{ {notes % first} }} }}'
        assert cost(text).rows == 2 + 2 * 51
        assert cost(text).statements == 3 + 2
    merged = (
        '{ node(nodeId: "x") { ... on User { notes { id } } ... on User { notes { title } } } }'
    )
    assert cost(merged).statements == 2


def test_a_literal_with_thousands_of_digits_is_as_good_as_very_many():
    text = f"{{ users(first: {'9' * 5_000}) {{ notes {{ id }} }} }}"
    with pytest.raises(InvalidDocument) as caught:
        prepare(SCHEMA, text, DocumentSettings())
    assert caught.value.errors[0].extensions["code"] == "COST_TOO_HIGH"


def test_the_limit_holds_at_its_value_and_refuses_one_beyond():
    assert prepare(SCHEMA, SEED, DocumentSettings(max_cost=705))
    with pytest.raises(InvalidDocument) as caught:
        prepare(SCHEMA, SEED, DocumentSettings(max_cost=704))
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


def test_variables_with_too_high_a_cost_are_refused_before_the_database(world, ask):
    query = "query ($n: Int!) { users(first: $n) { notes(first: $n) { tags { notes { id } } } } }"
    assert ask(query, variables={"n": 10}).data["users"]
    answer = ask(query, variables={"n": 100}, token="unknown")
    assert answer.codes == ["COST_TOO_HIGH"]  # the check comes before the token
    assert answer.status == 200
    assert "data" not in answer.content


# --- names and inputs have a size

LONG = " ".join(f"{letter * 480}: name" for letter in "abcdefghijklmnopqrstuvwxyzABC")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 29 names of 480 characters with 5 more bytes, for each of 100 users
        (f"{{ users(first: 100) {{ {LONG} }} }}", 1 + 100 * (29 * 485 + 2) // 10_000),
        (f"{{ users(first: 1) {{ {LONG} }} }}", 1 + 1_406_700 // 100 // 10_000),
        (f"{{ users(first: 100) {{ ...F }} }} fragment F on User {{ {LONG} }}", 141),
        (f"{{ __schema {{ types {{ fields {{ {LONG} }} }} }} }}", 50 * 4 * 14_067 // 10_000),
    ],
)
def test_bytes_of_names_cost_points(text, expected):
    assert points(text) == pytest.approx(expected, abs=1)


def test_a_document_whose_names_fill_the_answer_is_refused():
    """All of it is within every other limit: 605 points without the names."""
    text = "{tags(first:50){notes(first:100){author{notes(first:10){%s}}}}}" % LONG.replace(  # noqa: UP031
        "name", "title"
    )
    with pytest.raises(InvalidDocument) as caught:
        prepare(SCHEMA, text, DocumentSettings())
    assert caught.value.errors[0].extensions["code"] == "COST_TOO_HIGH"


def test_names_cost_nothing_where_the_rows_cost_more():
    plain, named = "{ users(first: 100) { name } }", "{ users(first: 100) { theNameOfUser: name } }"
    assert points(plain) == points(named) == 2


def test_values_in_lists_and_objects_cost_as_rows_do():
    ids = ", ".join(f'"{n}"' for n in range(450))
    note = f'createNote(input: {{title: "x", tagIds: [{ids}]}}) {{ note {{ id }} }}'
    assert points(f"mutation {{ {note} }}") == 12 + 4


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({"tagIds": ["1"] * 50}, 0),
        ({"tagIds": ["1"] * 450}, 4),
        ({"content": "x" * 9_000}, 0),
        ({"content": "x" * 90_000}, 9),
    ],
)
def test_the_size_of_variables_is_a_part_of_the_cost(ask, world, given, more):
    text = "mutation ($x: CreateNoteInput!) { createNote(input: $x) { note { id } } }"
    answer = ask(text, variables={"x": {"title": "x", **given}}, extensions={"cost": True})
    assert answer.content["extensions"]["cost"]["points"] == 12 + more
