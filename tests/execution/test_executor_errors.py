"""Whatever a resolver, a value or a type raises is the error of one field, as in graphql-core.

Each case runs by a plan, on the promise executor, and on graphql-core's own.
"""

from collections.abc import Mapping

import graphene
import pytest
from django.utils.functional import SimpleLazyObject
from graphql import GraphQLError, build_schema, execute_sync, parse
from promise import Promise

from pcf.execution.executor import execute, execute_with_promises
from pcf.execution.plan_cache import PlanCache
from tests.execution.comparison import assert_same
from tests.execution.helpers import errors, later

SDL = """
type Query {
  a: String  b: String!  c: String  id: ID  n: Int
  deep: Query  list: [Query]  words: [String]  any: Any  one: One  e: E  s: Odd
}
interface Any { a: String }
type One implements Any { a: String }
enum E { RED }
scalar Odd
"""
KINDS = [
    ValueError, KeyError, AttributeError, TypeError, StopIteration, StopAsyncIteration,
    RecursionError, MemoryError, AssertionError, NotImplementedError, GraphQLError, OSError,
    type("Group", (ExceptionGroup,), {"__new__": lambda cls, text: ExceptionGroup.__new__(
        cls, text, [ValueError("inner")])}),
]  # fmt: skip
KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def check(root, query="{ deep { a c } c list { a c } }", schema=None, **options):
    """Compare both executors with graphql-core, and return the result."""
    schema, document = schema or build_schema(SDL), parse(query)
    expected = execute_sync(schema, document, root, **options)
    planned = execute(schema, document, root, plan_cache=PlanCache(eager=True), **options)
    assert_same(planned, expected)
    assert_same(execute_with_promises(schema, document, root_value=root, **options), expected)
    return planned


def raising(kind, name="a"):
    """Return an object whose property raises."""

    def fail(_self):
        raise kind("boom")

    return type("Source", (), {name: property(fail), "c": "fine"})()


@KIND
def test_properties(kind):
    root = {"deep": raising(kind), "c": "x", "list": [raising(kind), {"a": "y"}, raising(kind)]}
    result = check(root)
    assert result.data["c"] == "x"
    assert result.data["list"][1]["a"] == "y"


@KIND
def test_functions(kind):
    def fail(_info):
        raise kind("boom")

    root = {"deep": {"a": fail}, "c": fail, "list": [{"a": fail, "c": "x"}, {"c": fail}]}
    assert len(check(root).errors) == 4
    check({"deep": {"b": fail}, "c": "x"}, "{ deep { b } c }")


@KIND
def test_returned_errors(kind):
    root = {"deep": {"a": kind("boom")}, "c": kind("bang"), "list": [kind("x"), {"a": "y"}]}
    assert len(check(root).errors) == 3


@KIND
def test_mappings(kind):
    class Failing(dict):
        def get(self, *_):
            raise kind("boom")

    class Other(Mapping):
        def __getitem__(self, key):
            raise kind("boom")

        def __iter__(self):
            return iter(())

        def __len__(self):
            return 0

    check({"deep": Failing(), "c": "x", "list": [Other(), {"a": "y"}, Failing()]})


@KIND
def test_iterables(kind):
    def generator():
        yield "one"
        raise kind("boom")

    class Iterator:
        count = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.count += 1
            if self.count > 2:
                raise kind("boom")
            return "word"

        def __len__(self):
            raise kind("never asked")

    for make in (generator, Iterator):
        check({"words": lambda _, make=make: make(), "c": "x"}, "{ words c }")


@KIND
def test_types_and_scalars(kind):
    def fail(*_):
        raise kind("boom")

    class Unsure:
        def __bool__(self):
            raise kind("boom")

    for name, attribute, value in [
        ("Any", "resolve_type", fail),
        ("One", "is_type_of", fail),
        ("One", "is_type_of", lambda *_: Unsure()),
        ("Odd", "serialize", fail),
        ("E", "serialize", fail),
    ]:
        schema = build_schema(SDL)
        setattr(schema.type_map[name], attribute, value)
        root = {"any": {"a": "x"}, "one": {"a": "y"}, "e": "RED", "s": 1, "c": "z"}
        if name == "One":
            root["any"] = None
        query = "{ any { a } one { a } e s c list { any { a } } }"
        assert check(root, query, schema, type_resolver=lambda *_: "One").data["c"] == "z"


@pytest.mark.parametrize(
    "value", [None, 2**31, pytest.param(10**5_000, id="huge"), "x" * 3, 1.5, object, True]
)
def test_leaf_values(value):
    check({"list": [{"id": value, "n": value, "a": value}, {"id": 1, "n": 2, "a": "b"}]},
          "{ list { id n a } }")  # fmt: skip


def test_a_scalar_serialises_each_value_once():
    calls = []
    schema = build_schema(SDL)
    schema.type_map["Odd"].serialize = lambda value: calls.append(value)
    execute(schema, parse("{ s }"), {"s": 1}, plan_cache=PlanCache(eager=True))
    assert calls == [1]


def test_an_error_without_a_text_is_an_error_of_its_field():
    class Odd(Exception):
        def __str__(self):
            raise ValueError("no text")

    def fail(_info):
        raise Odd

    root = {"deep": {"a": fail, "c": "x"}}
    document = parse("{ deep { a c } }")
    for result in (
        execute(build_schema(SDL), document, root, plan_cache=PlanCache(eager=True)),
        execute_with_promises(build_schema(SDL), document, root_value=root),
    ):
        assert result.data == {"deep": {"a": None, "c": "x"}}
        ((message, path),) = errors(result)
        assert (message.endswith("Odd without a text (ValueError)"), path) == (True, ["deep", "a"])


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("plans", [PlanCache(eager=True), PlanCache()])
def test_what_is_no_exception_ends_the_operation(kind, plans):
    def fail(_info):
        raise kind

    with pytest.raises(kind):
        execute(build_schema(SDL), parse("{ deep { a } }"), {"deep": {"a": fail}}, plan_cache=plans)


@KIND
def test_rejected_promises(kind):
    root = {
        "deep": {"a": lambda _: Promise.reject(kind("boom")), "c": "x"},
        "list": lambda _: later([{"a": lambda _: later(kind("late"))}, {"a": "y"}]),
    }
    document = parse("{ deep { a c } list { a } }")
    for plans in (PlanCache(eager=True), PlanCache()):
        result = execute(build_schema(SDL), document, root, plan_cache=plans)
        assert result.data == {"deep": {"a": None, "c": "x"}, "list": [{"a": None}, {"a": "y"}]}
        assert len(result.errors) == 2


class Future:
    """An awaitable that is no coroutine."""

    def __await__(self):
        yield


async def coroutine():
    """Never awaited."""


@pytest.mark.parametrize("make", [Future, coroutine])
@pytest.mark.parametrize("plans", [PlanCache(eager=True), PlanCache()])
def test_awaitables_are_errors_of_their_fields(make, plans):
    root = {"deep": lambda _: make(), "a": lambda _: make(), "words": lambda _: [make(), "x"]}
    result = execute(build_schema(SDL), parse("{ deep { a } a words }"), root, plan_cache=plans)
    assert result.data == {"deep": None, "a": None, "words": [None, "x"]}
    assert all(message.startswith("Execution is synchronous") for message, _ in errors(result))


def test_lazy_objects_count_as_what_they_hold():
    lazy = SimpleLazyObject
    root = {
        "deep": lazy(lambda: {"a": "in a dict"}),
        "list": [lazy(lambda: {"a": "x"}), {"a": "y"}, lazy(lambda: raising(ValueError))],
    }
    result = check(root, "{ deep { a } list { a } }")
    assert result.data == {
        "deep": {"a": "in a dict"},
        "list": [{"a": "x"}, {"a": "y"}, {"a": None}],
    }


ARGUMENTS = "type Query { name(upper: Boolean! = false, n: [Int]): String list: [Query] }"


class Named:
    @property
    def name(self):
        return "x"


@pytest.mark.parametrize(
    ("query", "variables", "message"),
    [
        ("query ($u: Boolean) { list { name(upper: $u) } }", {"u": None}, "must not be null"),
        ("query ($u: Boolean) { list { name(upper: $u) } }", {}, None),
        ("{ list { name(upper: null) } }", {}, "null"),
        ("query ($n: [Int]) { list { name(n: $n) } }", {"n": [1]}, None),
        ("{ list { name(n: [1, 2]) } }", {}, None),
    ],
)
@pytest.mark.parametrize("source", [{"name": "x"}, Named()])
def test_arguments_of_fields_without_a_resolver_are_coerced(query, variables, message, source):
    result = check(
        {"list": [source] * 2}, query, build_schema(ARGUMENTS), variable_values=variables
    )
    if message is None:
        assert result.data == {"list": [{"name": "x"}] * 2}
    else:
        assert [path for _, path in errors(result)] == [["list", 0, "name"], ["list", 1, "name"]]
        assert all(message in text for text, _ in errors(result))


def test_arguments_of_graphenes_default_resolvers_are_coerced():
    class Item(graphene.ObjectType):
        name = graphene.String(upper=graphene.Boolean(required=True, default_value=False))

    class Query(graphene.ObjectType):
        items = graphene.List(Item)

        def resolve_items(self, _info):
            return [{"name": "x"}]

    schema = graphene.Schema(query=Query).graphql_schema
    query = "query ($u: Boolean) { items { name(upper: $u) } }"
    assert check(None, query, schema, variable_values={}).data == {"items": [{"name": "x"}]}
    assert check(None, query, schema, variable_values={"u": None}).errors


def test_a_type_that_reads_attributes_alone_does_not_read_dicts():
    class Item(graphene.ObjectType):
        class Meta:
            default_resolver = graphene.types.resolver.attr_resolver

        name = graphene.String()
        keys = graphene.String()

    class Query(graphene.ObjectType):
        items = graphene.List(Item)

        def resolve_items(self, _info):
            return [{"name": "x"}, Named()]

    schema = graphene.Schema(query=Query).graphql_schema
    assert check(None, "{ items { name } }", schema).data == {
        "items": [{"name": None}, {"name": "x"}]
    }


def test_a_list_without_an_end_ends_at_the_limit():
    from itertools import repeat

    from pcf.errors import ResponseTooLarge

    for plans in (PlanCache(eager=True), PlanCache()):
        with pytest.raises(ResponseTooLarge):
            execute(
                build_schema(SDL),
                parse("{ words }"),
                {"words": repeat("x")},
                max_items=100,
                plan_cache=plans,
            )
