"""The promise executor and graphql-core agree on random operations of random schemas.

The promise executor runs the resolvers with promises, graphql-core runs them with coroutines in an
event loop, and both run them with plain values. The data has to be equal, with the order of keys.
The errors have to be equal, with one exception. When several fields fail below a place that becomes
null, the response holds the first failure alone (specification section 6.4.4), and which failure
comes first depends on the executor. ``assert_same_but_for_timing`` holds what remains to be
compared. Without promises the order of the errors has to agree, too.

``PCF_FUZZ_EXAMPLES`` sets the number of examples of each test.
"""

import os
from collections.abc import Callable

from graphql import ExecutionResult, GraphQLSchema, execute_sync, parse, validate
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from pcf.errors import ResponseTooLarge
from pcf.execution.executor import execute_with_promises
from pcf.execution.promise_executor import PromiseExecutionContext
from tests.execution.comparison import (
    Request,
    assert_same,
    assert_same_but_for_timing,
    in_event_loop,
    possible_errors,
)
from tests.execution.operation_strategies import Operation, operations
from tests.execution.outcomes import AsCoroutine, AsPromise, AtOnce, Delivery, Source
from tests.execution.strategies import worlds
from tests.execution.world import World

EXAMPLES = int(os.environ.get("PCF_FUZZ_EXAMPLES", "100"))
MAX_ITEMS = 20_000  # of all lists of a response

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


@st.composite
def cases(draw) -> tuple[World, Operation]:
    world = draw(worlds())
    return world, draw(operations(world))


def as_request(schema: GraphQLSchema, case: tuple[World, Operation]) -> Request:
    world, operation = case
    document = parse(operation.text)
    if operation.is_valid:
        assert validate(schema, document) == []
    root = Source("root", world.attributes)
    return Request(document, operation.name, operation.variables, root, operation.middleware)


def run_own(schema: GraphQLSchema, request: Request) -> ExecutionResult:
    """Return the result of the promise executor; reject a case with too many items.

    graphql-core has no limit. Lists in lists in lists would take its memory to the last byte.
    """
    try:
        return execute_with_promises(
            schema, request.document, max_items=MAX_ITEMS, **request.arguments
        )
    except ResponseTooLarge:
        reject()


def run(delivery: Delivery, call: Callable[..., ExecutionResult], *arguments, **named):
    """Return the result of an operation that counts from 0."""
    delivery.count = 0
    return call(*arguments, **named)


def check_promises(case):
    """Promises and coroutines have the same result."""
    world, _ = case
    with AsCoroutine() as coroutines:
        asynchronous = world.schema(coroutines)
        request = as_request(asynchronous, case)
        actual = run_own(world.schema(AsPromise()), request)
        expected = in_event_loop(asynchronous, request)
        assert_same_but_for_timing(actual, expected, possible_errors(asynchronous, request))


def check_order_of_errors(case):
    """Without promises the result is graphql-core's, to the order of the errors."""
    delivery = AtOnce()
    schema = case[0].schema(delivery)
    request = as_request(schema, case)
    own = run(delivery, run_own, schema, request)
    expected = run(delivery, execute_sync, schema, request.document, **request.arguments)
    assert_same(own, expected)
    direct = run(
        delivery,
        execute_sync,
        schema,
        request.document,
        execution_context_class=PromiseExecutionContext,
        **request.arguments,
    )
    assert_same(direct, expected)


@fuzz
@given(case=cases())
def test_promises_have_the_results_of_graphql_core(case):
    """Drawing a case takes longer than the checks, so both of them take the same case."""
    check_promises(case)
    check_order_of_errors(case)
