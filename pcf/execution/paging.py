"""Keyset paging by id: a page is the ``first`` rows whose id is greater than ``after``.

The id is the primary key. An integer is positive; other keys are of any type of
``pcf.database.key_types``. The order is that of PostgreSQL. ``is_by_key`` says whether the order of
a query set is that of its pages.

A page of each of many parents is a *lateral list*: one statement, with a limit for each parent. A
window function numbers all rows of all parents before it discards most of them. ``LATERAL`` stops
at the limit of each parent, so a key costs one index scan.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import graphene
from django.db.models import BigIntegerField, Field, Model, QuerySet
from django.db.models.expressions import Expression
from django.db.models.sql.compiler import SQLCompiler

from pcf._compat.django_db import OrderTerm, WrappedSelect, wrap_select
from pcf.database.key_types import array_type, key_type_of
from pcf.errors import InvalidArgument
from pcf.execution.dependencies import has_blocks

MAX_FIRST = 100  # rows; no setting, because the schema's descriptions name it (schema.graphql)
SIZE_ARGUMENT = "first"  # the argument for the number of rows of a list
MAX_ID = 2**63 - 1  # the largest bigint of PostgreSQL


class Page(NamedTuple):
    """The ``first`` rows (1 to MAX_FIRST) whose id is greater than ``after``.

    ``after`` is None for the first page of rows whose ids are no integers.
    """

    first: int
    after: Hashable = 0


class Cursor(NamedTuple):
    """The primary key behind which a page begins, in the place of the argument ``after``."""

    key: Hashable


def cursor_of(model: type[Model] | None, after: Any) -> Any:
    """Return the argument ``after`` of a page of ``model`` as ``parse_page`` takes it.

    The result is a Cursor for a model whose primary keys are no integers. Raises InvalidArgument
    when ``after`` is no primary key of the model.
    """
    if model is None or has_blocks(model):
        return after
    if after is None:
        return Cursor(None)
    key_type = key_type_of(model._meta.pk)  # noqa: SLF001 - Django's documented API
    key = None if key_type is None else key_type.parse(after)
    if key is None:
        raise InvalidArgument("'after' must be the id of a row")
    return Cursor(key)


def parse_id(value: Any) -> int | None:
    """Return the integer primary key that an ID argument holds.

    Returns None for a value that no row can have, such as ``"x"`` or ``"0"``. Callers treat None as
    a missing row. So a client cannot tell an impossible id from an unknown one. A loader takes a
    key of another type as the text that the client has sent.
    """
    text = str(value)
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MAX_ID)):
        return None
    number = int(text)
    return number if 0 < number <= MAX_ID else None


def parse_page(first: int, after: Any = None) -> Page:
    """Check the arguments of a paged list and return the page.

    Raises InvalidArgument when ``first`` is not between 1 and MAX_FIRST or ``after`` is no id. The
    value "0" of ``after`` means from the start, as None does.
    """
    if not 1 <= first <= MAX_FIRST:
        raise InvalidArgument(f"'first' must be between 1 and {MAX_FIRST}, got {first}")
    if after is None:
        return Page(first)
    if isinstance(after, Cursor):
        return Page(first, after.key)
    start = 0 if str(after) == "0" else parse_id(after)
    if start is None:
        raise InvalidArgument("'after' must be the id of a row")
    return Page(first, start)


def page_of(arguments: Mapping[str, Any]) -> dict[str, Hashable]:
    """Return ``first`` and ``after`` of a field as arguments for its loader.

    Raises InvalidArgument as ``parse_page`` does.
    """
    page = parse_page(arguments["first"], arguments.get("after"))
    return {"first": page.first, "after": page.after}


def page_arguments(first: int) -> dict[str, graphene.Argument]:
    """Return the graphene arguments ``first``, with its default, and ``after``."""
    return {
        "first": graphene.Argument(
            graphene.Int,
            default_value=first,
            required=True,
            description=f"How many rows, 1 to {MAX_FIRST}.",
        ),
        "after": graphene.Argument(
            graphene.ID, description="The id of the last row of the page before."
        ),
    }


def order_of(queryset: "QuerySet[Any, Any]") -> tuple[Any, ...]:
    """Return the terms of the order: those of ``order_by``, or else of ``Meta.ordering``."""
    query = queryset.query
    default: Any = queryset.model._meta.ordering if query.default_ordering else ()  # noqa: SLF001
    return tuple(query.order_by or default)


def is_by_key(model: type[Model], terms: tuple[Any, ...]) -> bool:
    """Return whether ``terms`` mean the ascending order of the primary key, or no order."""
    return not terms or terms[0] in {"pk", model._meta.pk.name, model._meta.pk.attname}  # noqa: SLF001


LATERAL_KEY = "lateral_key"


class OuterKey(Expression):
    """The parent's key in a query set for ``for_each``: the column ``lateral_keys.key``."""

    def __init__(self, output_field: "Field[Any, Any] | None" = None) -> None:
        """``output_field`` is the type of the key, by default a bigint."""
        super().__init__(output_field=output_field or BigIntegerField())

    def as_sql(self, _compiler: SQLCompiler, _connection: Any) -> tuple[str, tuple[str | int, ...]]:
        """Return the column of the outer row."""
        return '"lateral_keys"."key"', ()

    def get_db_converters(self, connection: Any) -> list[Any]:
        """Return the converters of the field: an integer of PostgreSQL needs no other."""
        converters: list[Any] = self.output_field.get_db_converters(connection)
        return converters


def for_each(
    queryset: "QuerySet[Any, Any]",
    keys: Any,
    using: str,
    key_field: "Field[Any, Any] | None" = None,
) -> "QuerySet[Any, Any]":
    """Return ``queryset`` for all ``keys``, with the key as an additional column, ``LATERAL_KEY``.

    ``queryset`` names the parent by ``OuterKey()``. Its order uses columns that it selects, e.g.
    ``Note.objects.filter(visible, author_id=OuterKey()).order_by("id")[:first]``. The rows of one
    key come in that order. ``keys`` is a list, or a ``Parameter`` of a compiled query.
    ``key_field`` is the model field of the keys when they are not bigints; ``OuterKey`` needs the
    same field. Raises ValueError for ``prefetch_related``. At its evaluation, the query set raises
    TypeError or ValueError when its order has other terms than selected columns.
    """
    key_type = array_type(key_field or BigIntegerField(), using)

    def wrap(inner: WrappedSelect) -> tuple[str, Sequence[Any]]:
        names = ", ".join(f"c{index}" for index in range(inner.column_count))
        sql = (
            f"SELECT inside.* FROM unnest(%s::{key_type}[])"  # noqa: S608 (no values)
            ' WITH ORDINALITY AS lateral_keys("key", "position")'
            f" CROSS JOIN LATERAL ({inner.sql}) AS inside ({names})"
            f' ORDER BY lateral_keys."position", {_outer_order(inner.order)}'
        )
        return sql, (keys, *inner.params)

    return wrap_select(queryset.annotate(**{LATERAL_KEY: OuterKey(key_field)}).using(using), wrap)


def _outer_order(order: Sequence[OrderTerm | None]) -> str:
    """Return the ordering of the query set, on the columns of the derived table."""
    terms = []
    for term in order:
        if term is None:
            raise TypeError("a lateral queryset must be ordered by columns")
        if term.column is None:
            raise ValueError("a lateral queryset must select what it is ordered by")
        nulls = " NULLS FIRST" if term.nulls_first else " NULLS LAST" if term.nulls_last else ""
        terms.append(f"inside.c{term.column}{' DESC' if term.descending else ''}{nulls}")
    if not terms:
        raise ValueError("a lateral queryset must be ordered")
    return ", ".join(terms)


def behind(queryset: QuerySet[Any, Any], arguments: Mapping[str, Any]) -> QuerySet[Any, Any]:
    """Return the rows behind ``arguments["after"]``, the primary key of a row; None for all."""
    after = arguments["after"]
    return queryset if after is None else queryset.filter(pk__gt=after)
