"""Light rows: the columns an operation needs of a model, without the model's instances.

A row has its columns as attributes and nothing else. To touch one that was not fetched is an
AttributeError, never another statement.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar, TypeVar

from django.db.models import BooleanField, F, Func, Model, QuerySet
from django.db.models.sql.compiler import SQLCompiler

from pcf.database.lateral import lateral, lateral_rows

Columns = tuple[str, ...]
Resolver = TypeVar("Resolver", bound=Callable[..., Any])

MAX_ROW_CLASSES = 1_000


class Row(tuple[Any, ...]):
    """The base of all classes of rows: a tuple in the order of its columns."""

    __slots__ = ()
    model: ClassVar[type[Model]]


@lru_cache(maxsize=MAX_ROW_CLASSES)
def row_class(model: type[Model], columns: Columns) -> type[Row]:
    """The class of rows of ``model`` with these columns (``attname``: ``author_id``)."""
    readers: dict[str, Any] = {
        name: property(itemgetter(index)) for index, name in enumerate(columns)
    }
    primary_key = key_of(model)
    if primary_key in readers:
        readers["pk"] = readers[primary_key]
    return type(f"{model.__name__}Row", (Row,), {"__slots__": (), "model": model, **readers})


def key_of(model: type[Model]) -> str:
    """The column of the primary key."""
    return model._meta.pk.attname  # noqa: SLF001 - Django's documented API


def needs(*columns: str) -> Callable[[Resolver], Resolver]:
    """Declare which columns of its parent a resolver reads; it then may be given a light row.

    A resolver that does not declare it gets the model's instance.
    """

    def declare(resolver: Resolver) -> Resolver:
        resolver.columns = columns  # type: ignore[attr-defined]
        return resolver

    return declare


class AnyOf(Func):
    """``column = ANY(keys)``: one parameter, where ``column IN (...)`` has one for each key."""

    def __init__(self, column: str, keys: Iterable[Any]) -> None:
        super().__init__(F(column), output_field=BooleanField())
        self.keys = list(keys)

    def as_sql(self, compiler: SQLCompiler, connection: Any, **_: Any) -> tuple[str, Any]:  # type: ignore[override]
        """The condition and its parameters."""
        column = self.get_source_expressions()[0]
        sql, params = compiler.compile(column)
        key_type = column.output_field.rel_db_type(connection)
        return f"{sql} = ANY(%s::{key_type}[])", (*params, self.keys)


def find(
    queryset: "QuerySet[Any, Any]", keys: Sequence[Any], columns: Columns | None, key: str = "pk"
) -> Mapping[Any, Any]:
    """The rows of ``queryset`` by a unique field, for all of ``keys`` that exist.

    Instances without ``columns``, else light rows.
    """
    if columns is None:
        found: dict[Any, Any] = queryset.in_bulk(keys, field_name=key)
        return found
    model: type[Model] = queryset.model
    make = row_class(model, columns)
    rows = queryset.filter(AnyOf(key, keys)).order_by().values_list(*columns, key)
    return {row[-1]: make(row) for row in rows}


def find_lists(
    queryset: "QuerySet[Any, Any]", keys: Iterable[Any], columns: Columns | None
) -> Mapping[Any, list[Any]]:
    """As ``lateral``: instances without ``columns``, else light rows."""
    if columns is None:
        return lateral(queryset, keys)
    model: type[Model] = queryset.model
    make = row_class(model, columns)
    found = lateral_rows(queryset, keys, columns)
    return {key: list(map(make, rows)) for key, rows in found.items()}
