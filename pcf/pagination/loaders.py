"""Loaders of connections: pages of filtered and sorted rows, and how many rows there are.

A page depends on three things, and on nothing else:

* which rows its list has: the loader's ``dependency``, for each key;
* the columns by which the list is filtered and sorted: for each column the kind
  ``{dependency}.{column}``, for the same key. An app declares them by ``list_touches``;
* the rows that the page shows: ``row_dependency``.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple

from django.db import router
from django.db.models import Exists, F, FloatField, QuerySet, Value
from django.db.models.expressions import Expression
from django.db.models.functions import Cast

from pcf.database.compiled_queries import Parameter, Row
from pcf.database.key_types import KeyType, ListKey, field_of, recorded_type, target_of
from pcf.database.planned_reads import PlannedRead
from pcf.execution.dependencies import WHOLE
from pcf.execution.paging import LATERAL_KEY, OuterKey, for_each
from pcf.execution.row_loaders import OWN_ANNOTATION, RowListLoader
from pcf.pagination.filters import Condition, FilterSet, Group, LookUps
from pcf.pagination.orders import OrderSet, Term, Terms, behind, reversed_terms
from pcf.pagination.pages import ConnectionPage
from pcf.viewer import Viewer

_BOUNDS = ("after", "before")
_IS_OTHER = {bound: f"{OWN_ANNOTATION}other_{bound}" for bound in _BOUNDS}


class _ListKind(NamedTuple):
    """A kind of dependencies of a list, with its keys and their type."""

    kind: str
    keys: Iterable[Hashable]
    key_type: type[KeyType] | None


class ConnectionLoader(RowListLoader):
    """A loader of a page of the rows of each key, filtered and sorted as the client asks.

    One statement fetches the pages of all keys. The values are of the class ConnectionPage. The
    arguments are those of ``ConnectionField``.

    Attributes:
        orders, filters: What clients may sort and filter by.
        paths: Other paths for orders of ``orders``, e.g. columns of a link with an index.
        column_kinds: Kinds that stand for the column of every list, in the place of
            ``{dependency}.{column}``.
        unindexed: Orders that no index can serve for the lists of this loader.
        narrowing: Filters that choose lists of another kind: the name of the filter, and the kind.
            A list whose rows all match such a filter depends on those lists alone.
    """

    orders: ClassVar[OrderSet]
    filters: ClassVar[FilterSet]
    paths: ClassVar[Mapping[str, str]] = {}
    column_kinds: ClassVar[Mapping[str, str]] = {}
    unindexed: ClassVar[frozenset[str]] = frozenset()
    narrowing: ClassVar[Mapping[str, str]] = {}
    sql_constants: ClassVar[tuple[str, ...]] = (
        "order",
        "count",
        "backward",
        "filter",
        "search",
        "others",
    )

    # -- what a list depends on -----------------------------------------------------------------

    def record(self, keys: Sequence[Any]) -> None:
        """Record the lists, and the columns that filter and sort them."""
        for kind, its_keys, key_type in self._list_kinds(keys):
            self.dependencies.add(kind, its_keys, key_type)

    def has_own_plans(self) -> bool:
        """Return whether the list has a filter or a bound.

        A rare value needs another plan than others. For all bounds alike, PostgreSQL would look for
        rows on the other side of a bound from the beginning of the table on.
        """
        shape: Group = self.arguments["filter"]
        return bool(shape.parts) or any(f"{bound}_0" in self.arguments for bound in _BOUNDS)

    def kinds(self) -> frozenset[str]:
        """Return the kinds that decide which rows a page shows, and in which order."""
        return frozenset(each.kind for each in self._list_kinds(()))

    def _list_kinds(self, keys: Sequence[Any]) -> Iterator[_ListKind]:
        shape: Group = self.arguments["filter"]
        lists = self._narrowed(shape) or self._all(keys)
        yield lists
        columns = [*self.filters.columns_of(shape), *self._order_columns()]
        for column in dict.fromkeys(columns):
            if column in self.column_kinds:
                yield _ListKind(self.column_kinds[column], (WHOLE,), ListKey)
            else:
                yield lists._replace(kind=f"{lists.kind}.{column}")
        for kind, its_keys in self.arguments["dependencies"]:
            yield _ListKind(kind, its_keys, None)

    def _order_columns(self) -> list[str]:
        return self.orders.columns_of(self.arguments["order"])

    @classmethod
    def _all(cls, keys: Sequence[Any]) -> _ListKind:
        return _ListKind(cls.dependency, keys, recorded_type(cls.model, cls.key))

    def _narrowed(self, shape: Group) -> _ListKind | None:
        """Return the lists that the filter chooses, if it does."""
        for part in shape.parts:
            if isinstance(part, Condition) and part.name in self.narrowing and part.parameters:
                value = self.arguments[part.parameters[0]]
                keys = value if part.operator == "in" else (value,)
                key_type = recorded_type(self.model, self.filters.filters[part.name].path)
                return _ListKind(self.narrowing[part.name], keys, key_type)
        return None

    # -- the statement --------------------------------------------------------------------------

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """Return one page and the row behind it."""
        terms: Terms = arguments["order"]
        names = [f"{OWN_ANNOTATION}{position}" for position in range(len(terms))]
        expressions = cls._order_expressions(viewer, arguments)
        order = dict(zip(names, expressions, strict=True))
        rows = cls._filtered(viewer, arguments).annotate(**order)
        if arguments["others"] is not None:
            return cls._others(rows, names, arguments)[:1]
        page: QuerySet[Any, Any] = rows
        flags = {}
        for bound, towards in zip(_BOUNDS, (terms, reversed_terms(terms)), strict=True):
            if f"{bound}_0" in arguments:
                values = [arguments[f"{bound}_{position}"] for position in range(len(terms))]
                others = cls._others(rows, names, {**arguments, "others": bound})
                page = page.filter(behind(names, towards, values))
                flags[_IS_OTHER[bound]] = Exists(others)
        sorting = _sorting(names, reversed_terms(terms) if arguments["backward"] else terms)
        size = arguments["count"] + 1
        if cls.filters.finds_keys(arguments["filter"]):
            keys = page.order_by(*sorting).values("pk")[:size]
            page = cls._list(viewer).filter(pk__in=keys).annotate(**order)
        page = page.annotate(**flags).order_by(*sorting)
        return page[:size]

    @classmethod
    def _others(
        cls, rows: "QuerySet[Any, Any]", names: Sequence[str], arguments: Mapping[str, Any]
    ) -> "QuerySet[Any, Any]":
        """Return the rows on the other side of the bound ``arguments["others"]``."""
        bound, terms = arguments["others"], arguments["order"]
        order = terms if bound == "after" else reversed_terms(terms)
        values = [arguments[f"{bound}_{position}"] for position in range(len(terms))]
        others = rows.filter(behind(names, order, values, reverse=True))
        return others.order_by(*_sorting(names, reversed_terms(order)))

    @classmethod
    def _filtered(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        rows = cls._list(viewer)
        values = {  # a statement for one request has values in the place of Parameters
            name: value
            if hasattr(value, "resolve_expression")
            else Value(list(value) if type(value) is tuple else value)
            for name, value in arguments.items()
        }
        condition = cls.filters.condition(arguments["filter"], values)
        return rows.filter(condition) if condition else rows

    @classmethod
    def _list(cls, viewer: Viewer) -> "QuerySet[Any, Any]":
        """Return the rows of one key, for a lateral join with the keys."""
        rows: QuerySet[Any, Any] = cls.queryset(viewer)
        return rows.filter(**{cls.key: OuterKey(cls._lateral_field())})

    @classmethod
    def _lateral_field(cls) -> Any:
        field = cls.key_field()
        return None if field is None else target_of(field)

    @classmethod
    def _order_expressions(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> list[Expression]:
        expressions: list[Any] = []
        for term in arguments["order"]:
            by = cls.paths.get(term.name, cls.orders.all[term.name].by)
            if isinstance(by, str):
                expressions.append(F(by))
                continue
            if by is not None:
                expression = by(viewer)
            else:
                search: Condition = arguments["search"]
                each: Any = cls.filters.filters[search.name]
                expression = each.rank(search.operator, arguments[search.parameters[0]])
            if isinstance(expression.output_field, FloatField):
                # PostgreSQL's functions may return a real. The value in a cursor is a double
                # precision, and hardly any real equals such a value.
                expression = Cast(expression, FloatField())
            expressions.append(expression)
        return expressions

    @classmethod
    def order_fields(cls, terms: Terms) -> list[Any]:
        """Return the model fields of the values in a cursor."""
        fields = []
        for term in terms:
            order = cls.orders.all[term.name]
            path = cls.paths.get(term.name, order.by)
            fields.append(
                target_of(field_of(cls.model, path)) if isinstance(path, str) else order.field
            )
        return fields

    def planned_read(self, keys: Sequence[Any]) -> PlannedRead | None:  # type: ignore[override]
        """Return the statement of a batch; None while names of the filter have to be looked up.

        Lists are tuples among the arguments.
        """
        if self._look_ups():
            return None
        planned = super().planned_read(keys)
        values = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in planned.values.items()
        }
        return planned._replace(values=values)

    def _fetch(self, keys: Sequence[Any]) -> Sequence[Row]:
        """Fetch the rows, with ids for the names in the filter.

        PostgreSQL knows how frequent an id is among the links. It cannot know that of a name.
        """
        if look_ups := self._look_ups():
            for query in look_ups.values():
                self.dependencies.statements.add((type(self), query, self.kinds(), False))
            using = router.db_for_read(self.model)
            self.arguments = self.filters.with_ids(self.arguments, look_ups, using, self.shared)
        return super()._fetch(keys)

    def _look_ups(self) -> LookUps:
        using = router.db_for_read(self.model)
        return self.filters.look_ups(self.arguments["filter"], using)

    def _select_columns(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        pages = for_each(queryset, Parameter("keys"), using, self._lateral_field())
        return pages.values_list(*self._selected(), *self._own_columns(), LATERAL_KEY)

    def _own_columns(self) -> list[str]:
        """Return the columns behind those of a row: the values of the order, and the flags."""
        names = [f"{OWN_ANNOTATION}{index}" for index in range(len(self.arguments["order"]))]
        if self.arguments["others"] is not None:
            return names
        return names + [_IS_OTHER[bound] for bound in _BOUNDS if f"{bound}_0" in self.arguments]

    def _key_position(self) -> int:
        return len(self._selected()) + len(self._own_columns())

    # -- the values -----------------------------------------------------------------------------

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        """Fetch the page of every key; a key without rows has an empty page."""
        groups = self._as_asked(keys, self._groups(self._fetch(keys)))
        pages = {key: self._page(key, groups[key]) for key in keys if key in groups}
        empty = [key for key in keys if key not in pages]
        for key in empty:
            pages[key] = self._page(key, [])
        for bound in _BOUNDS:
            if empty and f"{bound}_0" in self.arguments:
                for key in self._keys_with_others(empty, bound):
                    pages[key].has_others[bound] = True
        return pages

    def _shown(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """Return the rows of the pages, without the row behind each page."""
        if self.arguments["others"] is not None:
            return ()
        count = self.arguments["count"]
        if len(rows) <= count:
            return rows
        return [row for group in self._groups(rows).values() for row in group[:count]]

    def _groups(self, rows: Sequence[tuple[Any, ...]]) -> dict[Any, list[tuple[Any, ...]]]:
        """Return the rows of each key."""
        by_key = groupby(rows, itemgetter(self._key_position()))
        return {key: list(group) for key, group in by_key}

    def _page(self, key: Any, rows: list[tuple[Any, ...]]) -> ConnectionPage:
        arguments = self.arguments
        has_more = len(rows) > arguments["count"]
        rows = rows[: arguments["count"]]
        if arguments["backward"]:
            rows.reverse()
        first = len(self._selected())
        end = first + len(arguments["order"])
        others: dict[str, bool] = {}
        for bound in _BOUNDS:
            if f"{bound}_0" in arguments:
                others[bound] = bool(rows and rows[0][end + len(others)])
        return ConnectionPage(
            type(self), key, arguments,
            nodes=list(map(self._row_factory(), rows)),
            places=[row[first:end] for row in rows],
            has_more=has_more,
            has_others=others,
        )  # fmt: skip

    def _keys_with_others(self, keys: Sequence[Any], bound: str) -> Iterable[Any]:
        """Return the keys with a row on the other side of a bound; their pages are empty."""
        arguments = {**self.arguments, "others": bound}
        loader = type(self)(self.viewer, self.dependencies, arguments, self.columns)
        return loader.listed_keys(keys)

    def listed_keys(self, keys: Sequence[Any]) -> Iterable[Any]:
        """Return the keys whose statement has rows."""
        return self._as_asked(keys, self._groups(self._fetch(keys)))


def _sorting(names: Sequence[str], terms: Terms) -> list[Any]:
    return [
        F(name).desc() if term.descending else F(name).asc()
        for name, term in zip(names, terms, strict=True)
    ]


class RootConnectionLoader(ConnectionLoader):
    """A loader of a page of all rows. The only key is ``WHOLE``."""

    @classmethod
    def key_type(cls) -> None:
        """Return None: the statement has no keys."""

    @classmethod
    def _all(cls, keys: Sequence[Any]) -> _ListKind:
        del keys
        return _ListKind(cls.dependency, (WHOLE,), ListKey)

    @classmethod
    def _list(cls, viewer: Viewer) -> "QuerySet[Any, Any]":
        return cls.queryset(viewer)

    def _select_columns(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        return queryset.using(using).values_list(*self._selected(), *self._own_columns())

    def _groups(self, rows: Sequence[tuple[Any, ...]]) -> dict[Any, list[tuple[Any, ...]]]:
        return {WHOLE: list(rows)} if rows else {}


# --- samples of the statements, for the checks of ``manage.py check``


def sample_arguments(loader: type[ConnectionLoader]) -> Iterator[dict[str, Any]]:
    """Yield arguments with each order, and with each operator of each filter."""
    conditions = [
        Condition(name, operator, ("filter_0",))
        for name, each in loader.filters.filters.items()
        for operator in each.operators
    ]
    searches = (
        condition for condition in conditions if loader.filters.filters[condition.name].is_search
    )
    search = next(searches, None)
    for name, order in loader.orders.all.items():
        if not order.needs_search or search is not None:
            yield _sample(name, search if order.needs_search else None)
    for condition in conditions:
        yield {**_sample("ID", condition), **_dependencies_of(loader, condition)}


def _sample(order: str, condition: Condition | None) -> dict[str, Any]:
    """Return arguments with one order, or with one condition for the order by id.

    A page behind a cursor looks at the columns of the order, so the samples of conditions have no
    cursor.
    """
    terms = (Term(order, descending=False), Term("ID", descending=False))
    bounds = {f"after_{position}": Parameter(f"after_{position}") for position in range(2)}
    return {
        "order": terms if order != "ID" else terms[:1],
        "count": 1,
        "backward": False,
        "filter": Group("and", () if condition is None else (condition,)),
        "search": condition,
        "others": None,
        "dependencies": (),
        "filter_0": Parameter("filter_0"),
        **(bounds if condition is None or order != "ID" else {}),
    }


def _dependencies_of(loader: type[ConnectionLoader], condition: Condition) -> dict[str, Any]:
    each = loader.filters.filters[condition.name]
    return {"dependencies": tuple(each.dependencies(condition.operator, ["x"]))}
