"""Query sets that are compiled once and run many times.

Django resolves the names of a query set and writes its SQL at every use, which takes longer than
PostgreSQL takes to answer. A compiled query has its SQL; a ``Parameter`` stands for each value that
differs from run to run.

A compiled query bounds the texts that it returns. The cost of an operation counts rows, and a text
may have any length. libpq keeps the whole reply in memory, so nothing that sees the reply could
bound it. PostgreSQL adds up the bytes of the texts before it sends them. It knows the length of a
text without reading the text. Beyond the bound it sends nulls in the place of the texts, and the
sum behind the last column.
"""

from collections.abc import Mapping, Sequence
from datetime import date, time
from secrets import token_hex
from typing import Any, NoReturn

from django.db import connections
from django.db.models import (
    BinaryField,
    BooleanField,
    CharField,
    F,
    Field,
    Func,
    JSONField,
    QuerySet,
    TextField,
)
from django.db.models.expressions import Expression
from django.db.models.sql.compiler import SQLCompiler

from pcf._compat.django_db import compile_select, converters_of, write_literals
from pcf.database.key_types import array_type
from pcf.database.prepared_statements import ReadRequest, ReadStatement
from pcf.database.query_log import current_log
from pcf.errors import ResponseTooLarge
from pcf.greenlets import TaskLocal

Row = tuple[Any, ...]

_TOKEN = token_hex()  # marks the place of a value in the SQL; no literal contains it


class UnknownValue(TypeError):
    """Code looked at the value of a Parameter, which differs from run to run."""


_last_look: TaskLocal[UnknownValue] = TaskLocal()  # code may catch the error of a look


def take_last_look() -> UnknownValue | None:
    """Forget and return the error of this thread's last look at the value of a Parameter."""
    last = _last_look.get()
    _last_look.set(None)
    return last


class Placeholder(Expression):
    """The place of a named value in a statement."""

    def __init__(self, name: str, output_field: "Field[Any, Any] | None" = None) -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, _compiler: SQLCompiler, _connection: Any) -> tuple[str, Any]:
        """Return a placeholder, and the expression itself in the place of its value."""
        return "%s", (self,)


class Parameter(Placeholder):
    """A value that a query set gets by name when it runs.

    The database may compare a parameter, in ``filter`` and the like. Python may not: what it would
    decide by a value (``viewer.id == 1``, ``viewer.id in banned``, ``f"{viewer.id}"``) would be
    decided for all runs. So every operation of Python raises UnknownValue.
    ``isinstance`` and ``is`` cannot raise; code that builds a query set must not use them.
    """

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        """Return the place of the value, which Django may compare and hash."""
        output_field = self.__dict__.get("output_field")
        return Placeholder(self.name, output_field).resolve_expression(*args, **kwargs)

    def _refuse(self, *_: object) -> NoReturn:
        look = UnknownValue(f"looks at the value of {self.name!r}")
        _last_look.set(look)
        raise look

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __bool__ = _refuse
    __str__ = __repr__ = __format__ = __bytes__ = _refuse
    __int__ = __index__ = __float__ = __complex__ = __round__ = __abs__ = _refuse
    __len__ = __iter__ = __contains__ = __getitem__ = __call__ = _refuse
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _refuse
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = _refuse
    __and__ = __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = _refuse
    __neg__ = __pos__ = __invert__ = _refuse


class AnyOf(Func):
    """``column = ANY(keys)``: one parameter, where ``column IN (...)`` has one for each key."""

    def __init__(self, column: str, keys: Parameter) -> None:
        super().__init__(F(column), keys, output_field=BooleanField())

    def as_sql(self, compiler: SQLCompiler, connection: Any, **_: Any) -> tuple[str, Any]:  # type: ignore[override]
        """Return the condition and its parameters."""
        column, keys = self.get_source_expressions()
        sql, params = compiler.compile(column)
        keys_sql, keys_params = compiler.compile(keys)
        key_type = array_type(column.output_field, connection.alias)
        return f"{sql} = ANY({keys_sql}::{key_type}[])", (*params, *keys_params)


class CompiledQuery:
    """The statement of a query set with Parameters. Its rows are tuples. Thread-safe.

    A statement with columns of large texts has one column more. It raises ResponseTooLarge in the
    place of rows with too many bytes.

    Attributes:
        annotations: The names of the columns that are no fields, for a caller that makes instances.
        segments: The SQL around the places of its Parameters; empty when no row can match.
        width: The number of columns that PostgreSQL returns, with the one of the bound.
        joined: The statements that ``pcf.database.planned_reads`` has made with this one.
    """

    __slots__ = (
        "_converters", "_is_bounded", "_names", "_read", "annotations", "has_times", "joined",
        "segments", "used", "width",
    )  # fmt: skip

    def __init__(
        self, queryset: "QuerySet[Any, Any]", using: str, *, has_own_plans: bool = False
    ) -> None:
        """``queryset`` is a ``values_list``; the rows have its columns in its order.

        With ``has_own_plans`` PostgreSQL plans the statement for the values of each run.
        """
        connection = connections[using]
        compiled = compile_select(queryset, using)
        self.annotations: tuple[str, ...] = ()
        self.used = compiled.used
        self._read: ReadStatement | None = None  # None when no row can match
        self._names = [param.name for param in compiled.params if isinstance(param, Placeholder)]
        self.has_times = any(map(_holds_time, compiled.params))  # among the constants
        large = large_columns(compiled.columns) if compiled.sql else []
        self._is_bounded = bool(large)
        self.width = len(compiled.columns) + self._is_bounded
        self.segments: tuple[str, ...] = ()
        self.joined: dict[Any, Any] = {}
        if compiled.sql:
            sql = bounded(compiled.sql, compiled.columns, large) if large else compiled.sql
            self.segments = _segments(sql, compiled.params, connection)
            self._read = read_statement(self.segments, has_own_plans=has_own_plans)
        self._converters = [
            (index, converters, expression)
            for index, expression in enumerate(compiled.columns)
            if (converters := converters_of(expression, connection))
        ]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the Parameters, in the order of their places."""
        return tuple(self._names)

    @property
    def has_own_plans(self) -> bool:
        """Whether PostgreSQL plans the statement for the values of each run."""
        return self._read is not None and self._read.has_own_plans

    @property
    def text(self) -> str:
        """The text of the statement, with its constants; empty when no row can match."""
        return "" if self._read is None else self._read.text

    def is_same(self, other: "CompiledQuery") -> bool:
        """Return whether both have the same text, constants and Parameters."""
        return (self.text, self.parameters) == (other.text, other.parameters)

    def rows(self, using: str, values: Mapping[str, Any]) -> Sequence[Row]:
        """Run the statement with ``values`` for its Parameters, and return its rows.

        Raises KeyError when a value is missing, and ResponseTooLarge.
        """
        request = self.request(values)
        if request is None:
            return []
        rows: list[Row] = connections[using].rows(*request)  # type: ignore[attr-defined]
        return self.finish(rows, using)

    def finish(self, rows: Sequence[Row], using: str) -> Sequence[Row]:
        """Return rows of PostgreSQL with Django's values. Raises ResponseTooLarge."""
        if self._is_bounded:
            check_size(rows)
        if not self._converters:
            return rows
        return self._convert(rows, connections[using]) if rows else rows

    def request(self, values: Mapping[str, Any]) -> ReadRequest | None:
        """Return the statement with its parameters; None when no row can match.

        Raises KeyError when a value is missing.
        """
        if self._read is None:
            return None
        return self._read, [values[name] for name in self._names]

    def _convert(self, rows: Sequence[Row], connection: Any) -> list[Row]:
        """Apply Django's converters to the columns of fields that have some, e.g. JSON."""
        columns: list[Any] = list(zip(*rows, strict=True))
        for index, converters, expression in self._converters:
            for converter in converters:
                columns[index] = [
                    converter(value, expression, connection) for value in columns[index]
                ]
        return list(zip(*columns, strict=True))


def _segments(sql: str, params: Sequence[Any], connection: Any) -> tuple[str, ...]:
    """Return the SQL around its named values, with its constants as literals.

    PostgreSQL's planner sees the literals.
    """
    marked = [_TOKEN if isinstance(param, Placeholder) else param for param in params]
    return tuple(write_literals(sql, marked, connection).split(f"'{_TOKEN}'"))


def read_statement(segments: Sequence[str], *, has_own_plans: bool = False) -> ReadStatement:
    """Return the statement with a placeholder between two segments each."""
    first, *rest = segments
    numbered = [f"${number}{part}" for number, part in enumerate(rest, 1)]
    text = "%s".join(part.replace("%", "%%") for part in segments)
    return ReadStatement(text, "".join([first, *numbered]).encode(), has_own_plans)


def _holds_time(value: Any) -> bool:
    """Return whether a constant is a date or a time, or a list or a range of these."""
    if isinstance(value, list | tuple):
        return any(map(_holds_time, value))
    bounds = getattr(value, "lower", None), getattr(value, "upper", None)  # of psycopg's Range
    return any(isinstance(each, date | time) for each in (value, *bounds))


# Of one statement, and of all statements of a request. No setting: a process compiles a statement
# once.
MAX_TEXT_BYTES = 4_000_000
SHORT = 255  # characters of a column that is not counted


def large_columns(expressions: Sequence[Any]) -> list[int]:
    """Return the positions of the columns whose values may be large."""
    fields = [getattr(expression, "output_field", None) for expression in expressions]
    return [index for index, field in enumerate(fields) if _is_large(field)]


def _is_large(field: Any) -> bool:
    if isinstance(field, CharField):
        return field.max_length is None or field.max_length > SHORT
    return isinstance(field, TextField | BinaryField | JSONField)


def bounded(sql: str, expressions: Sequence[Any], large: Sequence[int]) -> str:
    """Return ``sql`` with a bound on the bytes of its ``large`` columns, and with their sum.

    The rows keep their order: a window of all rows does not sort them.
    """
    names = [f"c{index}" for index in range(len(expressions))]
    sizes = []
    for index in large:
        is_json = isinstance(expressions[index].output_field, JSONField)
        sizes.append(f"coalesce(octet_length(s.c{index}{'::text' if is_json else ''}), 0)")
    columns = [
        f"CASE WHEN t.size <= {MAX_TEXT_BYTES} THEN t.{name} END" if index in large else f"t.{name}"
        for index, name in enumerate(names)
    ]
    return (
        f"SELECT {', '.join(columns)}, t.size FROM ("  # noqa: S608 - no values
        f"SELECT s.*, sum({' + '.join(sizes)}) OVER () AS size FROM ({sql}) AS s"
        f" ({', '.join(names)})) AS t"
    )


def check_size(rows: Sequence[Sequence[Any]]) -> None:
    """Raise ResponseTooLarge when the texts of a bounded statement had too many bytes.

    The same holds for the texts of all statements of a request together.
    """
    if not rows:
        return
    size, log = int(rows[0][-1]), current_log()
    if log is not None:
        log.text_bytes = size = log.text_bytes + size
    if size > MAX_TEXT_BYTES:
        message = f"The texts would have more than {MAX_TEXT_BYTES} bytes; ask for fewer"
        raise ResponseTooLarge("response", MAX_TEXT_BYTES, message)
