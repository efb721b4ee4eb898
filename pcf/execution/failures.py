"""Errors of fields, and what is null because of them (spec section 6.4.4).

The plan's executor reads level by level and lets nothing stop it; graphql-core's reads from
beginning to end and leaves an object at the first error that makes it null. Both come to the same
once the errors are put into the order of the response and those are dropped that lie in something
which an earlier one made null: graphql-core would not have come to them.
"""

from graphql import GraphQLError
from graphql.error import located_error

from pcf.execution.columns import AFTER_ITS_PARTS, Column, Place

Order = tuple[float, ...]


class Failures:
    """The errors of one operation, with their places."""

    def __init__(self) -> None:
        self._failures: list[tuple[Column, int, Exception]] = []
        self.reached_root = False

    def add(self, column: Column, index: int, error: Exception) -> None:
        """The value at this place is an error."""
        self._failures.append((column, index, error))
        if not self.reached_root:
            self.reached_root = _null_place(column, index) is None

    def apply(self) -> list[GraphQLError]:
        """Put nulls into the response; returns the errors to report.

        When ``reached_root``, the response as a whole is null, which is for the caller to do.
        """
        errors: list[GraphQLError] = []
        nulled: set[Order] = set()
        placed = [
            ((*column.order(index), AFTER_ITS_PARTS), column, index, error)
            for column, index, error in self._failures
        ]
        placed.sort(key=lambda failure: failure[0])
        for order, column, index, error in placed:
            if any(order[:length] in nulled for length in range(len(order))):
                continue
            path = column.path(index).as_list()
            errors.append(located_error(error, column.field.nodes, path))
            place = _null_place(column, index)
            if place is None:
                nulled.add(())
            else:
                null_column, null_index = place
                nulled.add(null_column.order(null_index))
                null_column.fill(null_index, None)
        return errors

    def clear(self) -> None:
        """Forget everything: errors hold frames, and these hold half of the response."""
        self._failures.clear()


def _null_place(column: Column, index: int) -> Place | None:
    """The nearest nullable place at or around this one; None when there is none."""
    place: Place | None = (column, index)
    while place is not None and not place[0].shape.nullable:
        place = place[0].around(place[1])
    return place
