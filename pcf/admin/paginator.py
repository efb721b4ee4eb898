"""Numbers of rows of tables with millions of rows, whose exact count would take seconds."""

from collections.abc import Collection
from functools import cached_property
from typing import Any, Self

from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Model, QuerySet

EXACT_COUNT = 10_000  # rows that a list counts exactly


class RowCount(int):
    """A number of rows that is not exact; its text says so."""

    text: str

    def __new__(cls, number: int, text: str) -> Self:
        """Return ``number``, shown as ``text``."""
        made = super().__new__(cls, number)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator with bounded costs.

    A list without a filter, whose conditions are in ``whole``, has PostgreSQL's estimate as its length if that is above EXACT_COUNT,
    and shows it as "about". A filtered list has EXACT_COUNT rows at most, and says "more than" when
    there are others.
    """  # noqa: E501

    whole: Collection[Any] = ()

    @cached_property
    def count(self) -> int:
        """The number of rows, exact up to EXACT_COUNT."""
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        if rows.query.where in self.whole:
            estimate = _estimate(rows.model, rows.db)
            if estimate > EXACT_COUNT:
                return RowCount(estimate, f"about {estimate:,}")
        number = rows.order_by()[: EXACT_COUNT + 1].count()
        if number > EXACT_COUNT:
            return RowCount(EXACT_COUNT, f"more than {EXACT_COUNT:,}")
        return number


def _estimate(model: type[Model], using: str) -> int:
    """Return the number of rows at the last ANALYZE; -1 before the first one."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
            [model._meta.db_table],  # noqa: SLF001
        )
        row: Any = cursor.fetchone()
    return int(row[0])
