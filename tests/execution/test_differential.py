"""Random operations on random schemas: our executor against graphql-core's.

The same resolvers are executed three times: with promises by ours, with coroutines by graphql-core
in an event loop, and with plain values by both. Data (with the order of keys) has to be equal
throughout. Errors have to be equal as well, with one exception that lies in the matter: when
several fields fail below a place that becomes null, which failure comes first depends on how an
executor waits, and later ones are not reported (spec 6.4.4); ``assert_same_but_for_timing`` says
what is still required there. Without promises nothing is left to chance, and even the order of
errors has to agree.

``PCF_FUZZ_EXAMPLES`` sets the number of examples of each test.
"""

import os

from graphql import GraphQLSchema, execute_sync, parse, validate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcf.execution.context import PromiseExecutionContext, execute_with_promises
from tests.execution.comparing import (
    Request,
    assert_same,
    assert_same_but_for_timing,
    in_event_loop,
    possible_errors,
)
from tests.execution.outcomes import AsCoroutine, AsPromise, AtOnce
from tests.execution.strategies import Operation, operations, worlds
from tests.execution.world import World

EXAMPLES = int(os.environ.get("PCF_FUZZ_EXAMPLES", "150"))

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


def as_request(schema: GraphQLSchema, operation: Operation) -> Request:
    document = parse(operation.text)
    assert validate(schema, document) == [], "the generator writes valid documents only"
    return Request(document, operation.name, operation.variables)


@fuzz
@given(case=cases())
def test_promises_give_what_coroutines_give(case):
    world, operation = case
    with AsCoroutine() as coroutines:
        asynchronous = world.schema(coroutines)
        request = as_request(asynchronous, operation)
        expected = in_event_loop(asynchronous, request)
        own = world.schema(AsPromise())
        actual = execute_with_promises(own, request.document, **request.arguments)
        assert_same_but_for_timing(actual, expected, possible_errors(asynchronous, request))


@fuzz
@given(case=cases())
def test_without_promises_the_result_is_graphql_cores_to_the_order_of_errors(case):
    world, operation = case
    schema = world.schema(AtOnce())
    request = as_request(schema, operation)
    expected = execute_sync(schema, request.document, **request.arguments)
    assert_same(execute_with_promises(schema, request.document, **request.arguments), expected)
    direct = execute_sync(
        schema,
        request.document,
        execution_context_class=PromiseExecutionContext,
        **request.arguments,
    )
    assert_same(direct, expected)
