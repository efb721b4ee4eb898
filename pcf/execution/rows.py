"""Light rows, and how the executor reads attributes of parents.

A light row holds the columns that an operation needs of a model, without an instance of the model.
Its columns are its only attributes. Reading any other attribute raises AttributeError; a light row
never runs a statement.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from inspect import getattr_static
from operator import attrgetter, itemgetter
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.db.models import Model
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init
from graphql import GraphQLObjectType, GraphQLSchema, is_leaf_type, is_object_type

from pcf._compat.django_db import FOREIGN_KEY_ATTRIBUTE
from pcf._compat.graphene import graphene_type_of, is_default_type_resolver
from pcf._compat.graphene_django import is_default_type_check, model_of
from pcf.database.fields import is_search_vector
from pcf.lru import for_each_class

Columns = tuple[str, ...]
Resolver = TypeVar("Resolver", bound=Callable[..., Any])
Reader = Callable[[Any], Any]

MAX_ROW_CLASSES = 1_000


class Row(tuple[Any, ...]):
    """The base class of all light rows: a tuple in the order of its columns.

    ``model_`` is the model. ``readers_`` holds a function for each column. Such a function is
    faster than the attribute. The name of a Django field cannot end with an underscore, so no
    column has these names.
    """

    __slots__ = ()
    model_: ClassVar[type[Model]]
    readers_: ClassVar[Mapping[str, Reader]]


@lru_cache(maxsize=MAX_ROW_CLASSES)
def row_class(model: type[Model], columns: Columns) -> type[Row]:
    """Return the class of light rows of ``model`` with ``columns`` (``attname``: ``author_id``)."""
    readers = {name: itemgetter(index) for index, name in enumerate(columns)}
    primary_key = primary_key_of(model)
    if primary_key in readers:
        readers["pk"] = readers[primary_key]
    attributes = {name: property(reader) for name, reader in readers.items()}
    members = {"__slots__": (), "model_": model, "readers_": readers, **attributes}
    return type(f"{model.__name__}Row", (Row,), members)


def primary_key_of(model: type[Model]) -> str:
    """Return the column (``attname``) of the primary key of ``model``."""
    return model._meta.pk.attname  # noqa: SLF001 - Django's documented API


@lru_cache(maxsize=MAX_ROW_CLASSES)
def position_of(columns: Columns, model: type[Model], key: str) -> int:
    """Return the position of ``key`` among the columns, or behind them."""
    column = primary_key_of(model) if key == "pk" else key
    return columns.index(column) if column in columns else len(columns)


@lru_cache(maxsize=MAX_ROW_CLASSES)
def columns_of(model: type[Model]) -> Columns:
    """Return the columns (``attname``) of ``model``, in the order that ``Model.from_db`` takes.

    The result lacks search vectors: they are large, and no response shows them.
    """
    fields = model._meta.concrete_fields  # noqa: SLF001 - as above
    return tuple(field.attname for field in fields if not is_search_vector(field))


def raw_columns(model: type[Model]) -> frozenset[str]:
    """Return the columns whose raw value is what an instance of ``model`` has as its attribute.

    The result lacks columns with a descriptor (files, money) or a property of their own. It is
    empty when code of the model, or a receiver of its signals, takes part in making an instance.
    """
    return _plain_columns(model) if _makes_plain_instances(model) else frozenset()


@lru_cache(maxsize=MAX_ROW_CLASSES)
def _plain_columns(model: type[Model]) -> frozenset[str]:
    plain = (DeferredAttribute, FOREIGN_KEY_ATTRIBUTE)
    return frozenset(
        name for name in columns_of(model) if type(getattr_static(model, name, None)) in plain
    )


def _makes_plain_instances(model: type[Model]) -> bool:
    """Return whether Django's code alone makes an instance of a row, and reads its attributes."""
    names = ("__init__", "__getattribute__", "__setattr__")
    return (
        all(getattr(model, name) is getattr(Model, name) for name in names)
        and getattr(model.from_db, "__func__", None) is Model.from_db.__func__  # type: ignore[attr-defined]
        and not pre_init.has_listeners(model)
        and not post_init.has_listeners(model)
    )


def type_of_rows(schema: GraphQLSchema, type_: Any, model: type[Model]) -> GraphQLObjectType | None:
    """Return the object type that light rows of ``model`` have where ``type_`` is expected.

    Returns None when light rows cannot be values of ``type_``: an ``is_type_of`` or a
    ``resolve_type`` of the project's own may have to see an instance, or several types fit.
    """
    possible = [type_]
    if not is_object_type(type_):
        if is_leaf_type(type_) or not is_default_type_resolver(type_.resolve_type):
            return None
        possible = schema.get_possible_types(type_)
    models = {each.name: _model_of_rows(each) for each in possible}
    concrete = model._meta.concrete_model  # noqa: SLF001 - Django's documented API
    fitting = [
        each
        for each in possible
        if (known := models[each.name]) and known._meta.concrete_model is concrete  # noqa: SLF001
    ]
    has_one = len(fitting) == 1 and None not in models.values()
    return fitting[0] if has_one and models[fitting[0].name] is model else None


def _model_of_rows(object_type: GraphQLObjectType) -> type[Model] | None:
    """Return the model of a DjangoObjectType without an ``is_type_of`` of its own, else None."""
    graphene_type = graphene_type_of(object_type)
    if graphene_type is None or not is_default_type_check(object_type.is_type_of):
        return None
    return model_of(graphene_type)


def requires_columns(*columns: str) -> Callable[[Resolver], Resolver]:
    """Declare the columns of its parent that a resolver reads. The resolver waits for nothing.

    The executor may give such a resolver a light row, and call it on the event loop
    (``Plan.waits_for_database_only``). A resolver without this declaration gets an instance of the
    model.
    """

    def declare(resolver: Resolver) -> Resolver:
        resolver.columns = columns  # type: ignore[attr-defined]
        return resolver

    return declare


REQUIRED = object()  # the default of an attribute that has to exist

BUILT_IN = frozenset(
    {str, int, float, bool, type(None), bytes, datetime, date, time, timedelta, Decimal, UUID}
)
"""Classes whose values a scalar of graphql-core or graphene serialises without other code."""

_NEVER_CALLABLE = BUILT_IN | {list, tuple, dict, set}


def read_attribute(
    parents: Sequence[Any], name: str, default: Any, row_class: type[Row] | None
) -> list[Any]:
    """Read ``name`` of all parents as graphene's default resolver does: an entry of a dict, or an
    attribute.

    With REQUIRED as ``default`` the attribute has to exist. ``row_class`` is the class of the
    parents when all are light rows of one class. A light row has to have the column with any
    default: graphene's default is not for a column that the loader has not fetched. An Exception
    among the values is the error of that parent's field.
    """
    if row_class is not None:
        try:
            return list(map(_reader(row_class, name), parents))
        except AttributeError as error:
            return [error] * len(parents)
    if default is not REQUIRED and _may_hold(set(map(type, parents)), dict):
        return _read_entries(
            parents,
            dict,
            lambda parent: parent.get(name, default),
            lambda parent: getattr(parent, name, default),
        )
    return _read_attributes(parents, name, default)


def row_class_of(types: Collection[type]) -> type[Row] | None:
    """Return the one class of ``types`` if it is one of light rows, else None."""
    if len(types) != 1:
        return None
    (type_,) = types
    return type_ if issubclass(type_, Row) else None


def row_reader(parents: Sequence[Any], name: str) -> Reader | None:
    """Return the function that reads a column of ``parents``, if these are light rows of one class.

    Returns None for any other parents. Raises AttributeError for a column that the loader has not
    fetched.
    """
    row_class = row_class_of(set(map(type, parents)))
    return None if row_class is None else _reader(row_class, name)


def _reader(row_class: type[Row], name: str) -> Reader:
    reader = row_class.readers_.get(name)
    if reader is None:
        raise AttributeError(f"{row_class.__name__} was fetched without the column '{name}'")
    return reader


def read_property(parents: Sequence[Any], name: str) -> tuple[list[Any], list[int]]:
    """Read ``name`` of all parents as graphql-core's default resolver does: an entry of any
    Mapping, or an attribute.

    Returns the values, and the positions of the values that are functions. The executor has to call
    these functions for the value of the field.
    """
    types = set(map(type, parents))
    if types == {dict}:
        values = [parent.get(name) for parent in parents]
    elif _may_hold(types, Mapping):
        values = _read_entries(
            parents,
            Mapping,
            lambda parent: parent.get(name),
            lambda parent: getattr(parent, name, None),
        )
    else:
        values = _read_attributes(parents, name, None)
    if set(map(type, values)) <= _NEVER_CALLABLE:
        return values, []
    return values, [index for index, value in enumerate(values) if callable(value)]


@for_each_class
def disguises(type_: type) -> bool:
    """Return whether instances of ``type_`` may claim another class, as Django's lazy objects do.

    ``isinstance`` believes such an instance, so ``type_`` alone does not tell what it is.
    """
    return any("__class__" in vars(base) for base in type_.__mro__[:-1])


def _may_hold(types: set[type], mapping: type) -> bool:
    """Return whether some of these types may have instances of ``mapping``."""
    return any(issubclass(type_, mapping) or disguises(type_) for type_ in types)


def _read_entries(
    parents: Sequence[Any], mapping: type, read_entry: Reader, read_attribute: Reader
) -> list[Any]:
    """Read an entry of the parents that are a ``mapping``, and an attribute of all others."""
    values: list[Any] = []
    for parent in parents:
        try:
            read = read_entry if isinstance(parent, mapping) else read_attribute
            values.append(read(parent))
        except Exception as error:  # noqa: BLE001 - an error of the field
            values.append(error)
    return values


def _read_attributes(parents: Sequence[Any], name: str, default: Any) -> list[Any]:
    values: list[Any] = []
    remaining = map(attrgetter(name), parents)
    while True:
        try:
            values += remaining  # the list keeps the values before an error, the map continues
        except AttributeError as error:
            values.append(error if default is REQUIRED else default)
        except Exception as error:  # noqa: BLE001 - an error of the field
            values.append(error)
        else:
            if len(values) == len(parents):
                return values
            # A property has raised StopIteration, which the list takes for the end of the map.
            values.append(_read_again(parents[len(values)], name))


def _read_again(parent: Any, name: str) -> Any:
    try:
        return getattr(parent, name)
    except Exception as error:  # noqa: BLE001 - an error of the field
        return error
