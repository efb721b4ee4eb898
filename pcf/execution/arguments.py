"""The arguments of a field (specification section 6.4.1), for all calls of its resolver at once."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

from graphql import (
    ArgumentNode,
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_argument_values,
    get_named_type,
    is_input_object_type,
    is_non_null_type,
    specified_scalar_types,
    value_from_ast,
)

from pcf._compat.graphene import makes_plain_values

_PRESENT = (str, int, float, bool, Enum)
IMMUTABLE = (*_PRESENT, type(None))
"""Classes of values that no resolver can change."""


def constant_arguments(definition: GraphQLField, node: FieldNode) -> dict[str, Any] | None:
    """Return the arguments of a field when they are the same in every run, else None."""
    if not definition.args:
        return {}
    if any(has_variable(argument.value) for argument in node.arguments):
        return None
    return shared_arguments(definition, node, {})


def shared_arguments(
    definition: GraphQLField, node: FieldNode, variables: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the arguments of a field when all calls of its resolver may share them, else None.

    The calls must not share a value that a resolver could change, nor one that another coercion of
    its literal might not give. Arguments whose coercion is an error are not shared either, since
    each field reports the error as its own.
    """
    if not all(_is_pure(definition, argument) for argument in node.arguments):
        return None
    try:
        arguments = get_argument_values(definition, node, variables)
    except Exception:  # noqa: BLE001 - each field raises the error again
        return None
    is_shared = all(isinstance(value, IMMUTABLE) for value in arguments.values())
    return arguments if is_shared else None


class ArgumentSource(NamedTuple):
    """Where the value of an argument comes from: a constant, a variable, or a literal.

    ``name`` is the name of the resolver's parameter. ``classes`` are those of the variable's values
    that calls may share. ``literal`` has variables inside, and is coerced to ``type_``.
    """

    name: str
    constant: Any = None
    variable: str | None = None
    classes: tuple[type, ...] = ()
    literal: ValueNode | None = None
    type_: Any = None


def argument_sources(
    definition: GraphQLField, node: FieldNode, *, shares_all: bool = False
) -> tuple[ArgumentSource, ...] | None:
    """Return the sources of the arguments, in their order; None where they are no such values.

    They are those of ``get_argument_values`` (specification section 6.4.1) where each variable has
    a value. With ``shares_all`` the calls may share lists and objects, too: nothing changes them.
    """
    given = {argument.name.value: argument for argument in node.arguments}
    sources = []
    for name, declared in definition.args.items():
        argument, out_name = given.get(name), declared.out_name or name
        if argument is not None and isinstance(argument.value, VariableNode):
            classes = _PRESENT if is_non_null_type(declared.type) else IMMUTABLE
            variable = argument.value.name.value
            sources.append(ArgumentSource(out_name, variable=variable, classes=classes))
            continue
        if argument is None:
            constant = declared.default_value
            if constant is Undefined and not is_non_null_type(declared.type):
                continue
            if constant is not None and is_input_object_type(declared.type):
                return None  # each call coerces it
        elif shares_all and has_variable(argument.value):
            sources.append(ArgumentSource(out_name, literal=argument.value, type_=declared.type))
            continue
        elif not _is_pure(definition, argument) or has_variable(argument.value):
            return None
        else:
            constant = value_from_ast(argument.value, declared.type)
        if constant is Undefined or not (shares_all or isinstance(constant, IMMUTABLE)):
            return None  # Undefined is an error
        sources.append(ArgumentSource(out_name, constant))
    return tuple(sources)


def from_sources(
    sources: Sequence[ArgumentSource] | None, variables: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the arguments from their sources.

    Returns None where a variable has no value to share, and where a value is an error.
    """
    if sources is None:
        return None
    arguments = {}
    for name, value, variable, classes, literal, type_ in sources:
        if variable is not None:
            value = variables.get(variable, Undefined)  # noqa: PLW2901
            if not isinstance(value, classes):
                return None
        elif literal is not None:
            value = value_from_ast(literal, type_, variables)  # noqa: PLW2901
            if value is Undefined:
                return None
        arguments[name] = value
    return arguments


def _is_pure(definition: GraphQLField, argument: ArgumentNode) -> bool:
    """Return whether each coercion of the argument gives the same value."""
    declared = definition.args.get(argument.name.value)
    return declared is None or _is_pure_value(argument.value, declared.type)


def _is_pure_value(value: ValueNode, declared: Any) -> bool:
    """Return whether a value of the declared type is coerced to equal values at any time.

    The code of a scalar of the schema may read a clock. A variable is coerced once a request.
    """
    if isinstance(value, VariableNode):
        return True
    if isinstance(value, ListValueNode):
        return all(_is_pure_value(item, declared) for item in value.values)
    type_ = get_named_type(declared)
    if isinstance(type_, GraphQLInputObjectType):
        if not isinstance(value, ObjectValueNode):
            return isinstance(value, NullValueNode)
        given = {field.name.value: field.value for field in value.fields}
        fields = type_.fields
        return makes_plain_values(type_) and all(
            name in fields and _is_pure_value(given[name], fields[name].type) for name in given
        )
    if isinstance(type_, GraphQLEnumType):
        return type(type_).parse_literal is GraphQLEnumType.parse_literal
    return specified_scalar_types.get(type_.name) is type_


def has_variable(value: ValueNode) -> bool:
    """Return whether the value of an argument contains a variable."""
    match value:
        case VariableNode():
            return True
        case ListValueNode():
            return any(map(has_variable, value.values))
        case ObjectValueNode():
            return any(has_variable(field.value) for field in value.fields)
    return False
