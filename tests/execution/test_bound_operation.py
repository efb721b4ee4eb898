"""A bound operation has the result of ``execute`` with the same variables, in each of its runs."""

from types import MappingProxyType

import pytest
from graphql import GraphQLError, build_schema, execute_sync, parse, validate
from hypothesis import given

from notes.models import Note
from pcf.errors import ResponseTooLarge
from pcf.execution.arguments import IMMUTABLE
from pcf.execution.bound_operation import bind
from pcf.execution.context import RequestContext
from pcf.execution.executor import execute, execute_bound
from pcf.execution.plan_cache import PlanCache
from pcf.project.schema import schema as project_schema
from pcf.timeouts import DeadlineExceeded, TimeoutContext
from pcf.viewer import ANONYMOUS
from tests.execution.comparison import assert_same
from tests.execution.outcomes import AtOnce
from tests.execution.test_executor_project import executed, viewers
from tests.execution.test_promise_executor_differential import as_request, cases, fuzz, run

SCHEMA = project_schema.graphql_schema
USERS = "query ($n: Int! = 2, $after: ID) { users(first: $n, after: $after) { name notes { id } } }"
REQUESTS = {
    "no variables": ("{ users { id notes { title author { name } tags { id name } } } }", {}),
    "a default": (USERS, {}),
    "a variable": (USERS, {"n": 1}),
    "null": (USERS, {"n": 1, "after": None}),
    "a number as an id": (USERS, {"after": 1}),
    "a variable that is not declared": (USERS, {"n": 1, "more": [{"a": 1}]}),
    "a page that cannot be": (USERS, {"n": 0}),
    "null propagation": (
        "query ($n: Int!) { tags { id } users { name notes(first: $n) { id } } }",
        {"n": 0},
    ),
    "an error below null": (
        'query ($a: ID) { user(id: "0") { id } notes { id author { notes(after: $a) { id } } } }',
        {"a": "x"},
    ),
    "conditions": (
        """query ($yes: Boolean = true, $no: Boolean!) { users { id @skip(if: $no) ...F } }
        fragment F on User { name @include(if: $yes) notes @skip(if: $yes) { id } }""",
        {"no": False},
    ),
    "a name": (f"query Other {{ __typename }} {USERS.replace('(', 'Main(', 1)}", {"n": 1}),
    "fragments and aliases": (
        """query ($n: Int!) { a: notes(first: $n) { ...N } b: notes(first: 1) { ...N } }
        fragment N on Note { __typename title author { id notes(first: $n) { id } } }""",
        {"n": 2},
    ),
    "introspection": ("query ($n: String!) { __type(name: $n) { fields { name } } }", {"n": "Tag"}),
}


def bound_of(schema, document, variables, *, name=None):
    """Return the bound operation; None where there is none."""
    plans = PlanCache(eager=True)
    execute(
        schema, document, plan_cache=plans, variable_values=variables, operation_name=name,
        context_value=RequestContext(ANONYMOUS), middleware=[lambda *_, **__: None],
    )  # fmt: skip
    plan = plans.known_plan(schema, document, name, variables)
    return None if plan is None else bind(plan, variables)


def as_execute(bound):
    """Return a function with the first arguments of ``execute``."""
    return lambda _schema, _document, **options: execute_bound(bound, **options)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_result_is_that_of_execute(world, name):
    text, variables = REQUESTS[name]
    document = parse(text)
    assert validate(SCHEMA, document) == []
    operation_name = "Main" if "Main" in text else None
    bound = bound_of(SCHEMA, document, variables, name=operation_name)
    assert bound is not None
    options = {"variable_values": variables, "operation_name": operation_name}
    for viewer in viewers(world):
        expected = executed(execute, document, viewer, plan_cache=PlanCache(eager=True), **options)
        for _ in range(2):
            result, dependencies, statements = executed(as_execute(bound), document, viewer)
            assert_same(result, expected[0])
            assert (dependencies, statements) == expected[1:]
    assert bool(expected[0].errors) == (name in FAILING)


FAILING = {"a page that cannot be", "null propagation", "an error below null"}


@fuzz
@given(case=cases())
def test_random_operations_have_the_result_of_graphql_core(case):
    delivery = AtOnce()
    schema = case[0].schema(delivery)
    request = as_request(schema, case)
    for values in (case[1].variables, case[1].other_variables):
        bound = bound_of(schema, request.document, values, name=request.operation_name)
        if bound is None:
            continue
        given_values = {"variable_values": values, "operation_name": request.operation_name}
        expected = run(delivery, execute_sync, schema, request.document, **given_values)
        for _ in range(2):
            found = run(delivery, execute_bound, bound, context_value=None)
            assert_same(found, expected)


@pytest.mark.parametrize("limits", [{"max_items": 2}, {"max_bytes": 60}])
def test_too_large_a_response_ends_the_run(world, limits):
    Note.objects.update(is_public=True)
    document, context = parse("{ notes { title } }"), RequestContext(ANONYMOUS)
    bound = bound_of(SCHEMA, document, {})
    with pytest.raises(ResponseTooLarge) as expected:
        execute(SCHEMA, document, context_value=context, **limits)
    with pytest.raises(ResponseTooLarge) as refused:
        execute_bound(bound, context_value=RequestContext(ANONYMOUS), **limits)
    assert refused.value.extensions == expected.value.extensions
    told = []
    execute_bound(
        bound, context_value=RequestContext(ANONYMOUS), max_bytes=1_000, on_bytes=told.append
    )
    assert sum(told) > 60


def test_the_deadline_ends_the_run_at_the_same_field(world):
    document = parse("{ users { name notes { title } } }")
    bound = bound_of(SCHEMA, document, {})
    for end in range(6):
        paths = []
        for way in (execute, as_execute(bound)):
            checks = iter(range(end))

            def check(checks=checks):
                if next(checks, None) is None:
                    TimeoutContext.start("http", 0.0).check()

            try:
                way(SCHEMA, document, context_value=RequestContext(ANONYMOUS), check=check)
            except DeadlineExceeded as error:
                paths.append(error.path)
            else:
                paths.append("complete")
        assert paths[0] == paths[1]
        assert paths[0] != "complete"


SDL = """
scalar Any
enum Colour { RED }
input Filter { a: Int }
type Query { items(n: Int, f: Filter, a: Any): [Item!] failing: [Int!] }
type Item { n(n: Int, text: String): String id: ID }
"""
OWN = build_schema(SDL)
LEAVES = "query ($n: Int, $t: String) { items { n(n: $n, text: $t) } }"


def test_runs_share_nothing_that_a_resolver_could_change(monkeypatch):
    schema = build_schema(SDL)
    seen = []

    class Item:
        def n(self, info, **given):
            seen.append((given, info.variable_values, info.fragments))
            found = str((sorted(given.items()), sorted(info.variable_values), *info.fragments))
            given.clear()
            info.variable_values["n"] = info.variable_values["more"] = ["changed"]
            info.fragments.clear()
            return found

    monkeypatch.setattr(schema.type_map["Query"].fields["items"], "resolve", lambda *_: [Item()])
    document = parse("query ($n: Int) { items { ...F } } fragment F on Item { n(n: $n) }")
    plans, given_values = PlanCache(eager=True), {"n": 1}
    execute(schema, document, plan_cache=plans, variable_values=given_values)
    bound = bind(plans.known_plan(schema, document, None, given_values), given_values)
    seen.clear()
    given_values["n"] = 2
    results = [execute_bound(bound, context_value=None) for _ in range(3)]
    assert bound.variables == {"n": 1}
    assert [result.data for result in results] == [
        {"items": [{"n": "([('n', 1)], ['n'], 'F')"}]}
    ] * 3
    assert len({id(part) for parts in seen for part in parts}) == 9
    results[0].data["items"].append("changed")
    assert execute_bound(bound, context_value=None).data == results[1].data


def test_the_errors_of_a_run_are_its_own(monkeypatch):
    schema = build_schema(SDL)

    def fail(*_):
        raise GraphQLError("no", extensions={"list": []})

    monkeypatch.setattr(schema.type_map["Query"].fields["failing"], "resolve", fail)
    bound = bound_of(schema, parse("{ failing items { n } }"), {})
    first = execute_bound(bound, context_value=None)
    assert [error.message for error in first.errors] == ["no"]
    first.errors[0].extensions["list"].append("changed")
    again = execute_bound(bound, context_value=None)
    assert [error.extensions for error in again.errors] == [{"list": []}]
    assert again.data == {"failing": None, "items": None}


@pytest.mark.parametrize(
    ("declared", "variables", "expected"),
    [
        ("$n: Int, $t: String", {}, {}),
        ("$n: Int, $t: String", {"n": 1, "t": "x"}, {"n": 1, "t": "x"}),
        ("$n: Int, $t: String", {"n": None}, {"n": None}),
        ("$n: Int = 3, $t: String", {}, {"n": 3}),
        ("$n: Int = 3, $t: String", {"n": None}, {"n": None}),
        ("$n: Int!, $t: String", {"n": 1.0}, {"n": 1}),
        ("$n: Int, $t: String, $i: ID", {"i": 7}, {"i": "7"}),
        ("$n: Int, $t: String, $c: Colour", {"c": "RED"}, {"c": "RED"}),
        ("$n: Int, $t: String, $l: [Int]", {"l": None}, {"l": None}),
        ("$n: Int, $t: String", MappingProxyType({"other": [1]}), {}),
        # each run coerces them
        ("$n: Int, $t: String, $l: [Int]", {"l": [1]}, None),
        ("$n: Int, $t: String, $l: [Int]", {"l": 1}, None),
        ("$n: Int, $t: String, $l: [Int!]! = []", {}, None),
        ("$n: Int, $t: String, $f: Filter", {"f": {}}, None),
        ("$n: Int, $t: String, $f: Filter", {}, None),
        ("$n: Int, $t: String, $a: Any", {"a": 1}, None),
        ("$n: Int, $t: String, $a: [Any!]", {}, None),
        ("$n: Int, $t: String, $x: Unknown", {}, None),
        ("$n: Int, $t: String, $x: Item", {}, None),
        ("$n: Int!, $t: String", {}, None),
        ("$n: Int!, $t: String", {"n": None}, None),
        ("$n: Int, $t: String", {"n": "one"}, None),
        ("$n: Int, $t: String", {"n": [1]}, None),
        ("$n: Int, $t: String", {"n": 2**31}, None),
        ("$n: Int, $t: String, $c: Colour", {"c": "GREEN"}, None),
        ("$n: Int, $t: String = 3", {}, None),
    ],
)
def test_variables_that_runs_may_share_are_bound(declared, variables, expected):
    plans, document = PlanCache(eager=True), parse(LEAVES)
    execute(OWN, document, plan_cache=plans)
    plan = plans.known_plan(OWN, document, None, {})
    (plan.operation,) = parse(LEAVES.replace("$n: Int, $t: String", declared)).definitions
    bound = bind(plan, variables)
    assert (bound and bound.variables) == expected
    if bound is not None:
        assert all(isinstance(value, IMMUTABLE) for value in bound.variables.values())
        assert repr(bound.variables) == repr(expected)


def test_an_enum_with_code_of_its_own_is_not_bound(monkeypatch):
    plans, document = PlanCache(eager=True), parse("query ($c: Colour) { items { n } }")
    schema = build_schema(SDL)
    execute(schema, document, plan_cache=plans)
    plan = plans.known_plan(schema, document, None, {})
    assert bind(plan, {"c": "RED"}) is not None
    colour = schema.type_map["Colour"]

    class Own(type(colour)):
        def parse_value(self, value):
            return value

    monkeypatch.setattr(colour, "__class__", Own)
    assert bind(plan, {"c": "RED"}) is None
