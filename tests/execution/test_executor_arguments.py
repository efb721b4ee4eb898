"""``execute`` takes the arguments of graphql-core's ``execute``, at its positions."""

import asyncio
import inspect
import itertools

import pytest
from graphql import ExecutionContext, MiddlewareManager, build_schema, parse
from graphql import execute as execute_by_graphql_core

from pcf.execution.arguments import shared_arguments
from pcf.execution.executor import execute
from pcf.execution.plan_cache import PlanCache
from pcf.execution.promise_executor import PromiseExecutionContext
from tests.execution.helpers import later

SDL = """
input I { a: Int }
type Query { a(i: I, n: Int): String list: [Any] }
interface Any { a: String }
type One implements Any { a: String }
"""
BAD = "query ($i: I, $j: I) { a(i: $i) b: a(i: $j) }"


def test_the_signature_begins_as_graphql_cores():
    core = inspect.signature(execute_by_graphql_core).parameters
    own = list(inspect.signature(execute).parameters.values())
    assert [p.name for p in own[: len(core)]] == list(core)
    assert [p.default for p in own[: len(core)]] == [p.default for p in core.values()]
    assert all(p.kind is p.KEYWORD_ONLY for p in own[len(core) :])


def test_positions_have_graphql_cores_meaning():
    arguments = (
        build_schema(SDL),
        parse("query Q($n: Int) { a(n: $n) list { a } } query R { a }"),
        {"root": True},
        {"context": True},
        {"n": 3},
        "Q",
        lambda parent, info, **given: (
            [1] if info.field_name == "list" else f"{parent} {info.context} {given}"
        ),
        lambda *_: "One",
        None,
        7,
        (lambda resolve, *given, **named: resolve(*given, **named),),
    )
    for plans in (PlanCache(), PlanCache(eager=True)):
        result = execute(*arguments, plan_cache=plans)
        assert result == execute_by_graphql_core(*arguments)
        assert result.errors is None


def test_coercion_errors_are_limited_and_suggestions_hidden():
    schema, values = build_schema(SDL), {"i": {"b": 1}, "j": {"b": 1}}
    for options in ({}, {"max_coercion_errors": 1}, {"hide_suggestions": True}):
        result = execute(schema, parse(BAD), variable_values=values, **options)
        assert result == execute_by_graphql_core(
            schema, parse(BAD), variable_values=values, **options
        )
        assert result.errors


def test_a_middleware_of_another_type_is_refused():
    with pytest.raises(TypeError, match="Middleware must be passed as a list"):
        execute(build_schema(SDL), parse("{ a }"), middleware=lambda *_: None)


class Upper(ExecutionContext):
    def execute_field(self, *arguments):
        return str(super().execute_field(*arguments)).upper()


class UpperWithPromises(PromiseExecutionContext):
    def execute_field(self, *arguments):
        return str(super().execute_field(*arguments)).upper()


def test_an_execution_context_class_executes():
    schema, document, root = build_schema(SDL), parse("{ a }"), {"a": "x"}
    for class_ in (Upper, UpperWithPromises):
        result = execute(schema, document, root, execution_context_class=class_)
        assert result.data == {"a": "X"}
    for class_ in (ExecutionContext, PromiseExecutionContext):
        result = execute(
            schema, document, {"a": lambda _: later("p")}, execution_context_class=class_
        )
        assert result.data == {"a": "p"}


def test_limits_need_a_context_that_knows_them():
    schema, document, root = build_schema(SDL), parse("{ a }"), {"a": "x"}
    checks = []
    result = execute(
        schema,
        document,
        root,
        execution_context_class=UpperWithPromises,
        check=lambda: checks.append(1),
    )
    assert result.data == {"a": "X"}
    assert checks
    for limit in ({"check": lambda: None}, {"max_items": 1}, {"max_bytes": 1}):
        with pytest.raises(TypeError, match="derive the execution_context_class"):
            execute(schema, document, root, execution_context_class=Upper, **limit)


def test_a_predicate_of_awaitables_is_graphql_cores():
    async def main():
        return "x"

    made = main()
    result = execute(build_schema(SDL), parse("{ a }"), {"a": made}, is_awaitable=lambda _: False)
    assert "cannot represent value: <coroutine main>" in result.errors[0].message
    made.close()
    pending = execute(
        build_schema(SDL), parse("{ a }"), {"a": lambda _: main()}, is_awaitable=inspect.isawaitable
    )
    assert asyncio.run(pending).data == {"a": "x"}


def test_a_manager_of_middleware_may_choose_the_fields():
    class Some(MiddlewareManager):
        def get_field_resolver(self, field_resolver):
            return lambda *_, **__: "all"

    plans = PlanCache(eager=True)
    schema, document = build_schema(SDL), parse("{ a }")
    assert execute(schema, document, middleware=Some(), plan_cache=plans).data == {"a": "all"}


TICKS = """
scalar Tick
enum Colour { RED }
input When { tick: Tick = 0 }
type Query { items: [Item] }
type Item {
  at(tick: Tick, n: Int): Int, each(ticks: [Tick]): Int, when(when: When): Int
  plain(n: Int, text: String, colour: Colour): String
}
"""


def ticking_schema():
    """A schema with a scalar whose every literal is another number, and an input that is one."""
    schema = build_schema(TICKS)
    numbers = itertools.count(1)
    schema.type_map["Tick"].parse_literal = lambda _node, _variables=None: next(numbers)
    schema.type_map["When"].out_type = lambda values: values["tick"]
    return schema


class Item:
    def at(self, _info, tick, n=None):
        return tick

    def each(self, _info, ticks):
        return ticks if isinstance(ticks, int) else ticks[0]

    def when(self, _info, when):
        return when

    def plain(self, _info, **given):
        return str(sorted(given.items()))


@pytest.mark.parametrize(
    "field",
    ["at(tick: 1)", "at(tick: 1, n: $n)", "each(ticks: [1, 2])", "each(ticks: 1)",
     "when(when: {tick: 1})", 'plain(n: 1, text: "a", colour: RED)'],
)  # fmt: skip
def test_each_call_coerces_the_literals_of_a_scalar_of_the_schema(field):
    document = parse(f"query ($n: Int) {{ items {{ {field} }} }}")
    given = {"root_value": {"items": [Item(), Item()]}, "variable_values": {"n": 1}}
    schema, reference = ticking_schema(), ticking_schema()
    plans = PlanCache(eager=True)
    for _ in range(2):
        planned = execute(schema, document, plan_cache=plans, **given)
        assert planned == execute_by_graphql_core(reference, document, **given)
        assert planned.errors is None
    assert len(plans) == 1


def test_calls_share_arguments_that_every_coercion_makes_anew():
    schema = ticking_schema()
    definition = schema.type_map["Item"].fields["plain"]
    for text in ("n: 1", 'text: "a"', "colour: RED", "n: $n", "n: null"):
        (operation,) = parse(f"{{ plain({text}) }}").definitions
        (node,) = operation.selection_set.selections
        assert shared_arguments(definition, node, {"n": 1}) is not None, text
