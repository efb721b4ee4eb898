"""The default way to find an object's type, where the answer may be promised."""

from typing import Any

from graphql import GraphQLAbstractType, GraphQLResolveInfo
from graphql.execution.execute import get_typename
from promise import Promise

from pcf.execution.promises import is_thenable


def promise_type_resolver(
    value: Any, info: GraphQLResolveInfo, abstract_type: GraphQLAbstractType
) -> Any:
    """graphql-core's ``default_type_resolver``, where ``is_type_of`` may return promises.

    Returns the type's name, None when there is no such type, or a promise of these. As there,
    a type that says yes at once comes before those that promise an answer.
    """
    type_name = get_typename(value)
    if isinstance(type_name, str):
        return type_name
    names: list[str] = []
    promises: list[Promise] = []
    for object_type in info.schema.get_possible_types(abstract_type):
        if not object_type.is_type_of:
            continue
        answer: Any = object_type.is_type_of(value, info)
        if is_thenable(answer):
            names.append(object_type.name)
            promises.append(answer)
        elif answer:
            return object_type.name
    if not promises:
        return None
    return Promise.all(promises).then(
        lambda answers: next((name for name, yes in zip(names, answers, strict=True) if yes), None)
    )
