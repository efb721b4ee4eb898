"""Where values belong: the levels of a response, in columns.

A ``Batch`` is the objects of one type that one selection is executed on, side by side. A
``FieldColumn`` holds the values of one field of a batch, an ``ItemColumn`` the items of all the
lists in a column. Columns do not hold the values themselves (the executor passes them along), they
know where each of them is to go, and only when asked: paths are made for errors and resolvers.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Union

from graphql import GraphQLObjectType
from graphql.pyutils import Path

from pcf.execution.plan import FieldPlan, Shape

Column = Union["FieldColumn", "ItemColumn"]
Place = tuple[Column, int]  # a column and which of its values

AFTER_ITS_PARTS = float("inf")


class Batch:
    """Objects of one type: their values, their results, and the column they are the values of.

    The root has no column: nothing is around it.
    """

    __slots__ = ("_paths", "column", "fields", "object_type", "results", "values")

    def __init__(
        self,
        column: Column | None,
        object_type: GraphQLObjectType,
        fields: tuple[FieldPlan, ...],
        values: Sequence[Any],
        results: list[dict[str, Any]],
    ) -> None:
        self.column = column
        self.object_type = object_type
        self.fields = fields
        self.values = values
        self.results = results
        self._paths: dict[int, Path] = {}

    def path(self, index: int) -> Path | None:
        """The path of an object; None for the root."""
        if self.column is None:
            return None
        path = self._paths.get(index)
        if path is None:
            path = self._paths[index] = self.column.path(index)
        return path

    def order(self, index: int) -> tuple[float, ...]:
        """The position in the response when it is read from beginning to end."""
        return () if self.column is None else self.column.order(index)


class FieldColumn:
    """The values of one field for some objects of a batch: those at ``members``."""

    __slots__ = ("batch", "field", "members", "shape")

    def __init__(self, batch: Batch, field: FieldPlan, members: Sequence[int]) -> None:
        self.batch = batch
        self.field = field
        self.members = members
        self.shape: Shape = field.shape

    def part(self, positions: Sequence[int]) -> "FieldColumn":
        """The column of only these values."""
        members = self.members
        return FieldColumn(self.batch, self.field, [members[position] for position in positions])

    def around(self, index: int) -> Place | None:
        """The place that is null if this one should be and cannot; None: the whole response."""
        column = self.batch.column
        return None if column is None else (column, self.members[index])

    def owner(self, index: int) -> tuple["FieldColumn", int]:
        """The field that the value belongs to: this one."""
        return self, index

    def content(self, index: int) -> Any:
        """What is in the response at this place."""
        return self.batch.results[self.members[index]][self.field.name]

    def fill(self, index: int, value: Any) -> None:
        """Put ``value`` into the response."""
        self.batch.results[self.members[index]][self.field.name] = value

    def path(self, index: int) -> Path:
        """The path of this place in the response."""
        around = self.batch.path(self.members[index])
        return Path(around, self.field.name, self.field.parent_type.name)

    def order(self, index: int) -> tuple[float, ...]:
        """As Batch.order."""
        return (*self.batch.order(self.members[index]), self.field.index)


class ItemColumn:
    """The items of the lists in another column: list ``n`` begins at ``starts[n]``."""

    __slots__ = ("field", "lists", "members", "shape", "starts")

    def __init__(self, lists: Column, starts: Sequence[int], members: Sequence[int]) -> None:
        assert lists.shape.item is not None  # noqa: S101 - only lists have items
        self.lists = lists
        self.starts = starts
        self.members = members
        self.field: FieldPlan = lists.field
        self.shape: Shape = lists.shape.item

    def part(self, positions: Sequence[int]) -> "ItemColumn":
        """The column of only these items."""
        members = self.members
        return ItemColumn(self.lists, self.starts, [members[position] for position in positions])

    def _locate(self, index: int) -> tuple[int, int]:
        """Which list, and where in it; an empty list begins where the one after it does."""
        member = self.members[index]
        which = bisect_right(self.starts, member) - 1
        return which, member - self.starts[which]

    def around(self, index: int) -> Place | None:
        """The list of this item."""
        return self.lists, self._locate(index)[0]

    def owner(self, index: int) -> tuple[FieldColumn, int]:
        """The field that the item belongs to."""
        return self.lists.owner(self._locate(index)[0])

    def content(self, index: int) -> Any:
        """As FieldColumn.content."""
        which, position = self._locate(index)
        return self.lists.content(which)[position]

    def fill(self, index: int, value: Any) -> None:
        """As FieldColumn.fill."""
        which, position = self._locate(index)
        self.lists.content(which)[position] = value

    def path(self, index: int) -> Path:
        """As FieldColumn.path."""
        which, position = self._locate(index)
        return Path(self.lists.path(which), position, None)

    def order(self, index: int) -> tuple[float, ...]:
        """As Batch.order."""
        which, position = self._locate(index)
        return (*self.lists.order(which), position)
