"""Values of many parents at once, where the resolver is known to be a plain look-up.

Each function returns one value a parent; an Exception among them stands for one that was raised,
as an Exception that a resolver returns does.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any
from uuid import UUID

from pcf.execution.rows import Row

REQUIRED = object()

_NEVER_CALLABLE = frozenset(
    {
        str,
        int,
        float,
        bool,
        type(None),
        list,
        tuple,
        dict,
        set,
        bytes,
        datetime,
        date,
        Decimal,
        UUID,
    }
)


def read_attribute(parents: Sequence[Any], name: str, default: Any) -> list[Any]:
    """As graphene's default resolver: a dictionary's entry or an attribute.

    With REQUIRED for a default it is ``parent.name``, which has to be there. So it has in a light
    row: graphene's default is for objects of any kind, not for a column that was not fetched.
    """
    try:
        reader = row_reader(parents, name)
    except AttributeError as error:
        return [error] * len(parents)
    if reader is not None:
        return list(map(reader, parents))
    if default is not REQUIRED and any(issubclass(kind, dict) for kind in set(map(type, parents))):
        values = []
        for parent in parents:
            values += (
                [parent.get(name, default)]
                if isinstance(parent, dict)
                else _attributes([parent], name, default)
            )
        return values
    return _attributes(parents, name, default)


def row_reader(parents: Sequence[Any], name: str) -> Callable[[Any], Any] | None:
    """What reads a column of ``parents`` if they are light rows of one class; None if they are not.

    Raises AttributeError for a column that was not fetched.
    """
    kinds = set(map(type, parents))
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if not issubclass(kind, Row):
        return None
    if name not in kind.readers:
        raise AttributeError(f"{kind.__name__} was fetched without the column '{name}'")
    return kind.readers[name]


def read_default(parents: Sequence[Any], name: str) -> tuple[list[Any], list[int]]:
    """As graphql-core's default resolver, which looks an entry up in any Mapping.

    Returns the values and the positions of those that are to be called for the value.
    """
    kinds = set(map(type, parents))
    if kinds == {dict}:
        values = [parent.get(name) for parent in parents]
    elif any(issubclass(kind, Mapping) for kind in kinds):
        values = []
        for parent in parents:
            values += _entry(parent, name)
    else:
        values = _attributes(parents, name, None)
    if set(map(type, values)) <= _NEVER_CALLABLE:
        return values, []
    return values, [index for index, value in enumerate(values) if callable(value)]


def _entry(parent: Any, name: str) -> list[Any]:
    if not isinstance(parent, Mapping):
        return _attributes([parent], name, None)
    try:
        return [parent.get(name)]
    except Exception as error:  # noqa: BLE001 - an error of the field
        return [error]


def _attributes(parents: Sequence[Any], name: str, default: Any) -> list[Any]:
    values: list[Any] = []
    remaining = map(attrgetter(name), parents)
    while True:
        try:
            values += remaining  # keeps what was read before an error, and can go on after it
        except AttributeError as error:
            values.append(error if default is REQUIRED else default)
        except Exception as error:  # noqa: BLE001 - an error of the field
            values.append(error)
        else:
            return values
