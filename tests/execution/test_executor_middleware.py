"""Middleware runs inside plans, with the calls that graphql-core makes."""

import graphene
import pytest
from graphql import MiddlewareManager, build_schema, execute_sync, parse
from promise import Promise

from pcf.database.query_log import count_queries
from pcf.execution.context import RequestContext
from pcf.execution.executor import execute
from pcf.execution.plan_cache import PlanCache
from pcf.project.schema import schema as project_schema
from tests.execution.comparison import assert_same
from tests.execution.helpers import Recording

SDL = """
type Query { a(n: Int = 1): String list: [Item!] deep: Item }
type Item { a(n: Int, words: [String]): String b: Int! parent: Query }
"""
QUERY = """
query ($n: Int) {
  __typename a list { __typename a(n: $n, words: ["x"]) b parent { a(n: 3) } } deep { x: b y: b }
}
"""


class Calls:
    """Middleware that records its calls, and changes texts."""

    def __init__(self, name):
        self.name = name
        self.seen = []

    def resolve(self, following, root, info, **arguments):
        self.seen.append((tuple(info.path.as_list()), repr(root), repr(arguments), self.name))
        value = following(root, info, **arguments)
        return f"{self.name}({value})" if isinstance(value, str) else value


def root():
    item = {"a": lambda info, **given: f"{info.field_name} {given}", "b": 2, "parent": {"a": "p"}}
    return {"a": "text", "list": [item, {"a": "other", "b": 7}], "deep": item}


def run(call, make_middleware):
    first, second = Calls("first"), Calls("second")
    result = call(make_middleware(first, second))
    return result, sorted(first.seen), sorted(second.seen)


def as_function(calls):
    def middleware(following, root, info, **arguments):
        return calls.resolve(following, root, info, **arguments)

    return middleware


@pytest.mark.parametrize(
    "make",
    [
        lambda first, second: [first, second],
        lambda first, second: (first, as_function(second)),
        lambda first, second: MiddlewareManager(as_function(first), second, object()),
        lambda first, _second: [first],
        lambda _first, _second: [],
        lambda _first, _second: MiddlewareManager(),
        lambda _first, _second: [object()],
    ],
)
def test_the_calls_and_the_result_are_graphql_cores(make):
    schema, document = build_schema(SDL), parse(QUERY)
    options = {"root_value": root(), "variable_values": {"n": 5}}
    expected = run(
        lambda middleware: execute_sync(schema, document, middleware=middleware, **options), make
    )
    for plans in (PlanCache(eager=True), PlanCache()):
        actual = run(
            lambda middleware, plans=plans: execute(
                schema, document, middleware=middleware, plan_cache=plans, **options
            ),
            make,
        )
        assert_same(actual[0], expected[0])
        assert actual[1:] == expected[1:]


def test_an_error_of_middleware_is_an_error_of_its_field():
    def fail(following, root, info, **arguments):
        if info.field_name == "b":
            raise StopIteration("no")
        return following(root, info, **arguments)

    schema, document = build_schema(SDL), parse("{ list { a b } deep { a } }")
    options = {"root_value": root(), "middleware": [fail]}
    expected = execute_sync(schema, document, **options)
    assert_same(execute(schema, document, plan_cache=PlanCache(eager=True), **options), expected)


def test_promises_below_middleware_are_batched():
    loader = Recording({1: "one", 2: "two"})
    items = [{"a": lambda _, n=n, **__: loader.load(n), "b": 1} for n in (1, 2)]

    def later(following, root, info, **arguments):
        return Promise.resolve(following(root, info, **arguments)).then(lambda value: value)

    result = execute(
        build_schema(SDL),
        parse("{ list { a b } }"),
        {"list": items},
        middleware=[later],
        plan_cache=PlanCache(eager=True),
    )
    assert result.data == {"list": [{"a": "one", "b": 1}, {"a": "two", "b": 1}]}
    assert loader.batches == [[1, 2]]


PAGE = "{ users(first: 10) { id name notes { title author { name } tags { name } } } }"


@pytest.mark.django_db
def test_edges_below_middleware_send_one_statement_a_level(world):
    seen = []

    def note(following, root, info, **arguments):
        seen.append(info.field_name)
        return following(root, info, **arguments)

    def answer(middleware):
        with count_queries() as queries:
            result = execute(
                project_schema.graphql_schema,
                parse(PAGE),
                context_value=RequestContext(),
                middleware=middleware,
            )
        assert result.errors is None
        return result.data, queries.count

    expected = answer(None)
    assert answer([]) == expected
    assert answer([note]) == expected
    assert {"users", "notes", "author", "tags", "name"} <= set(seen)


def test_middleware_gets_the_attributes_of_instances(world):
    """A light row has some columns alone."""
    emails = []

    def read(following, root, info, **arguments):
        if info.field_name == "name" and info.parent_type.name == "User":
            emails.append(root.email)
        return following(root, info, **arguments)

    result = execute(
        project_schema.graphql_schema,
        parse("{ users(first: 10) { name } }"),
        context_value=RequestContext(),
        middleware=[read],
    )
    assert result.errors is None
    assert len(emails) == len(result.data["users"]) > 0


def test_graphene_middleware_has_a_plan():
    class Query(graphene.ObjectType):
        numbers = graphene.List(graphene.Int)

        def resolve_numbers(self, _info):
            return [1, 2]

    schema = graphene.Schema(query=Query).graphql_schema
    plans = PlanCache()
    for _ in range(2):
        result = execute(
            schema, parse("{ numbers }"), middleware=[Calls("first")], plan_cache=plans
        )
        assert result.data == {"numbers": [1, 2]}
    assert len(plans) == 1
