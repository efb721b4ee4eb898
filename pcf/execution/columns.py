"""Columns: the places of a response that the plan executor works on at once.

A ``Batch`` is the objects of one type that the executor runs one selection set on. A
``FieldColumn`` is one field of a batch, an ``ItemColumn`` the items of all lists in a column. The
columns do not hold values: the executor passes the values along. A column knows the place of each
of its values in the response. Only an error or a resolver makes a column compute a path.

Two collections refer to places by column and index. ``FieldErrors`` holds the errors of an
operation, and nulls their places at its end. ``PendingColumns`` holds the columns that wait for
their values (``pcf.execution.pending_columns``).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Union

from graphql import GraphQLError, GraphQLObjectType, ResponsePath

from pcf.execution.plan import FieldPlan
from pcf.execution.promises import field_error
from pcf.execution.rows import Row
from pcf.execution.schema import OutputType

Column = Union["FieldColumn", "ItemColumn"]
Location = tuple[Column, int]  # a column and the index of one of its values
Position = tuple[float, ...]  # sorts as the response is read, from its beginning to its end

LARGE_BATCH = 50  # objects from which on their plain fields wait for statements

_BEHIND_CHILDREN = float("inf")


def is_large(objects: Sequence[Any]) -> bool:
    """Return whether the plain fields of so many objects may wait for statements."""
    return len(objects) >= LARGE_BATCH


# -- places -------------------------------------------------------------------------------------


class Batch:
    """Objects of one type: their values, their results, and the column that they are values of.

    The root object has no column. ``row_class`` is the class of the values when all of them are
    light rows of one class, else None.
    """

    __slots__ = ("_paths", "column", "fields", "object_type", "results", "row_class", "values")

    def __init__(
        self,
        column: Column | None,
        object_type: GraphQLObjectType,
        fields: tuple[FieldPlan, ...],
        values: Sequence[Any],
        results: list[dict[str, Any]],
        row_class: type[Row] | None = None,
    ) -> None:
        self.column = column
        self.object_type = object_type
        self.fields = fields
        self.values = values
        self.results = results
        self.row_class = row_class
        self._paths: dict[int, ResponsePath] = {}

    @property
    def has_time(self) -> bool:
        """Whether the plain fields may run while the statements below the objects run.

        It is not worth it for a few objects. Light rows run no code when a column is read.
        """
        if self.row_class is None or not is_large(self.values):
            return False
        return any(not field.is_plain for field in self.fields)

    def path(self, index: int) -> ResponsePath | None:
        """Return the path of an object; None for the root."""
        if self.column is None:
            return None
        path = self._paths.get(index)
        if path is None:
            path = self._paths[index] = self.column.path(index)
        return path

    def position(self, index: int) -> Position:
        """Return the position of an object in the response."""
        return () if self.column is None else self.column.position(index)


class FieldColumn:
    """One field of some objects of a batch: of those at the indexes ``members``."""

    __slots__ = ("batch", "field", "members", "output_type")

    def __init__(self, batch: Batch, field: FieldPlan, members: Sequence[int]) -> None:
        self.batch = batch
        self.field = field
        self.members = members
        self.output_type: OutputType = field.output_type

    @property
    def field_name(self) -> str:
        """The name of the field with that of its type."""
        return self.field.full_name

    def subset(self, indexes: Sequence[int]) -> "FieldColumn":
        """Return the column of only these values."""
        members = self.members
        return FieldColumn(self.batch, self.field, [members[index] for index in indexes])

    def parent(self, index: int) -> Location | None:
        """Return the object that the value belongs to; None for the root object."""
        column = self.batch.column
        return None if column is None else (column, self.members[index])

    def field_location(self, index: int) -> tuple["FieldColumn", int]:
        """Return the field that the value belongs to: this one."""
        return self, index

    def get(self, index: int) -> Any:
        """Return what the response holds at this place."""
        return self.batch.results[self.members[index]][self.field.name]

    def set(self, index: int, value: Any) -> None:
        """Put ``value`` into the response at this place."""
        self.batch.results[self.members[index]][self.field.name] = value

    def path(self, index: int) -> ResponsePath:
        """Return the path of this place in the response."""
        parent = self.batch.path(self.members[index])
        return ResponsePath(parent, self.field.name, self.field.parent_type.name)

    def schema_path(self, index: int) -> list[str | int]:
        """Return the path of this place, with the names of fields in the place of aliases."""
        parent = self.parent(index)
        above = [] if parent is None else parent[0].schema_path(parent[1])
        return [*above, self.field.nodes[0].name.value]

    def position(self, index: int) -> Position:
        """Return the position of this place in the response."""
        return (*self.batch.position(self.members[index]), self.field.index)


class ItemColumn:
    """The items of the lists in another column: list ``n`` begins at the index ``starts[n]``.

    ``members`` are the indexes of the items that belong to this column.
    """

    __slots__ = ("field", "lists", "members", "output_type", "starts")

    def __init__(self, lists: Column, starts: Sequence[int], members: Sequence[int]) -> None:
        assert lists.output_type.item is not None  # noqa: S101 - only lists have items
        self.lists = lists
        self.starts = starts
        self.members = members
        self.field: FieldPlan = lists.field
        self.output_type: OutputType = lists.output_type.item

    @property
    def field_name(self) -> str:
        """The name of the field with that of its type."""
        return self.field.full_name

    def subset(self, indexes: Sequence[int]) -> "ItemColumn":
        """Return the column of only these items."""
        members = self.members
        return ItemColumn(self.lists, self.starts, [members[index] for index in indexes])

    def _locate(self, index: int) -> tuple[int, int]:
        """Return the index of the list, and the index of the item in that list.

        An empty list begins where the next list begins, so the last list that begins there counts.
        """
        member = self.members[index]
        list_index = bisect_right(self.starts, member) - 1
        return list_index, member - self.starts[list_index]

    def schema_path(self, index: int) -> list[str | int]:
        """Return the path of this place, with the names of fields in the place of aliases."""
        list_index, item_index = self._locate(index)
        return [*self.lists.schema_path(list_index), item_index]

    def parent(self, index: int) -> Location | None:
        """Return the list of this item."""
        return self.lists, self._locate(index)[0]

    def field_location(self, index: int) -> tuple[FieldColumn, int]:
        """Return the field that the item belongs to."""
        return self.lists.field_location(self._locate(index)[0])

    def get(self, index: int) -> Any:
        """Return what the response holds at this place."""
        list_index, item_index = self._locate(index)
        return self.lists.get(list_index)[item_index]

    def set(self, index: int, value: Any) -> None:
        """Put ``value`` into the response at this place."""
        list_index, item_index = self._locate(index)
        self.lists.get(list_index)[item_index] = value

    def path(self, index: int) -> ResponsePath:
        """Return the path of this place in the response."""
        list_index, item_index = self._locate(index)
        return ResponsePath(self.lists.path(list_index), item_index, None)

    def position(self, index: int) -> Position:
        """Return the position of this place in the response."""
        list_index, item_index = self._locate(index)
        return (*self.lists.position(list_index), item_index)


# -- errors -------------------------------------------------------------------------------------


class FieldErrors:
    """The errors of one operation, each with its place.

    ``reached_root`` says whether one of the errors makes the whole response null.
    """

    def __init__(self, on_error: Callable[[], object]) -> None:
        """``on_error`` is called for each error. It may raise to end the operation."""
        self._on_error = on_error
        self._errors: list[tuple[Column, int, Exception]] = []
        self.reached_root = False

    def add(self, column: Column, index: int, error: Exception) -> None:
        """Add the error of one value."""
        self._on_error()
        self._errors.append((column, index, error))
        if not self.reached_root:
            self.reached_root = _nearest_nullable(column, index) is None

    def apply(self) -> list[GraphQLError]:
        """Put null into the response where the errors demand it, and return the errors to report.

        The result lacks the errors below a place that an earlier error has made null. When
        ``reached_root`` is true, the caller has to make the whole response null.
        """
        errors: list[GraphQLError] = []
        nulled: set[Position] = set()
        positioned = [
            ((*column.position(index), _BEHIND_CHILDREN), column, index, error)
            for column, index, error in self._errors
        ]
        positioned.sort(key=lambda entry: entry[0])
        for position, column, index, error in positioned:
            if any(position[:length] in nulled for length in range(len(position))):
                continue
            path = column.path(index).as_list()
            errors.append(field_error(error, column.field.nodes, path))
            nullable = _nearest_nullable(column, index)
            if nullable is None:
                nulled.add(())
            else:
                null_column, null_index = nullable
                nulled.add(null_column.position(null_index))
                null_column.set(null_index, None)
        return errors

    def clear(self) -> None:
        """Forget all errors: their frames hold half of the response."""
        self._errors.clear()


def _nearest_nullable(column: Column, index: int) -> Location | None:
    """Return this place or its nearest nullable parent; None when all of them are non-null."""
    location: Location | None = (column, index)
    while location is not None and not location[0].output_type.is_nullable:
        location = location[0].parent(location[1])
    return location
