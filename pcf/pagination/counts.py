"""How many rows the lists of connections have: all together, and by the values of a relation."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple

from django.db.models import Count, F, Model, QuerySet, Value

from pcf.database.compiled_queries import AnyOf, Parameter
from pcf.execution.dependencies import WHOLE
from pcf.execution.paging import LATERAL_KEY, OuterKey, for_each
from pcf.execution.row_loaders import OWN_ANNOTATION
from pcf.pagination.loaders import ConnectionLoader
from pcf.viewer import Viewer

_COUNT = f"{OWN_ANNOTATION}count"


class ListCounts(ConnectionLoader):
    """The part of a loader of counts; ``counts_of`` adds it to a loader."""

    sql_constants: ClassVar[tuple[str, ...]] = ("filter",)
    row_dependency = None
    shows_rows = False

    def default_value(self) -> Any:
        """Return 0."""
        return 0

    def _order_columns(self) -> list[str]:
        return []

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """Return the rows to count."""
        return cls._filtered(viewer, arguments).order_by()

    @classmethod
    def _list(cls, viewer: Viewer) -> "QuerySet[Any, Any]":
        rows: QuerySet[Any, Any] = cls.queryset(viewer)
        return rows if cls.key_type() is None else rows.filter(AnyOf(cls.key, Parameter("keys")))

    def _select_columns(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        rows: Any = queryset.using(using)
        if self.key_type() is None:
            rows = rows.annotate(**{LATERAL_KEY: Value(1)})
        lists = rows.values_list(LATERAL_KEY if self.key_type() is None else self.key)
        return lists.annotate(**{_COUNT: Count("*")})  # type: ignore[no-any-return]

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        """Return the numbers of rows, of lists with some."""
        rows = self._fetch(keys)
        if self.key_type() is None:
            return {WHOLE: rows[0][1]} if rows else {}
        return self._as_asked(keys, {row[0]: row[1] for row in rows})  # a size may stand behind


class Facet:
    """A value of a field, and the number of rows of a list that have it."""

    __slots__ = ("count", "key")

    def __init__(self, key: Any, count: int) -> None:
        self.key = key
        self.count = count


class FacetSource(NamedTuple):
    """A many-to-many relation whose related rows are facets.

    ``link`` is the foreign key of ``through`` to the rows of the list, ``target`` that to the
    facets. ``column`` stands for the relation in the kinds of dependencies.
    """

    through: type[Model]
    link: str
    target: str
    column: str


class ListFacets(ListCounts):
    """The part of a loader of facets; ``facets_of`` adds it to a loader.

    The value of a key is a list of facets, those with the most rows first, then by key.
    """

    sql_constants: ClassVar[tuple[str, ...]] = ("filter", "first")
    source: ClassVar[FacetSource]

    def default_value(self) -> Any:
        """Return a new empty list."""
        return []

    def _order_columns(self) -> list[str]:
        return [self.source.column]

    @classmethod
    def _list(cls, viewer: Viewer) -> "QuerySet[Any, Any]":
        if cls.key_type() is None:
            return cls.queryset(viewer)
        rows: QuerySet[Any, Any] = cls.queryset(viewer)
        return rows.filter(**{cls.key: OuterKey(cls._lateral_field())})

    def _select_columns(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        source = self.source
        links: Any = source.through._default_manager.using(using)  # noqa: SLF001
        links = links.filter(**{f"{source.link}__in": queryset.values("pk")}).order_by()
        counted = links.values_list(source.target).annotate(**{_COUNT: Count("*")})
        facets = counted.order_by(F(_COUNT).desc(), source.target)[: self.arguments["first"]]
        if self.key_type() is None:
            return facets  # type: ignore[no-any-return]
        return for_each(facets, Parameter("keys"), using, self._lateral_field())

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        """Return the facets of each list that has some."""
        rows = self._fetch(keys)
        if self.key_type() is None:
            return {WHOLE: [Facet(*row) for row in rows]}
        by_key = groupby(rows, itemgetter(2))
        found = {key: [Facet(*row[:2]) for row in group] for key, group in by_key}
        return self._as_asked(keys, found)


@cache
def _derived(
    loader: type[ConnectionLoader], part: type[ListCounts], source: FacetSource | None = None
) -> type[ConnectionLoader]:
    """Return a loader of the lists of ``loader`` with the values of ``part``."""
    members = {"__module__": loader.__module__, "__doc__": part.__doc__, "source": source}
    name = f"{loader.__name__}{part.__name__.removeprefix('List')}"
    return type(name, (part, loader), members)


def counts_of(loader: type[ConnectionLoader]) -> type[ConnectionLoader]:
    """Return the loader of the number of rows that each list of ``loader`` has, by its filter."""
    return _derived(loader, ListCounts)  # type: ignore[arg-type]  # classes have a hash


def facets_of(loader: type[ConnectionLoader], source: FacetSource) -> type[ConnectionLoader]:
    """Return the loader of the facets of each list of ``loader``; ``first`` limits them."""
    return _derived(loader, ListFacets, source)  # type: ignore[arg-type]  # as above
