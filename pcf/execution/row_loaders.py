"""Loaders of a model's rows, whose statements Django compiles once.

A subclass defines the rows that a viewer may see (``queryset``) and the field that the loader looks
rows up by (``key``). The values are light rows with the columns that the operation needs, or
instances of the model.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import F, Model, QuerySet

from pcf._compat.django_db import unusual_part
from pcf.database.compiled_queries import AnyOf, CompiledQuery, Parameter, Row
from pcf.database.key_types import (
    KeyType,
    ListKey,
    array_of,
    key_field,
    lookup_type,
    recorded_type,
    target_of,
)
from pcf.database.planned_reads import JoinedQuery, PlannedRead, join_query
from pcf.database.query_log import declared, declared_reads
from pcf.execution.dependencies import WHOLE, blocks_between, has_blocks
from pcf.execution.loaders import KeyBatch, ListLoader, Loader
from pcf.execution.paging import LATERAL_KEY, OuterKey, behind, for_each, order_of
from pcf.execution.rows import Columns, columns_of, position_of, primary_key_of, row_class
from pcf.execution.shared_statements import SharedStatements
from pcf.viewer import ANONYMOUS, Viewer, current_locale

OWN_ANNOTATION = "pcf_"  # how the names of a loader's own annotations begin

_statements = SharedStatements(1_000)  # of all requests of this process


class RowLoader(Loader):
    """A loader of rows of ``model`` by a unique field. The value of a key is its row or None.

    ``key`` is the name of the field. A caller may give a key as the value of the field or as a text
    that stands for the value; a text that stands for none has no row. When ``row_dependency`` is
    set, the loader also records the primary keys of the rows that it has found, under that kind.

    The values are as Django makes them. A column with a descriptor, a model with code of its own
    for instances, and an annotation of ``queryset`` make the loader return instances.
    """

    model: ClassVar[type[Model]]
    key: ClassVar[str] = "pk"
    row_dependency: ClassVar[str | None] = None
    shows_rows: ClassVar[bool] = True  # False: the values hold nothing of the rows, e.g. counts
    sql_constants: ClassVar[tuple[str, ...]] = ()
    """The arguments whose values are part of the statement's text. All others are parameters."""
    joins: Sequence[tuple[str, "RowLoader"]] = ()  # see pcf.execution.joins
    offered_by: CompiledQuery | None = None  # the statement that another has joined to its own

    @classmethod
    def queryset(cls, viewer: Viewer) -> "QuerySet[Any, Any]":
        """Return the rows that ``viewer`` may see.

        All viewers of one kind share the result, for as long as the process lives. So ``viewer.id``
        is a Parameter, which the method may pass to ``filter``. The other attributes are real
        values. A method that looks at the value of ``viewer.id``, or that depends on the time, is
        called for each request with the real values, and its response is not stored. The loader
        reads all columns of a row, whatever ``only`` and ``defer`` say.
        """
        raise AssertionError(f"{cls.__name__} must define the rows that {viewer} may see")

    def record(self, keys: Sequence[Any]) -> None:
        """Record ``keys`` as dependencies, with their type."""
        self.dependencies.add(self.dependency, keys, recorded_type(self.model, self.key))

    def has_own_plans(self) -> bool:
        """Return whether the best plan depends on the values: an argument chooses rows."""
        given = {name for name, value in self.arguments.items() if value is not None}
        return bool(given - {*self.sql_constants, "after"})

    def kinds(self) -> frozenset[str]:
        """Return the kinds under which the loader records what its statement looks for."""
        return frozenset((self.dependency,))

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        """Fetch the rows of ``keys``; keys without a row are left out."""
        rows = self._fetch(keys)
        key_of_row, make_value = itemgetter(self._key_position()), self._row_factory()
        return self._as_asked(keys, {key_of_row(row): make_value(row) for row in rows})

    def _load_declared(self, keys: KeyBatch) -> Mapping[Any, Any]:
        """Call ``load_batch``. The engine's own sends statements that declare their reads.

        Whatever else reads meanwhile is code of the model: ``from_db``, a receiver of post_init.
        """
        if type(self).load_batch.__module__.startswith("pcf."):
            return self.load_batch(keys)
        return super()._load_declared(keys)

    def _as_asked(self, keys: Sequence[Any], found: dict[Any, Any]) -> Mapping[Any, Any]:
        """Return what was found, by the keys as the caller has given them."""
        if isinstance(keys, KeyBatch) and keys.have_type:
            return found
        key_type = self.key_type()
        return found if key_type is None else key_type.as_asked(keys, found)

    @classmethod
    def key_field(cls) -> Any:
        """Return the field that holds the keys; None when ``key`` is no field."""
        return key_field(cls.model, cls.key)

    @classmethod
    def key_type(cls) -> KeyType | None:
        """Return the type of the keys; None when ``key`` is no field, e.g. an annotation.

        Raises ImproperlyConfigured for a field whose keys have no type.
        """
        return lookup_type(cls.model, cls.key)

    # -- the statement --------------------------------------------------------------------------

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """Return the query set to compile, with ``Parameter("keys")`` in the place of the keys.

        ``arguments`` holds the values of ``sql_constants``. All other arguments are Parameters.
        """
        del arguments
        return cls.queryset(viewer).filter(AnyOf(cls.key, Parameter("keys"))).order_by()

    def planned_read(self, keys: Sequence[Any]) -> PlannedRead:
        """Return the statement of a batch."""
        using = router.db_for_read(self.model)
        key_type = self.key_type()
        parsed = keys if key_type is None else key_type.parse_all(keys)
        if isinstance(keys, KeyBatch):
            keys.have_type = parsed is keys
        values = {**self.arguments, "keys": array_of(key_type, parsed), "viewer": self.viewer.id}
        statement = self._statement(using)
        return PlannedRead(using, self._join(statement, using) if self.joins else statement, values)

    def _join(self, statement: CompiledQuery, using: str) -> CompiledQuery | JoinedQuery:
        """Return the statement with the rows that ``joins`` lead to, where PostgreSQL can."""
        others: list[tuple[int, CompiledQuery]] = []
        for column, loader in self.joins:
            if router.db_for_read(loader.model) != using:
                return statement
            loader.offered_by = loader._statement(using)  # noqa: SLF001
            others.append((self._selected().index(column), loader.offered_by))
        return join_query(statement, tuple(others))

    def _offer_joined(self, rows: Sequence[Row], found: Sequence[Sequence[Row | None]]) -> None:
        """Offer to each loader of ``joins`` the rows ``found`` beside ``rows``; None is no row."""
        for (column, loader), others in zip(self.joins, found, strict=True):
            keys = map(itemgetter(self._selected().index(column)), rows)
            make = loader._row_factory()  # noqa: SLF001
            loader.offer(dict(zip(keys, [row and make(row) for row in others], strict=True)))

    def record_accepted(self, keys: Sequence[Any]) -> None:
        """Record the keys and the statement."""
        self.record(keys)
        if self.offered_by is not None:
            self.dependencies.statements.add((type(self), self.offered_by, self.kinds(), True))

    def _fetch(self, keys: Sequence[Any]) -> Sequence[Row]:
        planned = keys.planned if isinstance(keys, KeyBatch) else None
        using, statement, values = planned or self.planned_read(keys)
        rows: Sequence[Any] = declared(statement.rows, using, values)
        if isinstance(statement, JoinedQuery):
            rows, *others = rows
            self._offer_joined(rows, others)
            statement = statement.first
        shown = self.columns is not None
        self.dependencies.statements.add((type(self), statement, self.kinds(), shown))
        if self.row_dependency is not None:
            primary_key = itemgetter(self._columns().index(primary_key_of(self.model)))
            found = set(map(primary_key, self._shown(rows)))
            self.dependencies.add(self.row_dependency, found, recorded_type(self.model, "pk"))
        return rows

    def _shown(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows of a statement that a response may show."""
        return rows

    def _statement(self, using: str) -> CompiledQuery:
        """Return the statement; a query set that requests cannot share makes an undeclared read."""
        arguments = self.arguments
        key: tuple[Any, ...] = type(self), self.viewer.kind, self.columns, current_locale()
        if arguments:
            constants = [arguments[name] for name in self.sql_constants]
            given = [name for name, value in arguments.items() if value is not None]
            key = (*key, *arguments, None, *given, None, *constants)
        statement, reason = _statements.get(key, lambda shared: self._build(using, shared))
        if reason is not None:
            name = f"{type(self).__module__}.{type(self).__name__}"
            self.dependencies.undeclared = f"{name}: its query set {reason}"
        self._annotations = statement.annotations
        return statement

    def _build(self, using: str, shared: bool) -> CompiledQuery:
        """Build the statement for all requests that share it, or for this request alone."""
        viewer, arguments = self.viewer, self.arguments
        if reserved := {"keys", "viewer"} & arguments.keys():
            raise ImproperlyConfigured(
                f"{type(self).__name__}: a loader cannot have an argument called {min(reserved)!r}"
            )
        if shared:
            if viewer.is_authenticated:
                viewer = replace(viewer, id=Parameter("viewer"))
            arguments = {
                name: value if value is None or name in self.sql_constants else Parameter(name)
                for name, value in arguments.items()
            }
        with declared_reads():  # to compile, Django may make a connection, which the pool checks
            queryset = self.build(viewer, arguments)
            if unusual := unusual_part(queryset):
                raise ImproperlyConfigured(
                    f"{type(self).__name__}.queryset() uses {unusual}, which a loader cannot do"
                )
            names = queryset.query.annotation_select if self.columns is None else ()
            self._annotations = tuple(x for x in names if not x.startswith(OWN_ANNOTATION))
            selected = self._select_columns(queryset, using)
            statement = CompiledQuery(selected, using, has_own_plans=self.has_own_plans())
        statement.annotations = self._annotations
        return statement

    def _select_columns(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        selected = self._selected()
        key = () if self._key_column() in selected else (self.key,)
        return queryset.using(using).values_list(*selected, *key)

    # -- the values -----------------------------------------------------------------------------

    def _columns(self) -> tuple[str, ...]:
        """Return the columns of a value."""
        return columns_of(self.model) if self.columns is None else self.columns

    def _selected(self) -> Columns:
        """Return the columns of a value, and the annotations of an instance."""
        return (*self._columns(), *self._annotations) if self.columns is None else self.columns

    def _key_column(self) -> str:
        return primary_key_of(self.model) if self.key == "pk" else self.key

    def _key_position(self) -> int:
        """Return the position of the key in a row: among what is selected, or behind it."""
        if self.columns is not None:
            return position_of(self.columns, self.model, self.key)
        selected, key = self._selected(), self._key_column()
        return selected.index(key) if key in selected else len(selected)

    def _row_factory(self) -> Callable[[Row], Any]:
        """Return the function that makes a value of a row. The row may be longer than a value."""
        if self.columns is not None:
            return row_class(self.model, self.columns)
        columns, annotations = self._columns(), self._annotations
        count = len(columns)
        from_db = partial(self.model.from_db, router.db_for_read(self.model), columns)
        if not annotations:
            return lambda row: from_db(row[:count])

        def make_annotated(row: Row) -> Any:
            instance = from_db(row[:count])
            for name, value in zip(annotations, row[count:], strict=False):
                setattr(instance, name, value)
            return instance

        return make_annotated


class RowListLoader(RowLoader, ListLoader):
    """A loader of all rows that have a key, in an order. ``key`` is a field or a relation.

    ``order_by`` names the fields of the order. Without it the order is that of ``queryset``, as in
    Django: its own, or else ``Meta.ordering``. The primary key decides between equal rows.
    """

    order_by: ClassVar[tuple[Any, ...] | None] = None

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, list[Any]]:
        """Fetch the rows of every key; keys without a row are left out."""
        rows = self._fetch(keys)
        make_value = self._row_factory()
        by_key = groupby(rows, itemgetter(self._key_position()))  # the statement orders by the key
        return self._as_asked(keys, {key: list(map(make_value, group)) for key, group in by_key})

    @classmethod
    def ordering(cls, queryset: "QuerySet[Any, Any]") -> tuple[Any, ...]:
        """Return the terms of the order of each list."""
        if cls.order_by is not None:
            return cls.order_by
        terms = order_of(queryset)
        return terms if "pk" in terms or primary_key_of(cls.model) in terms else (*terms, "pk")

    @classmethod
    def default_order(cls) -> tuple[Any, ...]:
        """Return the terms of the order that ``queryset`` has for an anonymous viewer."""
        try:
            return order_of(cls.queryset(ANONYMOUS))
        except Exception:  # noqa: BLE001 - a query set of members alone
            return order_of(cls.model._default_manager.all())  # noqa: SLF001

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """Return the query set to compile, as RowLoader does, in order."""
        del arguments
        rows = cls.queryset(viewer).filter(AnyOf(cls.key, Parameter("keys")))
        # F: a relation by its name would order by the ordering of the related model
        return rows.order_by(F(cls.key), *cls.ordering(rows))


class PageLoader(RowListLoader):
    """A loader of a page of the rows of each key, by primary key. Arguments: ``first``, ``after``.

    One statement fetches the pages of all keys. Each page costs one index scan of its length. The
    primary key is the order of every page, since a page begins behind a key. A loader of a model
    with another ``Meta.ordering`` has to say so: ``order_by = ("pk",)``.
    """

    sql_constants = ("first",)

    @classmethod
    def page(
        cls, queryset: "QuerySet[Any, Any]", key: Any, arguments: Mapping[str, Any]
    ) -> "QuerySet[Any, Any]":
        """Return the rows of ``key`` behind ``arguments["after"]``; with None, all of them.

        A subclass may express the same rows by other filters.
        """
        return behind(queryset.filter(**{cls.key: key}), arguments)

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """Return the page of one key, for a lateral join with the keys."""
        rows = cls.page(cls.queryset(viewer), OuterKey(cls._lateral_field()), arguments)
        return rows.order_by("pk")[: arguments["first"]]

    def _select_columns(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        pages = for_each(queryset, Parameter("keys"), using, self._lateral_field())
        return pages.values_list(*self._selected(), LATERAL_KEY)

    def _key_position(self) -> int:
        return len(self._selected())

    @classmethod
    def _lateral_field(cls) -> Any:
        field = cls.key_field()
        return None if field is None else target_of(field)


class RootPageLoader(RowListLoader):
    """A loader of one page of all rows, by primary key. Arguments: as for PageLoader.

    The only key is ``WHOLE``. The page depends on the blocks of the list that it covers. The loader
    knows these blocks after it has read the page.
    """

    sql_constants = ("first",)

    @classmethod
    def key_type(cls) -> None:
        """Return None: the statement has no keys."""

    def record(self, keys: Sequence[Any]) -> None:
        """Record nothing: ``load_batch`` records the blocks."""

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, list[Any]]:
        """Fetch the page, and record the blocks that it covers."""
        covered: Iterable[Hashable] = (WHOLE,)
        try:
            rows = self._fetch(keys)
            covered = self._covered_keys(rows)
        finally:
            self.dependencies.add(self.dependency, covered, ListKey)
        return {WHOLE: list(map(self._row_factory(), rows))}

    def _covered_keys(self, rows: Sequence[Row]) -> Iterable[Hashable]:
        """Return the dependency keys of the page.

        A write behind the last row of a full page does not change the page.
        """
        columns, key = self._columns(), primary_key_of(self.model)
        is_full = len(rows) >= self.arguments["first"]
        if not is_full or key not in columns or not has_blocks(self.model):
            return (WHOLE,)
        return blocks_between(self.arguments["after"] or 0, rows[-1][columns.index(key)])

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """Return the page."""
        rows = behind(cls.queryset(viewer), arguments)
        return rows.order_by("pk")[: arguments["first"]]

    def _select_columns(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        return queryset.using(using).values_list(*self._selected())
