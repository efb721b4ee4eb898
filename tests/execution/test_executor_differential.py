"""The plan executor and graphql-core agree on random operations of random schemas.

The worlds are those of ``test_promise_executor_differential``. Without promises both report the
same errors. With promises the plan executor reports the errors that come first in the response,
in whatever order they occurred.
"""

from graphql import execute_sync, parse
from hypothesis import given, reject

from pcf.errors import ResponseTooLarge
from pcf.execution.executor import execute as execute_plan
from pcf.execution.plan_cache import PlanCache
from pcf.observability import metrics
from tests.execution.comparison import (
    assert_same,
    assert_same_but_for_timing,
    in_event_loop,
    possible_errors,
)
from tests.execution.outcomes import AsCoroutine, AsPromise, AtOnce
from tests.execution.test_promise_executor_differential import (
    MAX_ITEMS,
    as_request,
    cases,
    fuzz,
    run,
)

MAX_BYTES = 2_000_000  # of a response


def execute(schema, document, *, plan_cache=None, **arguments):
    """Execute by a plan of a new cache: that of the process would keep all these schemas.

    Reject a case with too large a response: graphql-core has no limit, and would run for minutes.
    """
    if plan_cache is None:
        plan_cache = PlanCache(eager=True)
    limits = {"max_items": MAX_ITEMS, "max_bytes": MAX_BYTES}
    try:
        return execute_plan(schema, document, plan_cache=plan_cache, **limits, **arguments)
    except ResponseTooLarge:
        reject()


def fallbacks() -> float:
    samples = [s for family in metrics.plan_fallbacks.collect() for s in family.samples]
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


def check_order_of_errors(case):
    """Without promises the result is graphql-core's, to the order of the errors."""
    delivery = AtOnce()
    schema = case[0].schema(delivery)
    request = as_request(schema, case)
    before = fallbacks()
    actual = run(delivery, execute, schema, request.document, **request.arguments)
    assert_same(actual, run(delivery, execute_sync, schema, request.document, **request.arguments))
    assert fallbacks() == before or not case[1].is_valid


def check_promises(case):
    """Promises and coroutines have the same result."""
    world, _ = case
    with AsCoroutine() as coroutines:
        asynchronous = world.schema(coroutines)
        request = as_request(asynchronous, case)
        actual = execute(world.schema(AsPromise()), request.document, **request.arguments)
        expected = in_event_loop(asynchronous, request)
        assert_same_but_for_timing(actual, expected, possible_errors(asynchronous, request))


def check_repetition(case):
    """The first run, a plan, and a parse again have the same result."""
    delivery = AtOnce()
    schema = case[0].schema(delivery)
    request = as_request(schema, case)
    arguments = {**request.arguments, "plan_cache": PlanCache()}
    results = [
        run(delivery, execute, schema, document, **arguments)
        for document in (request.document, request.document, parse(case[1].text))
    ]
    for again in results[1:]:  # the first has no plan yet
        assert_same(again, results[0])
    assert len(arguments["plan_cache"]) <= 1


def check_variables(case):
    """One cache has the plans of all variables."""
    delivery = AtOnce()
    schema = case[0].schema(delivery)
    request = as_request(schema, case)
    plan_cache = PlanCache(eager=True)
    for values in (case[1].variables, case[1].other_variables, case[1].variables):
        arguments = {**request.arguments, "variable_values": values}
        own = {**arguments, "plan_cache": plan_cache}
        actual = run(delivery, execute, schema, request.document, **own)
        assert_same(actual, run(delivery, execute_sync, schema, request.document, **arguments))


@fuzz
@given(case=cases())
def test_plans_have_the_results_of_graphql_core(case):
    """Drawing a case takes ten times as long as these checks, so all of them take the same case."""
    check_order_of_errors(case)
    check_promises(case)
    check_repetition(case)
    check_variables(case)
