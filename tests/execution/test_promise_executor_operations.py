"""The promise executor joins scopes, ends on errors, and frees its memory."""

import gc
import weakref

import graphene
import pytest
from graphql import build_schema, execute_sync, graphql_sync, parse
from promise import Promise

from pcf.execution.executor import execute_with_promises
from pcf.execution.promise_executor import PromiseExecutionContext
from pcf.execution.promises import in_scope, promise_scope, run
from tests.execution.helpers import Recording, ask, errors, later


class Interruption(BaseException):
    """A BaseException that is no Exception."""


def test_check_ends_the_operation_and_leaves_nothing_behind():
    loader = Recording()
    checks = iter([None, TimeoutError("late")])

    def check():
        error = next(checks)
        if error is not None:
            raise error

    sdl = "type Query { a: String b: String }"
    root = {"a": lambda _: loader.load(1), "b": lambda _: later(1)}
    with pytest.raises(TimeoutError, match="late"):
        ask(sdl, "{ a b }", root, check=check)
    with promise_scope():
        assert run(Recording().load(2)) == "value 2"
    assert loader.batches == []


def test_a_base_exception_leaves_the_operation():
    def interrupt(_value):
        raise Interruption

    with pytest.raises(Interruption):
        ask("type Query { a: Int }", "{ a }", {"a": lambda _: later(1).then(interrupt)})


def test_an_operation_joins_the_scope_around_it():
    loader = Recording()
    with promise_scope():
        before = loader.load(1)
        root = {"a": before, "b": lambda _: loader.load(2)}
        result = ask("type Query { a: String b: String }", "{ a b }", root)
    assert result.data == {"a": "value 1", "b": "value 2"}
    assert loader.batches == [[1, 2]]


def test_an_operation_has_a_scope_of_its_own_otherwise():
    loader, left = Recording(), []

    def leave(_info):
        Promise.resolve(None).then(later).then(later).then(left.append)
        return loader.load(1)

    result = ask("type Query { a: String }", "{ a }", {"a": leave})
    assert result.data == {"a": "value 1"}
    assert not in_scope()
    later(None)
    assert left == []


def test_errors_before_execution_are_in_the_result():
    result = ask("type Query { a: Int }", "query A { a } query B { a }")
    assert result.data is None
    message = "Must provide operation name if query contains multiple operations."
    assert errors(result) == [(message, None)]


def test_graphql_cores_own_functions_take_the_context_class():
    schema = build_schema("type Query { a: Int }")
    root = {"a": lambda _: later(1)}
    for check_sync in (False, True):
        result = execute_sync(
            schema,
            parse("{ a }"),
            root,
            execution_context_class=PromiseExecutionContext,
            check_sync=check_sync,
        )
        assert (result.data, result.errors) == ({"a": 1}, None)
    result = graphql_sync(schema, "{ a }", root, execution_context_class=PromiseExecutionContext)
    assert result.data == {"a": 1}


def test_is_awaitable_is_true_for_promises_alone():
    async def coroutine():
        """Never awaited."""

    def resolve(info):
        made = coroutine()
        answers = [info.is_awaitable(value) for value in (Promise(), made, 1)]
        made.close()
        return answers

    schema = build_schema("type Query { a: [Boolean] }")
    result = graphql_sync(
        schema, "{ a }", {"a": resolve}, execution_context_class=PromiseExecutionContext
    )
    assert result.data == {"a": [True, False, False]}


def test_graphene_takes_the_context_class():
    class Query(graphene.ObjectType):
        names = graphene.List(graphene.String, first=graphene.Int(default_value=2))

        def resolve_names(self, info, first):
            return info.context.load_many(range(first))

    loader = Recording()
    result = graphene.Schema(query=Query).execute(
        "{ names }", context=loader, execution_context_class=PromiseExecutionContext
    )
    assert result.errors is None
    assert result.data == {"names": ["value 0", "value 1"]}
    assert loader.batches == [[0, 1]]


def test_an_operation_without_raised_errors_leaves_nothing_for_the_collector():
    schema = build_schema("type Query { a: [String] }")
    document = parse("{ a }")
    values = {1: "one", 2: ValueError("rejected by the loader")}
    loader = Recording(values)
    reference = weakref.ref(loader)
    root = {"a": lambda info: [info.context.load(1), info.context.load(2), info.context.load(3)]}
    gc.collect()
    gc.disable()
    try:
        result = execute_with_promises(schema, document, root_value=root, context_value=loader)
        assert result.data == {"a": ["one", None, "value 3"]}
        del loader, result
        assert reference() is None
    finally:
        gc.enable()
