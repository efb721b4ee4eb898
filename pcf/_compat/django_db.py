"""Django 5.2: the steps of its PostgreSQL backend and of its query compiler.

Django does not document these names, which this module uses:

* ``CursorWrapper._execute`` and ``_executemany``: the step below ``execute_wrappers``.
* ``DatabaseWrapper._commit``, ``_set_autocommit``, ``_configure_connection``, ``_close``: hooks of
  a backend. Third-party backends override them, too.
* ``Query.get_compiler``, ``Query.chain(klass=...)``; ``SQLCompiler.as_sql``, ``select``,
  ``get_order_by``, ``get_extra_select``; ``Ref.source``.
* ``SQLCompiler.pre_sql_setup``, ``where``, ``having``, ``qualify``; ``Query.alias_map``,
  ``alias_refcount``, ``combined_queries``, ``extra``, ``extra_tables``; ``Join.join_fields``,
  ``join_field.get_extra_restriction``, ``filtered_relation.resolved_condition``; ``ExtraWhere``.
* ``context`` of ``DatabaseWrapper.get_connection_params``, psycopg's adapters, and ``timezone`` of
  their loader of timestamps (``pcf.database.timestamps``).
* ``DatabaseOperations.compose_sql`` and ``get_db_converters``.
* ``QuerySet._prefetch_related_lookups``, ``_iterable_class``, ``_fields``, ``_fetch_all``.
* ``ForeignKeyDeferredAttribute``: the attribute ``author_id`` of a model.

Verified with Django 5.2.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet
from django.db.models.expressions import Col, OrderBy, RawSQL
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query import ModelIterable
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.where import ExtraWhere

Converter = Callable[[Any, Any, Any], Any]

FOREIGN_KEY_ATTRIBUTE = ForeignKeyDeferredAttribute


class StatementCursor(CursorWrapper):
    """Django's cursor, with names for the steps below ``execute_wrappers``.

    A subclass overrides ``run_statement`` and ``run_many``. It calls ``send_statement`` and
    ``send_many``, which validate the transaction, send the statement, and translate psycopg's
    errors into Django's.
    """

    def _execute(self, sql: Any, params: Any, *_wrapper_arguments: Any) -> Any:
        return self.run_statement(sql, params)

    def _executemany(self, sql: Any, param_list: Any, *_wrapper_arguments: Any) -> Any:
        return self.run_many(sql, param_list)

    def run_statement(self, sql: Any, params: Any) -> Any:
        """Run a statement for ``execute``."""
        return self.send_statement(sql, params)

    def run_many(self, sql: Any, param_list: Any) -> Any:
        """Run a statement for ``executemany``."""
        return self.send_many(sql, param_list)

    def send_statement(self, sql: Any, params: Any) -> Any:
        """Send a statement as Django does."""
        return super()._execute(sql, params)  # type: ignore[misc]

    def send_many(self, sql: Any, param_list: Any) -> Any:
        """Send a statement with many rows of parameters as Django does."""
        return super()._executemany(sql, param_list)  # type: ignore[misc]


class PostgreSQLWrapper(base.DatabaseWrapper):
    """Django's PostgreSQL wrapper, with names for the hooks of a backend.

    A subclass overrides ``send_commit``, ``switch_autocommit`` and ``configure_session``.
    """

    def _commit(self) -> None:
        self.send_commit()

    def send_commit(self) -> None:
        """Commit the transaction. Raises Django's errors."""
        super()._commit()  # type: ignore[misc]

    def _set_autocommit(self, autocommit: bool) -> None:
        self.switch_autocommit(autocommit)

    def switch_autocommit(self, autocommit: bool) -> None:
        """Enter or leave autocommit mode, at the end or the beginning of a transaction."""
        super()._set_autocommit(autocommit)  # type: ignore[misc]

    def _configure_connection(self, connection: Any) -> bool:
        return self.configure_session(connection)

    def configure_session(self, connection: Any) -> bool:
        """Set the time zone and the role of a new session; return whether it needs a commit."""
        commit: bool = super()._configure_connection(connection)  # type: ignore[misc]
        return commit

    def drop_connection(self) -> None:
        """Close the connection and keep the ``on_commit`` hooks, which ``close`` would discard."""
        self._close()  # type: ignore[attr-defined]
        self.connection = None


def unusual_part(queryset: "QuerySet[Any, Any]") -> str | None:
    """Return what makes the results of ``queryset`` other than instances of its model as stored.

    Returns None for a query set whose results Django makes of one row each, by ``Model.from_db``.
    """
    if queryset._fields is not None:  # type: ignore[attr-defined]
        return "values() or values_list()"
    if queryset._prefetch_related_lookups:  # type: ignore[attr-defined]  # noqa: SLF001
        return "prefetch_related()"
    if queryset.query.extra:
        return "extra(select=...)"
    own_fetch = type(queryset)._fetch_all is not QuerySet._fetch_all  # noqa: SLF001
    if own_fetch or queryset._iterable_class is not ModelIterable:  # noqa: SLF001
        return "a way of its own to make instances"
    return None


Column = tuple[str, str]  # of a table, by their names


class UsedColumns(NamedTuple):
    """The columns that a query set reads, without primary keys.

    ``conditions`` are those of WHERE, HAVING and joins, ``ordering`` those of ORDER BY.
    ``is_known`` is False when a part is raw SQL.
    """

    selected: frozenset[Column]
    conditions: frozenset[Column]
    ordering: frozenset[Column]
    is_sliced: bool
    is_known: bool


class CompiledSelect(NamedTuple):
    """The SQL of a query set, its parameters, its selected expressions, and all columns."""

    sql: str
    params: Sequence[Any]
    columns: Sequence[Any]
    used: UsedColumns


def compile_select(queryset: "QuerySet[Any, Any]", using: str) -> CompiledSelect:
    """Return the SQL of ``queryset``; empty SQL when the query set cannot match anything."""
    compiler = queryset.query.get_compiler(using)
    try:
        sql, params = compiler.as_sql()
    except EmptyResultSet:
        sql, params = "", ()
    columns = [expression for expression, _, _ in compiler.select]
    return CompiledSelect(sql, params, columns, _used_columns(compiler))


def _used_columns(compiler: SQLCompiler) -> UsedColumns:
    """Return the columns of a query that was compiled."""
    selected, conditions, ordering = _ColumnCollector(), _ColumnCollector(), _ColumnCollector()
    for expression, _, _ in compiler.select or ():
        selected.add(expression)
    conditions.add_conditions(compiler)
    if compiler.select is not None:  # None when the query set cannot match anything
        for expression, _ in compiler.get_order_by():
            ordering.add(expression)
    return UsedColumns(
        frozenset(selected.columns),
        frozenset(conditions.columns),
        frozenset(ordering.columns),
        compiler.query.is_sliced,
        selected.is_known and conditions.is_known and ordering.is_known,
    )


class _ColumnCollector:
    """Collects the columns of expressions. A primary key does not change: a row comes or goes."""

    def __init__(self) -> None:
        self.columns: set[Column] = set()
        self.is_known = True

    def add(self, node: Any) -> None:
        """Add the columns of an expression and of the subqueries in it."""
        if isinstance(node, Col):
            self._add_field(node.target)
        elif isinstance(node, Query):
            self._add_subquery(node)
        elif isinstance(node, RawSQL | ExtraWhere):
            self.is_known = False
        else:
            children: Sequence[Any] = getattr(node, "get_source_expressions", list)()
            values = getattr(node, "rhs", None)  # of a lookup: a list may hold expressions
            for child in (*children, *(values if isinstance(values, list | tuple) else ())):
                if child is not None:
                    self.add(child)

    def _add_field(self, field: Any) -> None:
        meta = field.model._meta  # noqa: SLF001
        if field not in meta.pk_fields:
            self.columns.add((meta.db_table, field.column))

    def _add_subquery(self, query: Query) -> None:
        compiler = query.get_compiler(connection=connections[DEFAULT_DB_ALIAS])
        with suppress(EmptyResultSet):
            compiler.pre_sql_setup()
            for expression, _, _ in compiler.select or ():
                self.add(expression)
            self.add_conditions(compiler)
            for expression, _ in compiler.get_order_by():
                self.add(expression)

    def add_conditions(self, compiler: SQLCompiler) -> None:
        """Add the columns of the conditions and the joins of a query that was set up."""
        query: Any = compiler.query
        for node in ("where", "having", "qualify"):
            if (condition := getattr(compiler, node, None)) is not None:
                self.add(condition)
        for alias, join in query.alias_map.items():
            if query.alias_refcount[alias] and getattr(join, "join_field", None) is not None:
                for field in chain.from_iterable(join.join_fields):
                    self._add_field(field)
                self.add(join.join_field.get_extra_restriction(alias, join.parent_alias))
                if join.filtered_relation is not None:
                    self.add(join.filtered_relation.resolved_condition)
        for combined in query.combined_queries:
            self.add(combined)
        if query.extra or query.extra_tables:
            self.is_known = False


def converters_of(expression: Any, connection: Any) -> list[Converter]:
    """Return the functions that turn a value from PostgreSQL into the field's value."""
    return [
        *connection.ops.get_db_converters(expression),
        *expression.get_db_converters(connection),
    ]


def write_literals(sql: str, params: Sequence[Any], connection: Any) -> str:
    """Return ``sql`` with its parameters as literals, as Django's cursors send it."""
    composed: str = connection.ops.compose_sql(sql, params)
    return composed


class OrderTerm(NamedTuple):
    """One term of ORDER BY. ``column`` is an index into the selected columns.

    ``column`` is None when the query set does not select the expression.
    """

    column: int | None
    descending: bool
    nulls_first: bool | None
    nulls_last: bool | None


class WrappedSelect(NamedTuple):
    """The SQL of a query set before it is wrapped; a None in ``order`` is no expression."""

    sql: str
    params: Sequence[Any]
    column_count: int
    order: Sequence[OrderTerm | None]


Wrap = Callable[[WrappedSelect], tuple[str, Sequence[Any]]]


def wrap_select(queryset: "QuerySet[Any, Any]", wrap: Wrap) -> "QuerySet[Any, Any]":
    """Return ``queryset`` with its SQL passed through ``wrap``, which returns SQL and parameters.

    Raises ValueError for a query set with ``prefetch_related``.
    """
    if queryset._prefetch_related_lookups:  # type: ignore[attr-defined]  # noqa: SLF001
        raise ValueError("prefetch_related cannot be used with lateral: batch the edge instead")
    wrapped = queryset.all()
    query: _WrappedQuery = queryset.query.chain(klass=_WrappedQuery)  # type: ignore[assignment]
    query.wrap = wrap
    wrapped.query = query
    return wrapped


class _WrappedCompiler(SQLCompiler):
    query: "_WrappedQuery"

    def as_sql(self, with_limits: bool = True, with_col_aliases: bool = False) -> Any:
        """Return the wrapped statement and its parameters."""
        sql, params = super().as_sql(with_limits, with_col_aliases)
        count = len(self.select) + len(self.get_extra_select(self.get_order_by(), self.select))
        return self.query.wrap(WrappedSelect(sql, params, count, self._order()))

    def _order(self) -> list[OrderTerm | None]:
        by_id = {id(expression): index for index, (expression, _, _) in enumerate(self.select)}
        by_text = {str(expression): index for index, (expression, _, _) in enumerate(self.select)}
        terms: list[OrderTerm | None] = []
        for term, _ in self.get_order_by():
            if not isinstance(term, OrderBy):
                terms.append(None)
                continue
            expression = term.expression
            source = getattr(expression, "source", expression)  # of a Ref to a selected column
            column = by_id.get(id(source), by_text.get(str(source)))
            terms.append(OrderTerm(column, term.descending, term.nulls_first, term.nulls_last))
        return terms


class _WrappedQuery(Query):
    wrap: Wrap

    def get_compiler(
        self, using: str | None = None, connection: Any = None, elide_empty: bool = True
    ) -> _WrappedCompiler:
        """Return the compiler that wraps the statement."""
        if connection is None:
            connection = connections[using or "default"]
        return _WrappedCompiler(self, connection, using, elide_empty)
