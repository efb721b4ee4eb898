"""Query sets that are compiled once and run many times.

Django builds a query set, resolves its names and writes its SQL anew at every use, which takes
longer than PostgreSQL takes to answer it. Here ``Parameter`` stands for what differs from run to
run; the SQL is written once.
"""

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any, NoReturn

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import BooleanField, F, Field, Func, QuerySet
from django.db.models.expressions import Expression
from django.db.models.sql.compiler import SQLCompiler

from pcf.database.reads import Asked, ReadText

Row = tuple[Any, ...]

_MARK = token_hex()  # stands where a value will; in no constant of a statement


class Parameter(Expression):
    """A value that a query set gets when it is run, by name.

    It can be compared by the database, in ``filter`` and the like. Python cannot: what depends on
    it (``viewer.id == 1``, ``f"{viewer.id}"``) would be decided once for all runs, so that is a
    TypeError. It is neither None nor the empty text, which Django asks.
    """

    def __init__(self, name: str, output_field: "Field[Any, Any] | None" = None) -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, _compiler: SQLCompiler, _connection: Any) -> tuple[str, Any]:
        """A placeholder, and what says which value belongs there."""
        return "%s", (Slot(self.name),)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(f"'{self.name}' has no value yet: the query set is compiled for all values")

    def __eq__(self, other: object) -> bool:
        if other is not None and other != "" and not isinstance(other, Expression):
            self._refuse()
        return self is other

    def __hash__(self) -> int:
        return id(self)

    __lt__ = __le__ = __gt__ = __ge__ = __str__ = __format__ = _refuse


class Slot:
    """Where in the parameters of a compiled statement a value belongs."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class AnyOf(Func):
    """``column = ANY(keys)``: one parameter, where ``column IN (...)`` has one for each key."""

    def __init__(self, column: str, keys: Parameter) -> None:
        super().__init__(F(column), keys, output_field=BooleanField())

    def as_sql(self, compiler: SQLCompiler, connection: Any, **_: Any) -> tuple[str, Any]:  # type: ignore[override]
        """The condition and its parameters."""
        column, keys = self.get_source_expressions()
        sql, params = compiler.compile(column)
        keys_sql, keys_params = compiler.compile(keys)
        key_type = column.output_field.rel_db_type(connection)
        return f"{sql} = ANY({keys_sql}::{key_type}[])", (*params, *keys_params)


class Prepared:
    """The statement of a query set with Parameters; its rows are tuples. For all threads."""

    __slots__ = ("_converters", "_read", "_slots")

    def __init__(self, queryset: "QuerySet[Any, Any]", using: str) -> None:
        """``queryset`` is a ``values_list``: its columns, in their order, are those of the rows."""
        connection = connections[using]
        compiler = queryset.query.get_compiler(using)
        self._read: ReadText | None = None
        self._slots: list[str] = []
        try:
            sql, params = compiler.as_sql()
        except EmptyResultSet:  # nothing can match, whatever the values
            pass
        else:
            self._slots = [param.name for param in params if isinstance(param, Slot)]
            self._read = _spelled(sql, params, connection)
        columns = [expression for expression, _, _ in compiler.select]
        self._converters = [
            (place, converters, expression)
            for place, expression in enumerate(columns)
            if (
                converters := connection.ops.get_db_converters(expression)
                + expression.get_db_converters(connection)
            )
        ]

    def rows(self, using: str, values: Mapping[str, Any]) -> Sequence[Row]:
        """Run the statement with ``values`` for its Parameters; KeyError when one is missing."""
        asked = self.asked(values)
        if asked is None:
            return []
        connection = connections[using]
        rows: list[Row] = connection.rows(*asked)  # type: ignore[attr-defined]
        return [self._convert(row, connection) for row in rows] if self._converters else rows

    def asked(self, values: Mapping[str, Any]) -> Asked | None:
        """What is sent; None where nothing can match. KeyError when a value is missing."""
        if self._read is None:
            return None
        return self._read, [values[name] for name in self._slots]

    def _convert(self, row: Row, connection: Any) -> Row:
        """As Django does with the values of fields that want it, e.g. JSON."""
        values = list(row)
        for place, converters, expression in self._converters:
            for converter in converters:
                values[place] = converter(values[place], expression, connection)
        return tuple(values)


def _spelled(sql: str, params: Sequence[Any], connection: Any) -> ReadText:
    """The statement with its constants written out, as Django's cursors would write them, and
    placeholders for the Slots alone.
    """
    marked = [_MARK if isinstance(param, Slot) else param for param in params]
    first, *rest = connection.ops.compose_sql(sql, marked).split(f"'{_MARK}'")
    numbered = [f"${number}{part}" for number, part in enumerate(rest, 1)]
    text = "%s".join(part.replace("%", "%%") for part in (first, *rest))
    return ReadText(text, "".join([first, *numbered]).encode())


def array_of(keys: Sequence[Any]) -> Any:
    """``keys`` as a parameter for an array; integers as PostgreSQL's own text of an array, which
    is made many times faster than a list is adapted.
    """
    if all(type(key) is int for key in keys):
        return f"{{{','.join(map(str, keys))}}}"
    return list(keys)
