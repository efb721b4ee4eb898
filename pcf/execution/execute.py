"""Executing an operation: by its plan, and where there can be none, by graphql-core's executor."""

from collections.abc import Callable
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLFieldResolver,
    GraphQLSchema,
    GraphQLTypeResolver,
)
from graphql.execution import Middleware
from graphql.execution.execute import assert_valid_execution_arguments

from pcf import metrics
from pcf.execution.context import PromiseExecutionContext, execute_with_promises
from pcf.execution.operations import Operations, Unplanned
from pcf.execution.promises import in_scope, promise_scope
from pcf.execution.run import Run

_operations = Operations()  # immutable plans, shared by the requests of a process


def execute(  # noqa: PLR0917 - graphql-core's signature, to be called in its place
    schema: GraphQLSchema,
    document: DocumentNode,
    root_value: Any = None,
    context_value: Any = None,
    variable_values: dict[str, Any] | None = None,
    operation_name: str | None = None,
    field_resolver: GraphQLFieldResolver | None = None,
    type_resolver: GraphQLTypeResolver | None = None,
    middleware: Middleware = None,
    *,
    check: Callable[[], object] | None = None,
    max_items: int | None = None,
    operations: Operations = _operations,
) -> ExecutionResult:
    """Execute a validated document; returns what graphql-core's ``execute`` would, never later.

    Resolvers may return promises. ``check`` is called at every field of a level, every sixteen
    calls of a resolver and between promise jobs; what it raises is raised. With more than
    ``max_items`` items in all lists together ResponseTooLarge is raised before they are completed.
    TypeError for arguments that are none and exceptions that are no Exception are raised, too.
    Middleware wraps every single call of a resolver, so with it nothing can be done at once: it
    runs without a plan.
    """
    options: dict[str, Any] = {
        "root_value": root_value,
        "context_value": context_value,
        "operation_name": operation_name,
        "field_resolver": field_resolver,
        "type_resolver": type_resolver,
    }
    try:
        if middleware is not None:
            raise Unplanned("middleware")  # noqa: TRY301 - all reasons are counted in one place
        assert_valid_execution_arguments(schema, document, variable_values)
        context = PromiseExecutionContext.build(
            schema, document, raw_variable_values=variable_values, **options
        )
        if isinstance(context, list):
            return ExecutionResult(None, context)
        operation = operations.get(schema, document, context.fragments, context.operation)
        plan = operation.plan(context.variable_values)
    except Unplanned as unplanned:
        metrics.plan_fallbacks.labels(unplanned.reason).inc()
        return execute_with_promises(
            schema,
            document,
            variable_values=variable_values,
            middleware=middleware,
            check=check,
            max_items=max_items,
            **options,
        )
    run = Run(plan, context, check, max_items)
    if in_scope():
        data, errors = run.execute()
    else:
        with promise_scope():
            data, errors = run.execute()
    return context.build_response(data, errors)
