"""Loaders of a model's rows, whose statements are compiled once.

A subclass says which rows a viewer may see (``queryset``) and by which field they are looked up
(``key``); everything else is the same for all of them. Depending on the operation the values are
light rows with the columns it needs, or instances of the model.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, ClassVar

from django.db import router
from django.db.models import Model, QuerySet

from pcf.database.ahead import PlannedRead
from pcf.database.lateral import KEY, OuterKey, for_each
from pcf.database.prepared import AnyOf, Parameter, Prepared, Slot, array_of
from pcf.execution.dependencies import WHOLE, blocks_between, has_blocks
from pcf.execution.loaders import ListLoader, Loader
from pcf.execution.recent import Recent
from pcf.execution.rows import key_of, row_class
from pcf.viewer import Viewer

MAX_STATEMENTS = 1_000  # remembered by a process

_statements: Recent[tuple[Any, ...], Prepared] = Recent(MAX_STATEMENTS)  # shared by all requests


class RowLoader(Loader):
    """Rows of ``model`` by a unique field, each key's one row or None.

    ``key`` is the field's name. ``row_dependency``, where there is one, is the kind under which the
    primary keys of the rows that were found are recorded, too.
    """

    model: ClassVar[type[Model]]
    key: ClassVar[str] = "pk"
    row_dependency: ClassVar[str | None] = None
    constants: ClassVar[tuple[str, ...]] = ()
    """The arguments that are part of the statement's text; all others are its parameters."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # by the ids of the lists of keys, which are kept so that the ids are theirs
        self._planned: dict[int, tuple[Sequence[Any], PlannedRead]] = {}

    @classmethod
    def queryset(cls, viewer: Viewer) -> "QuerySet[Any, Any]":
        """The rows that ``viewer`` may see.

        It is called once for all viewers of one kind: ``viewer.id`` is a Parameter, which may be
        given to ``filter`` and not be looked at otherwise; what else a Viewer has is as it is.
        """
        raise AssertionError(f"{cls.__name__} must say which rows {viewer} may see")

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        """All of ``keys`` that exist."""
        key_of_row = itemgetter(self._key_position())
        make = self._maker()
        return {key_of_row(row): make(row) for row in self._rows(keys)}

    # -- the statement --------------------------------------------------------------------------

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """The query set to be compiled: for ``Parameter("keys")``, the viewer, the arguments.

        Those in ``constants`` have their values, all others are Parameters, too.
        """
        del arguments
        return cls.queryset(viewer).filter(AnyOf(cls.key, Parameter("keys"))).order_by()

    def planned(self, keys: Sequence[Any]) -> PlannedRead:
        """The statement of a batch."""
        planned = self._plan(keys)
        self._planned[id(keys)] = keys, planned
        return planned

    def _plan(self, keys: Sequence[Any]) -> PlannedRead:
        using = router.db_for_read(self.model)
        values = {**self.arguments, "keys": array_of(keys), "viewer": self.viewer.id}
        return PlannedRead(using, self._statement(using), values)

    def _rows(self, keys: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        _, planned = self._planned.pop(id(keys), (keys, None))
        using, statement, values = planned or self._plan(keys)
        rows = statement.rows(using, values)
        if self.row_dependency is not None:
            primary_key = itemgetter(self._names().index(key_of(self.model)))
            self.dependencies.add(self.row_dependency, set(map(primary_key, rows)))
        return rows

    def _statement(self, using: str) -> Prepared:
        constants = tuple([self.arguments[name] for name in self.constants])
        key = (type(self), self.viewer.kind, self.columns, constants, *self.arguments)
        return _statements.get(key, lambda: self._prepare(using))

    def _prepare(self, using: str) -> Prepared:
        viewer = self.viewer
        if viewer.is_authenticated:
            viewer = replace(viewer, id=Parameter("viewer"))  # type: ignore[arg-type]
        arguments = {
            name: value if name in self.constants else Parameter(name)
            for name, value in self.arguments.items()
        }
        return Prepared(self._selected(self.build(viewer, arguments), using), using)

    def _selected(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        names = self._names()
        key = () if self._key_name() in names else (self.key,)
        return queryset.using(using).values_list(*names, *key)

    # -- the values -----------------------------------------------------------------------------

    def _names(self) -> tuple[str, ...]:
        """The columns of the rows."""
        if self.columns is not None:
            return self.columns
        return tuple(field.attname for field in self.model._meta.concrete_fields)  # noqa: SLF001

    def _key_name(self) -> str:
        return key_of(self.model) if self.key == "pk" else self.key

    def _key_position(self) -> int:
        """Where in a row its key is: among the columns or after them."""
        names, key = self._names(), self._key_name()
        return names.index(key) if key in names else len(names)

    def _maker(self) -> Callable[[tuple[Any, ...]], Any]:
        """What makes a value of a row, which may have more than the columns at its end."""
        if self.columns is not None:
            return row_class(self.model, self.columns)
        names = self._names()
        from_db = partial(self.model.from_db, router.db_for_read(self.model), names)
        return lambda row: from_db(row[: len(names)])


class RowListLoader(RowLoader, ListLoader):
    """All rows that have a key, in the query set's order; ``key`` is a field or relation."""

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, list[Any]]:
        """The rows of every key."""
        rows = self._rows(keys)
        make = self._maker()
        by_key = groupby(rows, itemgetter(self._key_position()))  # rows are ordered by their keys
        return {key: list(map(make, group)) for key, group in by_key}

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """As RowLoader's, with the order kept."""
        del arguments
        queryset = cls.queryset(viewer)
        order = queryset.query.order_by
        return queryset.filter(AnyOf(cls.key, Parameter("keys"))).order_by(cls.key, *order)


class PageLoader(RowListLoader):
    """A page of the rows of each key, by primary key. Arguments: ``first``, ``after``.

    Each key has its page in the same statement, at the cost of one index scan of its length.
    """

    constants = ("first",)

    @classmethod
    def page(
        cls, queryset: "QuerySet[Any, Any]", key: Any, arguments: Mapping[str, Any]
    ) -> "QuerySet[Any, Any]":
        """The rows of ``key`` after ``arguments["after"]``; a subclass may put it otherwise."""
        return queryset.filter(**{cls.key: key, "pk__gt": arguments["after"]})

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """The page of one key, to be had for each."""
        rows = cls.page(cls.queryset(viewer), OuterKey(), arguments)
        return rows.order_by("pk")[: arguments["first"]]

    def _selected(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        pages = for_each(queryset, Slot("keys"), using)
        return pages.values_list(*self._names(), KEY)

    def _key_position(self) -> int:
        return len(self._names())


class RootPageLoader(RowListLoader):
    """A page of all rows, by primary key, under the one key ``WHOLE``. Arguments: as PageLoader.

    It depends on the blocks of the list that it covers, which are known when it has been read.
    """

    constants = ("first",)

    def record(self, keys: Sequence[Any]) -> None:
        """Nothing yet."""

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, list[Any]]:
        """The page."""
        covered: Iterable[Hashable] = (WHOLE,)
        try:
            rows = self._rows(keys)
            covered = self._covered(rows)
        finally:
            self.dependencies.add(self.dependency, covered)
        return {WHOLE: list(map(self._maker(), rows))}

    def _covered(self, rows: Sequence[tuple[Any, ...]]) -> Iterable[Hashable]:
        """What of the list a write has to touch to change the page: nothing behind its last row
        when it is full.
        """
        names, key = self._names(), key_of(self.model)
        if len(rows) < self.arguments["first"] or key not in names or not has_blocks(self.model):
            return (WHOLE,)
        return blocks_between(self.arguments["after"], rows[-1][names.index(key)])

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """The page."""
        rows = cls.queryset(viewer).filter(pk__gt=arguments["after"])
        return rows.order_by("pk")[: arguments["first"]]

    def _selected(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        return queryset.using(using).values_list(*self._names())
