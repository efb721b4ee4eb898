"""``execute`` returns what graphql-core returns; its plans are shared and bounded."""

import gc
import weakref
from itertools import pairwise
from threading import Thread

import pytest
from graphql import GraphQLError, build_schema, parse
from promise import Promise

from pcf.execution.executor import execute, execute_with_promises
from pcf.execution.plan_cache import MAX_PLANS, PlanCache
from pcf.execution.promises import promise_scope, run
from pcf.observability import metrics
from tests.execution.comparison import assert_same
from tests.execution.helpers import Recording, errors, later

SDL = "type Query { a: Int b: Int! list: [Query!] deep: Query needed: Query! }"


def ask(sdl, query, root=None, **options):
    """Execute by a plan."""
    return execute_plan(build_schema(sdl), parse(query), root_value=root, **options)


def execute_plan(*arguments, **options):
    return execute(*arguments, plan_cache=PlanCache(eager=True), **options)


def count(reason):
    """Return the number of operations that had no plan for this reason."""
    samples = metrics.plan_fallbacks.collect()[0].samples
    return sum(
        sample.value
        for sample in samples
        if sample.name.endswith("_total") and sample.labels["reason"] == reason
    )


def fail(_info):
    raise ValueError("no")


def test_invalid_arguments_raise_type_error():
    with pytest.raises(TypeError):
        execute(build_schema(SDL), None)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("{ a }", {"operation_name": "nope"}),
        ("query A { a } query B { b }", {}),
        ("query ($x: Int!) { a @skip(if: true) }", {}),
        ("query ($x: Int!) { a }", {"variable_values": {"x": "text"}}),
        ("mutation { a }", {}),
        ("fragment F on Query { a }", {}),
    ],
)
def test_requests_that_cannot_be_executed_have_the_same_errors(query, options):
    schema, document = build_schema(SDL), parse(query)
    expected = execute_with_promises(schema, document, **options)
    assert expected.errors
    assert_same(execute(schema, document, **options), expected)


def test_a_null_condition_is_graphql_cores_error():
    schema = build_schema(SDL)
    document = parse("query ($x: Boolean = true) { deep { a @skip(if: $x) } }")
    options = {"root_value": {"deep": {}}, "variable_values": {"x": None}}
    before = count("condition")
    expected = execute_with_promises(schema, document, **options)
    assert_same(execute_plan(schema, document, **options), expected)
    assert expected.errors
    assert count("condition") == before + 1


def test_reasons_are_a_closed_set():
    for sample in metrics.plan_fallbacks.collect()[0].samples:
        assert sample.labels["reason"] in metrics.PLAN_FALLBACKS


def test_custom_resolvers_of_fields_are_used():
    def resolver(_parent, info, **_arguments):
        return len(info.path.as_list())

    result = ask(SDL, "{ a b x: a }", field_resolver=resolver)
    assert result.data == {"a": 1, "b": 1, "x": 1}


def test_errors_that_an_earlier_one_makes_pointless_are_left_out():
    root = {"deep": {"a": fail, "b": fail, "list": fail}}
    result = ask(SDL, "{ deep { a b list { a } } }", root)
    assert result.data == {"deep": None}
    assert errors(result) == [("no", ["deep", "a"]), ("no", ["deep", "b"])]


def test_an_error_deep_down_comes_before_a_later_one_at_the_top():
    root = {"needed": {"needed": {"b": fail}}, "b": fail}
    result = ask(SDL, "{ needed { needed { b } } b }", root)
    assert result.data is None
    assert errors(result) == [("no", ["needed", "needed", "b"])]


def test_items_behind_empty_lists_are_found():
    lists = {"list": [{"list": []}, {"list": []}, {"list": [{"a": 1}, {"a": fail}]}, {"list": []}]}
    result = ask(SDL, "{ list { list { a } } }", lists)
    assert errors(result) == [("no", ["list", 2, "list", 1, "a"])]
    assert result.data["list"][2] == {"list": [{"a": 1}, {"a": None}]}


def test_promises_of_one_level_are_one_batch():
    loader = Recording({1: 1, 2: 2, 3: 3})
    items = [{"a": lambda _, n=n: loader.load(n)} for n in (1, 2, 3)]
    result = ask(SDL, "{ list { a } a }", {"list": items, "a": lambda _: loader.load(1)})
    assert result.data == {"list": [{"a": 1}, {"a": 2}, {"a": 3}], "a": 1}
    assert loader.batches == [[1, 2, 3]]


def test_a_promise_that_nothing_settles_is_an_error_of_its_field_alone():
    items = [{"a": lambda _: Promise()}, {"a": lambda _: later(2)}]
    result = ask(SDL, "{ list { a } }", {"list": items})
    assert result.data == {"list": [{"a": None}, {"a": 2}]}
    assert [path for _, path in errors(result)] == [["list", 0, "a"]]
    assert "would wait for ever" in result.errors[0].message


def test_resolvers_that_could_settle_a_promise_run_first():
    waiting, settle = Promise(), []
    waiting = Promise(lambda resolve, _reject: settle.append(resolve))

    def release(_info):
        settle[0](7)
        return 1

    items = [{"deep": lambda _: waiting}, {"deep": lambda _: later({"a": release})}]
    root = {"list": [{"a": lambda _: waiting}, {"deep": None}], "deep": items[1]["deep"]}
    result = ask(SDL, "{ list { a } deep { a } }", root)
    assert result.data == {"list": [{"a": 7}, {"a": None}], "deep": {"a": 1}}


def test_check_ends_the_operation_and_leaves_nothing_behind():
    checks = iter([None, None, TimeoutError("late")])

    def check():
        error = next(checks)
        if error is not None:
            raise error

    loader = Recording()
    root = {"a": lambda _: loader.load(1), "deep": {"a": 1}}
    with pytest.raises(TimeoutError, match="late"):
        ask(SDL, "{ a deep { a } }", root, check=check)
    assert loader.batches == []
    with promise_scope():
        assert run(Recording().load(2)) == "value 2"


def test_check_is_called_between_many_calls_of_a_resolver():
    checks, calls = [], []
    items = [{"a": lambda _: calls.append(None)} for _ in range(1000)]
    ask(SDL, "{ list { a } }", {"list": items}, check=lambda: checks.append(len(calls)))
    assert max(after - before for before, after in pairwise(checks)) <= 16
    assert len(calls) == 1000


def test_a_coroutine_is_an_error_of_its_field():
    async def never():
        """Never awaited."""

    result = ask(SDL, "{ a }", {"a": lambda _: never()})
    assert result.data == {"a": None}
    assert "Execution is synchronous" in result.errors[0].message


def test_arguments_that_can_change_are_every_resolvers_own():
    seen = []

    def change(_info, words):
        words.append("changed")
        seen.append(words)
        return 1

    sdl = "type Query { list: [Query!] f(words: [String!]!): Int }"
    ask(sdl, '{ list { f(words: ["a"]) } }', {"list": [{"f": change}, {"f": change}]})
    assert seen == [["a", "changed"], ["a", "changed"]]


def test_mutations_stop_at_a_root_field_that_ends_them():
    called = []
    root = {
        "a": lambda _: later(1).then(called.append),
        "b": lambda _: Promise.reject(ValueError("no")),
        "c": lambda _: called.append("c"),
    }
    sdl = "type Query { a: Int } type Mutation { a: Int b: Int! c: Int }"
    result = ask(sdl, "mutation { a b c }", root)
    assert result.data is None
    assert called == [1]
    assert errors(result) == [("no", ["b"])]


def test_plans_of_one_operation_are_bounded_and_right():
    names = [f"v{number}" for number in range(6)]
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"{name}: a @include(if: ${name})" for name in names)
    document, schema = parse(f"query ({declared}) {{ {fields} }}"), build_schema(SDL)
    plan_cache = PlanCache(eager=True)
    for bits in range(64):
        values = {name: bool(bits >> place & 1) for place, name in enumerate(names)}
        result = execute(schema, document, {"a": 1}, variable_values=values, plan_cache=plan_cache)
        assert list(result.data) == [name for name in names if values[name]]
    (operation,) = plan_cache._operations._young.values()
    assert len(operation._plans) <= MAX_PLANS


def test_threads_share_a_plan():
    schema, document, results = build_schema(SDL), parse("{ list { a b deep { a } } }"), []

    def ask_often():
        for number in range(50):
            items = [{"a": number, "b": n, "deep": {"a": n}} for n in range(20)]
            result = execute(schema, document, {"list": items})
            results.append(result.data == {"list": items} and result.errors is None)

    threads = [Thread(target=ask_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 200


def test_nothing_of_an_operation_outlives_it():
    class Held:
        a = 1

        def b(self, _info):
            raise GraphQLError("no")

    held = Held()
    reference = weakref.ref(held)
    gc.collect()
    gc.disable()
    try:
        result = ask(SDL, "{ deep { a b } list { a } }", {"deep": later(held), "list": [held]})
        assert len(result.errors) == 1
        result.errors[0].__traceback__ = result.errors[0].original_error.__traceback__ = None
        del held, result
    finally:
        gc.enable()
    gc.collect()
    assert reference() is None
