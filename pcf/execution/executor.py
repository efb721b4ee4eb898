"""The execution of an operation: by a plan, or on the promise executor where it has none."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLFieldResolver,
    GraphQLSchema,
    GraphQLTypeResolver,
    Middleware,
)
from graphql import execute as execute_by_graphql_core

from pcf._compat.graphql import (
    ExecutionContext,
    assert_valid_execution_arguments,
    execution_context,
)
from pcf.execution.bound_operation import BoundOperation
from pcf.execution.plan_cache import NotPlannable, Plan, PlanCache
from pcf.execution.plan_executor import PlanExecutor
from pcf.execution.promise_executor import PromiseExecutionContext
from pcf.execution.promises import in_scope, promise_scope
from pcf.execution.response_size import UNLIMITED, ResponseSize
from pcf.observability import metrics

_plan_cache = PlanCache()  # the immutable plans of all requests of this process


def execute(  # noqa: PLR0917 - the signature of graphql-core's execute()
    schema: GraphQLSchema,
    document: DocumentNode,
    root_value: Any = None,
    context_value: Any = None,
    variable_values: dict[str, Any] | None = None,
    operation_name: str | None = None,
    field_resolver: GraphQLFieldResolver | None = None,
    type_resolver: GraphQLTypeResolver | None = None,
    subscribe_field_resolver: GraphQLFieldResolver | None = None,
    max_coercion_errors: int = 50,
    middleware: Middleware = None,
    execution_context_class: type[ExecutionContext] | None = None,
    is_awaitable: Callable[[Any], bool] | None = None,
    hide_suggestions: bool = False,
    *,
    check: Callable[[], object] | None = None,
    max_items: int | None = None,
    max_bytes: int | None = None,
    on_bytes: Callable[[int], object] | None = None,
    plan_cache: PlanCache = _plan_cache,
) -> ExecutionResult:
    """Execute a validated document, and return what graphql-core's ``execute`` would return.

    The arguments are those of graphql-core, in its order. Resolvers may return promises, no
    awaitables. An operation that has no plan runs on the promise executor.

    A subclass of PromiseExecutionContext as ``execution_context_class`` runs on the promise
    executor. Any other class, and ``is_awaitable`` without a class, run on graphql-core's executor,
    which knows no promises and may return an awaitable.

    ``check`` is called at each field of a level, at every sixteenth call of a resolver, and between
    two promise jobs. Raises what ``check`` raises; ResponseTooLarge for more than ``max_items``
    items in all lists together, or more than ``max_bytes`` bytes of JSON, before it completes the
    objects; TypeError for invalid arguments, these three for graphql-core's executor included; and
    a BaseException of a resolver. ``on_bytes`` gets the bytes as they are counted, and may raise as
    ``check`` may.
    """
    options: dict[str, Any] = {"hide_suggestions": True} if hide_suggestions else {}
    context_class: type[ExecutionContext] = PromiseExecutionContext
    if is_awaitable is not None or execution_context_class not in (None, ExecutionContext):
        context_class = execution_context_class or ExecutionContext
        if not issubclass(context_class, PromiseExecutionContext):
            if not (check is None and max_items is None and max_bytes is None):
                raise TypeError(
                    "graphql-core's executor has no 'check', 'max_items' and 'max_bytes':"
                    " derive the execution_context_class from PromiseExecutionContext."
                )
            result: Any = execute_by_graphql_core(
                schema,
                document,
                root_value,
                context_value,
                variable_values,
                operation_name,
                field_resolver,
                type_resolver,
                subscribe_field_resolver,
                max_coercion_errors,
                middleware,
                context_class,
                is_awaitable,
                **options,
            )
            return result  # type: ignore[no-any-return]
    assert_valid_execution_arguments(schema, document, variable_values)
    context = context_class.build(
        schema,
        document,
        root_value,
        context_value,
        variable_values,
        operation_name,
        field_resolver,
        type_resolver,
        subscribe_field_resolver,
        max_coercion_errors,
        middleware,
        **options,
    )
    if isinstance(context, list):
        return ExecutionResult(None, context)
    assert isinstance(context, PromiseExecutionContext)  # noqa: S101 - build() is typed for its base
    size = UNLIMITED
    if max_items is not None or max_bytes is not None:
        size = ResponseSize(max_items, max_bytes, on_bytes)
    plan = None
    if context_class is PromiseExecutionContext:
        try:
            plan = plan_cache.plan(context, document)
        except NotPlannable as error:
            metrics.plan_fallbacks.labels(error.reason).inc()
    if plan is None:  # outside of the block above, whose exception would be every error's context
        return run_promises(context, check, size)
    return _run_plan(plan, context, check, size)


def execute_bound(
    bound: BoundOperation,
    *,
    context_value: Any,
    check: Callable[[], object] | None = None,
    max_items: int | None = None,
    max_bytes: int | None = None,
    on_bytes: Callable[[int], object] | None = None,
) -> ExecutionResult:
    """Execute a bound operation as ``execute`` does, without middleware and with its resolvers."""
    size = ResponseSize(max_items, max_bytes, on_bytes)
    context = execution_context(
        PromiseExecutionContext, bound.plan, dict(bound.variables), context_value
    )
    return _run_plan(bound.plan, context, check, size)


def _run_plan(
    plan: Plan, context: ExecutionContext, check: Callable[[], object] | None, size: ResponseSize
) -> ExecutionResult:
    executor = PlanExecutor(plan, context, check, size)
    if in_scope():
        data, errors = executor.execute()
    else:
        with promise_scope():
            data, errors = executor.execute()
    return context.build_response(data, errors)


def known_plan(
    schema: GraphQLSchema, document: DocumentNode, name: str | None, variables: Mapping[str, Any]
) -> Plan | None:
    """Return the plan of the operation ``name``, if this process has compiled it.

    ``variables`` are as a client gives them.
    """
    return _plan_cache.known_plan(schema, document, name, variables)


def execute_with_promises(
    schema: GraphQLSchema,
    document: DocumentNode,
    *,
    root_value: Any = None,
    context_value: Any = None,
    variable_values: dict[str, Any] | None = None,
    operation_name: str | None = None,
    field_resolver: GraphQLFieldResolver | None = None,
    type_resolver: GraphQLTypeResolver | None = None,
    middleware: Middleware = None,
    check: Callable[[], object] | None = None,
    max_items: int | None = None,
    max_bytes: int | None = None,
    on_bytes: Callable[[int], object] | None = None,
) -> ExecutionResult:
    """Execute a validated document, wait for its promises, and return the result.

    The result is that of graphql-core's ``execute``, with the errors of resolvers, but never
    awaitable. Raises what ``check`` raises, which is called between two promise jobs;
    ResponseTooLarge for more than ``max_items`` items in all lists together, or more than
    ``max_bytes`` bytes of JSON; TypeError for invalid arguments; and a BaseException of a resolver.
    The ``promise_scope`` of the operation, its own or the one around it, discards the promise jobs
    that are left. ``on_bytes`` gets the bytes as they are counted.
    """
    assert_valid_execution_arguments(schema, document, variable_values)
    context = PromiseExecutionContext.build(
        schema,
        document,
        root_value,
        context_value,
        variable_values,
        operation_name,
        field_resolver,
        type_resolver,
        middleware=middleware,
    )
    if isinstance(context, list):
        return ExecutionResult(None, context)
    assert isinstance(context, PromiseExecutionContext)  # noqa: S101 - build() is typed for its base
    return run_promises(context, check, ResponseSize(max_items, max_bytes, on_bytes))


def run_promises(
    context: PromiseExecutionContext,
    check: Callable[[], object] | None = None,
    size: ResponseSize = UNLIMITED,
) -> ExecutionResult:
    """Execute the operation of ``context``, as ``execute_with_promises`` does."""
    if check is not None:
        context.check = check
    if size is not UNLIMITED:
        context.size = size
        context.check = partial(_check_both, size, check)
    errors = context.collected_errors
    data = None
    try:
        data = context.execute_operation(context.operation, context.root_value)
    except GraphQLError as error:
        errors.add(error, None)
    if size is not UNLIMITED:
        size.check()
    return context.build_response(data, errors.errors)


def _check_both(size: ResponseSize, check: Callable[[], object] | None) -> None:
    size.check()
    if check is not None:
        check()
