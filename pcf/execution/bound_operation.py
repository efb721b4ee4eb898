"""Bound operations: plans with the variables of a request, which the same request may use again."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphql import (
    GraphQLEnumType,
    get_named_type,
    get_variable_values,
    specified_scalar_types,
    type_from_ast,
)

from pcf.execution.arguments import IMMUTABLE
from pcf.execution.plan_cache import Plan


class BoundOperation(NamedTuple):
    """A plan and its coerced variables, which all runs may share."""

    plan: Plan
    variables: Mapping[str, Any]


def bind(plan: Plan, variables: Mapping[str, Any]) -> BoundOperation | None:
    """Return ``plan`` with ``variables`` as a client gives them.

    Returns None where each run has to coerce the variables (specification section 6.1.2): when that
    is an error, when the code of a scalar of the schema takes part, and for lists and objects,
    which a resolver could change.
    """
    declared = plan.operation.variable_definitions or ()
    for definition in declared:
        if not _is_pure(type_from_ast(plan.schema, definition.type)):
            return None
    coerced = get_variable_values(plan.schema, declared, dict(variables))
    if isinstance(coerced, list):  # of errors
        return None
    is_shared = all(isinstance(value, IMMUTABLE) for value in coerced.values())
    return BoundOperation(plan, coerced) if is_shared else None


def _is_pure(type_: Any) -> bool:
    """Return whether the type coerces equal values to equal values at any time."""
    named = get_named_type(type_)
    if isinstance(named, GraphQLEnumType):
        return type(named).parse_value is GraphQLEnumType.parse_value
    return named is not None and specified_scalar_types.get(named.name) is named
