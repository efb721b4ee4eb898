"""The executor serialises many values of one class at once, as their scalar serialises each."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import IntEnum

import graphene
import pytest
from graphql import (
    GraphQLField,
    GraphQLList,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    parse,
)
from graphql import execute as execute_by_graphql_core

from pcf.errors import ResponseTooLarge
from pcf.execution.executor import execute
from pcf.execution.plan_cache import PlanCache


class Moment(datetime):
    def isoformat(self, *_args, **_kwargs):
        return "a moment"


class BrokenZone(tzinfo):
    def utcoffset(self, _time):
        raise ValueError("no such zone")


class Number(IntEnum):
    ONE = 1


class Value(graphene.ObjectType):
    at = graphene.DateTime()
    key = graphene.ID()
    count = graphene.Int()
    required = graphene.ID(required=True)


class Query(graphene.ObjectType):
    values = graphene.List(Value)


SCHEMA = graphene.Schema(query=Query).graphql_schema
TIMES = [
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    datetime.min.replace(tzinfo=UTC),
    datetime.fromisoformat("2026-01-02T03:04:05"),
]


def run(field, values, **options):
    root = {"values": [{field: value} for value in values]}
    document = parse(f"{{ values {{ {field} }} }}")
    own = execute(SCHEMA, document, root, plan_cache=PlanCache(eager=True), **options)
    return own, execute_by_graphql_core(SCHEMA, document, root)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("at", TIMES),
        ("at", [*TIMES, date(2026, 1, 2)]),
        ("at", [Moment(2026, 1, 2)]),
        ("at", [Moment(2026, 1, 2), *TIMES]),
        ("at", [*TIMES, None]),
        ("at", [*TIMES, "2026-01-02"]),
        ("at", [None, None]),
        ("at", [*TIMES, datetime(2026, 1, 2, tzinfo=BrokenZone())]),
        ("key", [1, 2**70, -1]),
        ("key", [1, True]),
        ("key", [True]),
        ("key", [Number.ONE]),
        ("key", [1, None, "a"]),
        ("key", [10**5_000]),
        ("count", [0, 2**31 - 1, -(2**31)]),
        ("count", [0, 2**31]),
        ("count", [True, 1, None]),
        ("required", ["a", None]),
        ("required", [1, 2]),
        ("required", [None]),
        ("required", []),
    ],
)
def test_values_and_errors_are_graphql_cores(field, values):
    own, core = run(field, values)
    assert own.data == core.data
    assert [str(error) for error in own.errors or ()] == [str(error) for error in core.errors or ()]


@pytest.mark.parametrize("values", [TIMES * 20, [*TIMES, None] * 20])
def test_times_count_in_the_size_of_a_response(values):
    with pytest.raises(ResponseTooLarge):
        run("at", values, max_bytes=len(values) * 25)
    assert not run("at", values, max_bytes=len(values) * 60)[0].errors


def test_the_function_of_a_scalar_needs_no_hash():
    class Serialize:
        __hash__ = None

        def __call__(self, value):
            return f"<{value}>"

    text = GraphQLScalarType("Text", serialize=Serialize())
    schema = GraphQLSchema(GraphQLObjectType("Query", {"a": GraphQLField(GraphQLList(text))}))
    result = execute(schema, parse("{ a }"), {"a": [1]}, plan_cache=PlanCache(eager=True))
    assert (result.data, result.errors) == ({"a": ["<1>"]}, None)
