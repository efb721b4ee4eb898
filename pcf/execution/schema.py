"""The schema of a project, and its output types.

The schema is graphene's, whose scalars name their specifications. An output type is prepared for
the completion of values.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from types import NoneType
from typing import Any

import graphene
from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    GraphQLBoolean,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)

from pcf._compat.graphene import has_own_lookup
from pcf._compat.graphene_django import is_default_type_check

SerializeAll = Callable[[list[Any]], list[Any] | None]

# Where the formats of graphene's scalars are specified.
SPECIFICATIONS = {
    "Date": "https://datatracker.ietf.org/doc/html/rfc3339#section-5.6",
    "DateTime": "https://datatracker.ietf.org/doc/html/rfc3339#section-5.6",
    "Time": "https://datatracker.ietf.org/doc/html/rfc3339#section-5.6",
    "UUID": "https://datatracker.ietf.org/doc/html/rfc9562",
    "JSONString": "https://datatracker.ietf.org/doc/html/rfc8259",
}


class Schema(graphene.Schema):
    """A graphene Schema whose scalars have ``specifiedByURL`` (specification section 3.5.6).

    Args:
        specified_by: More URLs, by the names of the scalars, or others in the place of
            SPECIFICATIONS.
        options: The arguments of ``graphene.Schema``.
    """

    def __init__(self, *, specified_by: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        for name, url in {**SPECIFICATIONS, **(specified_by or {})}.items():
            scalar = self.graphql_schema.type_map.get(name)
            if isinstance(scalar, GraphQLScalarType):
                scalar.specified_by_url = url


class TypeKind(Enum):
    """The four kinds of output types, by how the executor completes a value."""

    LEAF = "leaf"
    LIST = "list"
    OBJECT = "object"
    ABSTRACT = "abstract"


class OutputType:
    """An output type of the schema, prepared for the completion of values.

    Attributes:
        is_nullable: Whether null is a value of the type.
        is_standard: Whether it is a leaf that graphql-core or graphene serialises.
        takes_rows: Whether it is an object type whose values may be light rows without a check.
        type: The GraphQL type without its Non-Null wrapper.
        kind: How the executor completes a value.
        item: The type of the items of a list.
        serialized_classes: The Python classes whose values are their own serialised form; that of
            None, where null is a value.
        serialize_all: Functions that serialise many values of one Python class at once, by the
            class. They return None when one of the values has no serialised form.
        serializes_plain: Whether ``serialize_plain`` knows values other than null.
        makes_texts: Whether it returns texts.
    """

    __slots__ = (
        "is_nullable", "is_standard", "item", "kind", "makes_texts", "serialize_all",
        "serialized_classes", "serializes_plain", "takes_rows", "type",
    )  # fmt: skip

    def __init__(self, declared: GraphQLOutputType) -> None:
        self.is_nullable = not is_non_null_type(declared)
        self.type: Any = declared if self.is_nullable else declared.of_type  # type: ignore[union-attr]
        self.kind = _kind_of(self.type)
        self.item: OutputType | None = (
            OutputType(self.type.of_type) if isinstance(self.type, GraphQLList) else None
        )
        is_type_of = getattr(self.type, "is_type_of", None)
        self.takes_rows = self.kind is TypeKind.OBJECT and (
            is_type_of is None or is_default_type_check(is_type_of)
        )
        serialize: Any = getattr(self.type, "serialize", None)
        self.is_standard = _is_of_packages(serialize) and not has_own_lookup(self.type)
        own_forms: set[type] = {NoneType} if self.is_nullable else set()
        if serialize in (GraphQLString.serialize, GraphQLID.serialize):
            own_forms.add(str)
        elif serialize is GraphQLBoolean.serialize:
            own_forms.add(bool)
        self.serialized_classes = frozenset(own_forms)
        self.serialize_all = _serialize_all(serialize)
        self.serializes_plain = bool(self.serialize_all or own_forms - {NoneType})
        self.makes_texts = str in own_forms or serialize is graphene.DateTime.serialize

    def serialize_plain(self, values: list[Any], types: set[type]) -> list[Any] | None:
        """Return serialised values that are null or need no code of their scalar.

        ``types`` holds the classes of the values. Returns None for other values.
        """
        if types <= self.serialized_classes and types:
            return values
        present = types - {NoneType} if self.is_nullable else types
        if len(present) != 1 or (serialize := self.serialize_all.get(*present)) is None:
            return None
        if len(types) == 1:
            return serialize(values)
        found = serialize([value for value in values if value is not None])
        if found is None:
            return None
        remaining = iter(found)
        return [None if value is None else next(remaining) for value in values]

    @property
    def innermost(self) -> "OutputType":
        """The type of the items of the innermost list; the type itself without a list."""
        found = self
        while found.item is not None:
            found = found.item
        return found


def _is_of_packages(function: Any) -> bool:
    """Return whether the code of ``function`` is graphql-core's or graphene's.

    ``functools.wraps`` copies the name of a module; a function keeps the globals of its own.
    """
    module: str = getattr(function, "__globals__", {}).get("__name__", "")
    return module.partition(".")[0] in {"graphql", "graphene"}


def _as_texts(values: list[int]) -> list[Any] | None:
    try:
        return list(map(str, values))
    except ValueError:  # Python limits the digits of an integer's text
        return None


def _within_32_bits(values: list[int]) -> list[Any] | None:
    """Return the values when each of them fits into an Int, else None."""
    return values if min(values) >= GRAPHQL_MIN_INT and max(values) <= GRAPHQL_MAX_INT else None


def _iso_times(values: list[datetime]) -> list[Any] | None:
    try:
        return list(map(datetime.isoformat, values))
    except Exception:  # noqa: BLE001 - the zone of a time is code of the project
        return None


def _serialize_all(serialize: Any) -> dict[type, SerializeAll]:
    """Return ``OutputType.serialize_all`` for the function of a scalar, which may have no hash."""
    if serialize is GraphQLID.serialize:
        return {int: _as_texts}
    if serialize is GraphQLInt.serialize:
        return {int: _within_32_bits}
    return {datetime: _iso_times} if serialize is graphene.DateTime.serialize else {}


def _kind_of(type_: Any) -> TypeKind:
    if is_list_type(type_):
        return TypeKind.LIST
    if is_leaf_type(type_):
        return TypeKind.LEAF
    return TypeKind.OBJECT if is_object_type(type_) else TypeKind.ABSTRACT
