"""Columns of light rows have the values and errors that graphql-core's executor gives them."""

import enum
import json

import graphene
import pytest
from graphql import GraphQLID, GraphQLInt, GraphQLNonNull, execute_sync, parse
from hypothesis import given
from hypothesis import strategies as st

from notes.models import Note
from pcf.errors import ResponseTooLarge
from pcf.execution.executor import execute
from pcf.execution.plan_cache import PlanCache
from pcf.execution.response_size import ERROR_BYTES
from pcf.execution.rows import row_class
from pcf.execution.schema import OutputType
from tests.execution.comparison import assert_same

COLUMNS = ("id", "text", "number", "size", "yes", "colour", "other", "texts", "child", "rows")
RowOfNote = row_class(Note, COLUMNS)


class Text(str):
    """A text that is more than a text."""

    __slots__ = ()


class Colour(graphene.Enum):
    RED = "red"
    GREEN = "green"


class Odd(enum.Enum):
    ONE = 1


class Item(graphene.ObjectType):
    """Each type of a leaf, nullable and not, and what may hold rows."""

    id = graphene.ID()
    text = graphene.String()
    number = graphene.Int()
    size = graphene.Float()
    yes = graphene.Boolean()
    colour = Colour()
    other = graphene.String(required=True)
    texts = graphene.List(graphene.String)
    child = graphene.Field(lambda: Item)
    rows = graphene.List(lambda: Item)


class Required(graphene.ObjectType):
    id = graphene.ID(required=True)
    number = graphene.Int(required=True)
    yes = graphene.Boolean(required=True)


class Query(graphene.ObjectType):
    items = graphene.List(Item)
    required = graphene.List(Required)


SCHEMA = graphene.Schema(query=Query).graphql_schema
LEAVES = "id text number size yes colour texts"
ITEMS = parse(
    f"{{ items {{ {LEAVES} other child {{ {LEAVES} other }} rows {{ {LEAVES} __typename }} }} }}"
)
NULLABLE = parse(f"{{ items {{ {LEAVES} child {{ id }} rows {{ text }} }} }}")
REQUIRED = parse("{ required { id number yes } }")

usual = {
    "id": st.sampled_from([1, 2**70, "a"]),
    "text": st.sampled_from(["a", "", "ö"]),
    "number": st.sampled_from([0, -5, 2**31 - 1]),
    "size": st.sampled_from([1.5, 2]),
    "yes": st.booleans(),
    "colour": st.sampled_from(["red", "green"]),
    "other": st.sampled_from(["a", "b"]),
    "texts": st.lists(st.sampled_from(["a", None]), max_size=3),
}
odd = st.sampled_from(
    [
        7,
        2**31,
        2.5,
        True,
        "a",
        Text("b"),
        ["a", 1, None],
        [],
        Odd.ONE,
        ValueError("no"),
        float("inf"),
    ]
)


@st.composite
def column(draw, name, size):
    """Draw the values of a column: usual ones, nulls, or anything."""
    values = usual[name]
    kind = draw(st.sampled_from(["usual", "null", "some null", "anything"]))
    if kind == "null":
        return [None] * size
    if kind != "usual":
        values |= st.none()
    if kind == "anything":
        values |= odd
    return draw(st.lists(values, min_size=size, max_size=size))


@st.composite
def rows(draw, depth=1, max_size=4):
    """Draw light rows of one class, with rows below them."""
    size = draw(st.integers(0, max_size))
    columns = [draw(column(name, size)) for name in usual]
    if depth:
        below = rows(depth=0, max_size=2)
        child = below.map(lambda found: found[0] if found else None)
        columns.append(draw(st.lists(child, min_size=size, max_size=size)))
        columns.append(draw(st.lists(st.none() | below, min_size=size, max_size=size)))
    else:
        columns += [[None] * size] * 2
    return [RowOfNote(values) for values in zip(*columns, strict=True)]


def check(document, root, **options):
    """Compare the result of a plan with that of graphql-core, and return it."""
    plans = PlanCache(eager=True)
    found = execute(SCHEMA, document, root, plan_cache=plans, **options)
    assert len(plans) == 1
    assert_same(found, execute_sync(SCHEMA, document, root))
    return found


@given(rows())
def test_columns_of_rows_are_completed_as_graphql_core_does(found):
    given_values = [tuple(row) for row in found]
    check(ITEMS, {"items": found})
    assert [tuple(row) for row in found] == given_values


@given(rows(), st.lists(st.none() | rows(depth=0, max_size=1).map(lambda r: r[0] if r else None)))
def test_rows_may_have_nulls_beside_them(found, others):
    check(ITEMS, {"items": [*others, *found]})


@given(rows(depth=0))
def test_values_that_must_not_be_null_are_completed_as_graphql_core_does(found):
    check(REQUIRED, {"required": found})


def items(**columns):
    """Return rows with these values; all other columns have nulls."""
    size = len(next(iter(columns.values())))
    values = [columns.get(name, [None] * size) for name in COLUMNS]
    return [RowOfNote(row) for row in zip(*values, strict=True)]


ROW = items(id=[1])[0]


@pytest.mark.parametrize(
    ("columns", "expected", "failing"),
    [
        ({"text": ["a", None, "b"]}, {"text": ["a", None, "b"]}, []),
        ({"text": [None, None]}, {"text": [None, None]}, []),
        ({"text": [None, 5]}, {"text": [None, "5"]}, []),
        ({"text": [Text("a"), None]}, {"text": ["a", None]}, []),
        ({"id": [None, 1, 2]}, {"id": [None, "1", "2"]}, []),
        ({"id": [1, "a", None]}, {"id": ["1", "a", None]}, []),
        ({"id": [True, 1]}, {"id": [None, "1"]}, [0]),
        ({"number": [None, 1, 2]}, {"number": [None, 1, 2]}, []),
        ({"number": [None, None]}, {"number": [None, None]}, []),
        ({"number": [1, True, None]}, {"number": [1, 1, None]}, []),
        ({"number": [1, 2**31]}, {"number": [1, None]}, [1]),
        ({"yes": [True, None, False]}, {"yes": [True, None, False]}, []),
        ({"yes": [True, "x"]}, {"yes": [True, None]}, [1]),
        ({"size": [None, 1, 1.5]}, {"size": [None, 1.0, 1.5]}, []),
        ({"colour": [None, "red"]}, {"colour": [None, "RED"]}, []),
        ({"texts": [None, [], [None, "a"]]}, {"texts": [None, [], [None, "a"]]}, []),
        ({"child": [None, None]}, {"child": [None, None]}, []),
        ({"child": [ROW, ROW]}, {"child": [{"id": "1"}, {"id": "1"}]}, []),
        ({"child": [ROW, None]}, {"child": [{"id": "1"}, None]}, []),
        ({"rows": [None, [], [None], [ROW]]}, {"rows": [None, [], [None], [{"text": None}]]}, []),
    ],
)  # fmt: skip
def test_nulls_and_values_of_a_nullable_column(columns, expected, failing):
    ((name, values),) = expected.items()
    found = check(NULLABLE, {"items": items(**columns)})
    assert repr([item[name] for item in found.data["items"]]) == repr(values)
    assert [error.path[1] for error in found.errors or ()] == failing


def test_no_rows_are_an_empty_list():
    assert check(ITEMS, {"items": []}).data == {"items": []}
    assert check(REQUIRED, {"required": []}).data == {"required": []}


def test_the_texts_of_rows_count_once():
    document, texts = parse("{ items { text } }"), ["x" * 500, None, "y" * 500]
    root = {"items": items(text=texts)}
    size = len(json.dumps(check(document, root).data, separators=(",", ":")))
    check(document, root, max_bytes=size)
    with pytest.raises(ResponseTooLarge):
        check(document, root, max_bytes=size - 100)


def test_texts_count_once_when_a_column_beside_them_fails():
    document, texts = parse("{ items { text number id } }"), ["x" * 500, "y" * 500]
    root = {"items": items(text=texts, number=[1, 2**31], id=["z" * 500, "z"])}
    found = check(document, root)
    assert [error.path for error in found.errors] == [["items", 1, "number"]]
    size = len(json.dumps(found.data, separators=(",", ":"))) + ERROR_BYTES
    check(document, root, max_bytes=size)
    with pytest.raises(ResponseTooLarge):
        check(document, root, max_bytes=size - 100)


@pytest.mark.parametrize(
    "fields",
    [
        "class: text None: id child { lambda: id } v0: number __v1: id v2: __typename for: yes",
        "child { a: id } id again: id",
        "id size rows { id } colour text",
        "child { rows { id } }",
        "size colour",
        "size",
    ],
)
def test_results_have_the_names_and_the_order_of_the_fields(fields):
    found = items(
        id=[1, 2], text=["a", "b"], size=[1.5, 2], number=[3, 4], yes=[True, None],
        colour=["red", None], child=[ROW, None], rows=[[ROW], []],
    )  # fmt: skip
    document = parse(f"{{ items {{ {fields} }} }}")
    result = check(document, {"items": found})
    expected = execute_sync(SCHEMA, document, {"items": found})
    assert json.dumps(result.data) == json.dumps(expected.data)


def test_a_type_with_a_check_of_its_own_sees_each_row(monkeypatch):
    asked = []

    def is_type_of(value, _info):
        asked.append(value)
        return value.id != 2

    schema = graphene.Schema(query=Query).graphql_schema
    monkeypatch.setattr(schema.type_map["Item"], "is_type_of", is_type_of)
    found = items(id=[1, 2, 3])
    document = parse("{ items { id } }")
    result = execute(schema, document, {"items": found}, plan_cache=PlanCache(eager=True))
    assert asked == found
    assert_same(result, execute_sync(schema, document, {"items": found}))
    assert [error.path for error in result.errors] == [["items", 1]]


@pytest.mark.parametrize(
    ("type_", "values", "expected"),
    [
        (GraphQLID, [None, 1, None, 2], [None, "1", None, "2"]),
        (GraphQLInt, [3, None], [3, None]),
        (GraphQLInt, [2**31, None], None),
        (GraphQLNonNull(GraphQLInt), [3, None], None),
        (GraphQLID, [None, 1, "a"], None),
    ],
)
def test_nulls_beside_values_of_one_class_need_no_code_of_the_scalar(type_, values, expected):
    found = OutputType(type_).serialize_plain(values, set(map(type, values)))
    assert found == expected
