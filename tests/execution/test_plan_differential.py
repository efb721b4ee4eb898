"""Random operations on random schemas: plans against graphql-core's executor.

As ``test_differential`` for the promise context, with the same worlds. Plans are exact to the last
error where nothing is promised; where something is, they report the errors that come first in the
response, whatever came first in time.
"""

from graphql import execute_sync
from hypothesis import given

from pcf import metrics
from pcf.execution.execute import execute as execute_plan
from pcf.execution.operations import Operations
from tests.execution.comparing import (
    assert_same,
    assert_same_but_for_timing,
    in_event_loop,
    possible_errors,
)
from tests.execution.outcomes import AsCoroutine, AsPromise, AtOnce
from tests.execution.test_differential import as_request, cases, fuzz


def execute(schema, document, *, operations=None, **arguments):
    """With a memory of its own: the process's would keep every one of these schemas."""
    return execute_plan(
        schema, document, operations=Operations() if operations is None else operations, **arguments
    )


def fallbacks() -> float:
    samples = [s for family in metrics.plan_fallbacks.collect() for s in family.samples]
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


@fuzz
@given(case=cases())
def test_without_promises_the_result_is_graphql_cores_to_the_order_of_errors(case):
    world, operation = case
    schema = world.schema(AtOnce())
    request = as_request(schema, operation)
    before = fallbacks()
    actual = execute(schema, request.document, **request.arguments)
    assert_same(actual, execute_sync(schema, request.document, **request.arguments))
    assert fallbacks() == before


@fuzz
@given(case=cases())
def test_promises_give_what_coroutines_give(case):
    world, operation = case
    with AsCoroutine() as coroutines:
        asynchronous = world.schema(coroutines)
        request = as_request(asynchronous, operation)
        expected = in_event_loop(asynchronous, request)
        actual = execute(world.schema(AsPromise()), request.document, **request.arguments)
        assert_same_but_for_timing(actual, expected, possible_errors(asynchronous, request))


@fuzz
@given(case=cases())
def test_a_plan_can_be_run_again(case):
    world, operation = case
    schema = world.schema(AtOnce())
    request = as_request(schema, operation)
    operations = Operations()
    first = execute(schema, request.document, operations=operations, **request.arguments)
    again = execute(schema, request.document, operations=operations, **request.arguments)
    assert_same(again, first)
    assert len(operations) <= 1
