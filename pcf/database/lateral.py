"""Lists nested in many parents, each limited on its own, in one statement.

A window function would number every row of every parent before it throws most of them away;
``LATERAL`` stops at each parent's limit, one index scan per key.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from django.db import connections
from django.db.models import BigIntegerField, Field, Model, QuerySet
from django.db.models.expressions import Expression, OrderBy
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler

M = TypeVar("M", bound=Model)

KEY = "lateral_key"
_BIGINT = "bigint"


class OuterKey(Expression):
    """The parent's key inside the queryset given to ``lateral``: ``lateral_keys.key``."""

    def __init__(self, output_field: "Field[Any, Any] | None" = None) -> None:
        """``output_field`` is the key's type; a bigint unless told."""
        super().__init__(output_field=output_field or BigIntegerField())

    def as_sql(self, _compiler: SQLCompiler, _connection: Any) -> tuple[str, tuple[str | int, ...]]:
        """The column of the outer row."""
        return '"lateral_keys"."key"', ()

    def get_db_converters(self, connection: Any) -> list[Any]:
        """Those of its field: the column is of the field's type, an integer is one already."""
        converters: list[Any] = self.output_field.get_db_converters(connection)
        return converters


class LateralCompiler(SQLCompiler):
    """Compiles the queryset as Django does, then joins it to the array of keys."""

    query: "LateralQuery"

    def as_sql(self, with_limits: bool = True, with_col_aliases: bool = False) -> Any:
        """``SELECT ... FROM unnest(keys) CROSS JOIN LATERAL (the queryset) ORDER BY ...``."""
        inner, params = super().as_sql(with_limits, with_col_aliases)
        count = len(self.select) + len(self.get_extra_select(self.get_order_by(), self.select))
        names = ", ".join(f"c{index}" for index in range(count))
        sql = (
            f"SELECT inside.* FROM unnest(%s::{self.query.key_type}[])"  # noqa: S608 (no values)
            ' WITH ORDINALITY AS lateral_keys("key", "position")'
            f" CROSS JOIN LATERAL ({inner}) AS inside ({names})"
            f' ORDER BY lateral_keys."position", {self._outer_order()}'
        )
        return sql, (self.query.keys, *params)

    def _outer_order(self) -> str:
        """The queryset's ordering, on the columns of the derived table."""
        positions = {id(expression): index for index, (expression, _, _) in enumerate(self.select)}
        columns = {str(expression): index for index, (expression, _, _) in enumerate(self.select)}
        terms = []
        for term, _ in self.get_order_by():
            if not isinstance(term, OrderBy):
                raise TypeError("a lateral queryset must be ordered by columns")
            expression = term.expression
            source = getattr(expression, "source", expression)  # a Ref to a selected column
            index = positions.get(id(source), columns.get(str(source)))
            if index is None:
                raise ValueError("a lateral queryset must select what it is ordered by")
            nulls = " NULLS FIRST" if term.nulls_first else " NULLS LAST" if term.nulls_last else ""
            terms.append(f"inside.c{index}{' DESC' if term.descending else ''}{nulls}")
        if not terms:
            raise ValueError("a lateral queryset must be ordered")
        return ", ".join(terms)


class LateralQuery(Query):
    """A query that is run once for each of ``keys``."""

    keys: Any  # a list, or what stands for one in a statement that is compiled once
    key_type: str

    def get_compiler(
        self, using: str | None = None, connection: Any = None, elide_empty: bool = True
    ) -> LateralCompiler:
        """Always ours."""
        if connection is None:
            connection = connections[using or "default"]
        return LateralCompiler(self, connection, using, elide_empty)


def for_each(
    queryset: "QuerySet[Any, Any]",
    keys: Any,
    using: str,
    key_field: "Field[Any, Any] | None" = None,
) -> "QuerySet[Any, Any]":
    """``queryset`` with the key as one more column, ``KEY``, to be run for each of ``keys``."""
    if queryset._prefetch_related_lookups:  # type: ignore[attr-defined]  # noqa: SLF001
        raise ValueError("prefetch_related cannot be used with lateral: batch the edge instead")
    prepared: QuerySet[Any, Any] = queryset.annotate(**{KEY: OuterKey(key_field)}).using(using)
    query: LateralQuery = prepared.query.chain(klass=LateralQuery)  # type: ignore[assignment]
    query.keys = keys
    query.key_type = (key_field or BigIntegerField()).db_type(connections[using]) or _BIGINT
    prepared.query = query
    return prepared


def lateral(
    queryset: "QuerySet[M, M]",
    keys: Iterable[Any],
    *,
    using: str | None = None,
    key_field: "Field[Any, Any] | None" = None,
) -> dict[Any, list[M]]:
    """The model instances of ``queryset`` for each key, in its order, in one statement.

    ``queryset`` names the parent by ``OuterKey()`` and is ordered by columns that it selects, e.g.
    ``Note.objects.filter(visible, author_id=OuterKey()).order_by("id")[:first]``. Every key is in
    the result; one without rows has an empty list. Without keys no statement is sent.
    ``using`` is the database; without it, the queryset's own.
    ``key_field`` is the model field that the keys are values of, when they are not bigints; give it
    to ``OuterKey`` as well.
    """
    grouped: dict[Any, list[M]] = {key: [] for key in keys}
    if grouped:
        for instance in for_each(queryset, list(grouped), using or queryset.db, key_field):
            grouped[instance.__dict__.pop(KEY)].append(instance)
    return grouped


def lateral_rows(
    queryset: "QuerySet[Any, Any]",
    keys: Iterable[Any],
    columns: Sequence[str],
    *,
    using: str | None = None,
    key_field: "Field[Any, Any] | None" = None,
) -> dict[Any, list[tuple[Any, ...]]]:
    """As ``lateral``, but tuples of ``columns``: no model instance is built."""
    grouped: dict[Any, list[tuple[Any, ...]]] = {key: [] for key in keys}
    if grouped:
        prepared = for_each(queryset, list(grouped), using or queryset.db, key_field)
        for *row, key in prepared.values_list(*columns, KEY):
            grouped[key].append(tuple(row))
    return grouped
