"""graphene 3.4: what a graphene type declares, and what its default resolvers do.

Works with graphene >= 3.4, < 3.5. Undocumented, and used here:

* ``_meta.fields``, ``_meta.interfaces`` and ``_meta.name`` of a graphene type;
* ``graphene.utils.str_converters.to_camel_case``;
* ``graphene_type`` of a GraphQL type that graphene has made; ``_meta.enum`` of a graphene enum:
  Python's enum, which the serialisation of a value calls;
* ``Field.wrap_resolve(parent_resolver)``, which ``pcf.execution.edges`` overrides: it returns the
  resolver of the field;
* ``resolve_type`` of an interface or a union: a ``functools.partial`` of a method of graphene's
  TypeMap with the method of the graphene type, of which those of Interface and Union are the
  default;
* ``InputObjectTypeContainer``, the base class of the values of input objects: the ``out_type`` of
  the GraphQL type is a class derived from it;
* the default resolver of a field: a ``functools.partial`` of ``dict_or_attr_resolver`` with the
  attribute and the default.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any

from graphene import Interface, Union
from graphene.types.inputobjecttype import InputObjectTypeContainer
from graphene.types.resolver import dict_or_attr_resolver
from graphene.utils.str_converters import to_camel_case
from graphql import GraphQLInputObjectType


def declared_fields(graphene_type: Any) -> Mapping[str, Any]:
    """Return the fields of a graphene type by their names in Python."""
    fields: Mapping[str, Any] = graphene_type._meta.fields  # noqa: SLF001
    return fields


def interfaces_of(graphene_type: Any) -> Sequence[type]:
    """Return the interfaces that a graphene type implements."""
    interfaces: Sequence[type] = graphene_type._meta.interfaces  # noqa: SLF001
    return interfaces


def type_name_of(graphene_type: Any) -> str:
    """Return the GraphQL name of a graphene type."""
    name: str = graphene_type._meta.name  # noqa: SLF001
    return name


def name_in_schema(name: str, field: Any) -> str:
    """Return the GraphQL name of ``field``, whose name in Python is ``name``."""
    return str(field.name or to_camel_case(name))


def graphene_type_of(graphql_type: Any) -> type | None:
    """Return the graphene type that ``graphql_type`` was made from, or None."""
    graphene_type: type | None = getattr(graphql_type, "graphene_type", None)
    return graphene_type


def has_own_lookup(graphql_type: Any) -> bool:
    """Return whether the Python enum of ``graphql_type`` finds members by code of its own."""
    meta = getattr(graphene_type_of(graphql_type), "_meta", None)
    find = getattr(getattr(meta, "enum", None), "_missing_", Enum._missing_)
    return getattr(find, "__func__", None) is not Enum._missing_.__func__  # type: ignore[attr-defined]


def attribute_of(resolver: Any) -> tuple[str, Any] | None:
    """Return the attribute that a default resolver reads, and the default; None for any other
    resolver.
    """
    if not isinstance(resolver, partial) or resolver.keywords or len(resolver.args) != 2:  # noqa: PLR2004
        return None
    if resolver.func is not dict_or_attr_resolver:
        return None
    attribute, default = resolver.args
    return attribute, default


def is_default_type_resolver(resolve_type: Any) -> bool:
    """Return whether ``resolve_type`` is the one that graphene's interfaces and unions have.

    It asks ``is_type_of`` of each possible type about a value that is no graphene object.
    """
    if not isinstance(resolve_type, partial) or not resolve_type.args:
        return False
    method = getattr(resolve_type.args[0], "__func__", None)
    return method in (Interface.resolve_type.__func__, Union.resolve_type.__func__)


def makes_plain_values(input_type: GraphQLInputObjectType) -> bool:
    """Return whether graphql-core or graphene makes the values of an input object.

    Code of the project may make them otherwise, and it may make different ones of equal fields.
    """
    made_by: Any = input_type.out_type
    is_graphenes = getattr(made_by, "__init__", None) is InputObjectTypeContainer.__init__
    return is_graphenes or made_by is GraphQLInputObjectType.out_type
