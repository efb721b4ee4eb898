"""What an operation may cost at most: statements and rows.

Here a list's fields do not cost a statement for each row: a loader fetches a level at once. What
grows is rows. So one point is a statement, or ``documents.rows_per_point`` (100) rows, as GitHub's
API counts; a mutation is ten, as Shopify's. The rows of a list are its page size times those of
the place it stands at, supposing that every page is full; a list without pages is supposed to have
the size that its edge declares. (Slicing argument, assumed size and weight are the words of
IBM's GraphQL Cost Directives.) Introspection costs nothing; other limits bound it.

100 users with 100 notes each, their authors and tags: 4 statements and 70,100 rows, 705 points.
The default limit of 1,000 points is so what a response may have in items at most
(``documents.max_items``): more could not be answered anyway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLField,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    get_named_type,
    is_composite_type,
)

from pcf.config import Documents
from pcf.documents.selection import Selected
from pcf.errors import LimitExceeded
from pcf.execution.edges import Edge
from pcf.execution.paging import SIZE_ARGUMENT

MUTATION = 10  # points of a root field that writes
MOST = 10**9  # rows; a page size beyond that is as good as that


class TooExpensive(LimitExceeded):
    """The operation may cost more than one operation is allowed to."""

    code = "COST_TOO_HIGH"

    def __init__(self, cost: int, allowed: int) -> None:
        super().__init__(
            "cost", allowed, f"The operation may cost {cost} points; {allowed} are allowed"
        )
        self.cost = cost

    @property
    def extensions(self) -> dict[str, Any]:
        """The code, the limit, and what the operation would cost."""
        return {**super().extensions, "cost": self.cost}


@dataclass(frozen=True, slots=True)
class Step:
    """A field that costs something: where it stands, its points, the rows for each of its parents.

    ``parent`` is the index of the step that it stands below, -1 at the root. ``size`` counts
    unless ``variable`` names one that has a usable value.
    """

    path: str
    parent: int
    points: int
    size: int
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation costs: ``points`` in all, of ``statements`` and ``rows``, and by field."""

    points: int
    statements: int
    rows: int
    fields: tuple[tuple[str, int, int], ...]  # path, points of its own, rows

    def report(self, allowed: int) -> dict[str, Any]:
        """As a client sees it."""
        return {
            "points": self.points,
            "allowed": allowed,
            "rows": self.rows,
            "fields": [
                {"path": path, "points": points, "rows": rows} for path, points, rows in self.fields
            ],
        }


class CostModel:
    """The steps of one operation, in an order in which parents come first. Immutable."""

    __slots__ = ("_constant", "_rows_per_point", "_steps")

    def __init__(self, steps: tuple[Step, ...], rows_per_point: int) -> None:
        self._steps = steps
        self._rows_per_point = rows_per_point
        varies = any(step.variable for step in steps)
        self._constant = None if varies else self._compute({})

    @property
    def is_constant(self) -> bool:
        """Whether the cost is the same whatever the variables."""
        return self._constant is not None

    def cost(self, variables: Mapping[str, Any]) -> Cost:
        """The cost with these values of the variables, as the client sent them."""
        return self._constant or self._compute(variables)

    def _compute(self, variables: Mapping[str, Any]) -> Cost:
        rows: list[int] = []
        for step in self._steps:
            given = variables.get(step.variable) if step.variable else None
            size = _clamp(given) if isinstance(given, int | float) else step.size
            rows.append(min(size * (rows[step.parent] if step.parent >= 0 else 1), MOST**2))
        own = sum(step.points for step in self._steps)
        total = sum(rows)
        return Cost(
            points=own + -(-total // self._rows_per_point),
            statements=len(self._steps),
            rows=total,
            fields=tuple(
                (step.path, step.points, count)
                for step, count in zip(self._steps, rows, strict=True)
            ),
        )


def check_cost(cost: Cost, limits: Documents) -> None:
    """Raise TooExpensive when ``cost`` is over the limit."""
    if cost.points > limits.max_cost:
        raise TooExpensive(cost.points, limits.max_cost)


def cost_model(
    roots: list[Selected], operation: OperationDefinitionNode, limits: Documents
) -> CostModel:
    """The model of ``operation``, whose root fields are ``roots``."""
    defaults = {
        node.variable.name.value: node.default_value.value
        for node in operation.variable_definitions or ()
        if isinstance(node.default_value, IntValueNode)
    }
    steps: list[Step] = []
    root_points = MUTATION if operation.operation is OperationType.MUTATION else 1
    waiting = [(-1, "", root_points, root) for root in reversed(roots)]
    while waiting:
        parent, prefix, points, selected = waiting.pop()
        if selected.is_introspection or selected.definition is None:
            continue
        path = prefix + selected.name
        if points or is_composite_type(get_named_type(selected.definition.type)):
            size, variable = _size(selected, selected.definition, defaults, limits)
            steps.append(Step(path, parent, points or 1, size, variable))
            below = len(steps) - 1
            waiting.extend(
                (below, f"{path}.", 0, child) for child in reversed(selected.children.values())
            )
    return CostModel(tuple(steps), limits.rows_per_point)


def _size(
    selected: Selected, definition: GraphQLField, defaults: Mapping[str, str], limits: Documents
) -> tuple[int, str | None]:
    """The rows of a field for each parent, and the variable that says so, if one does."""
    argument = definition.args.get(SIZE_ARGUMENT)
    if argument is None:
        edge = getattr(definition.resolve, "__self__", None)
        declared = edge.size if isinstance(edge, Edge) else None
        if not selected.is_list:
            return 1, None
        return declared or limits.assumed_list_size, None
    size = argument.default_value if type(argument.default_value) is int else MOST
    for node in selected.node.arguments:
        if node.name.value == SIZE_ARGUMENT and isinstance(node.value, VariableNode):
            name = node.value.name.value
            return (_digits(defaults[name]) if name in defaults else size), name
        if node.name.value == SIZE_ARGUMENT and isinstance(node.value, IntValueNode):
            return _digits(node.value.value), None
    return size, None


def _digits(text: str) -> int:
    """The number in a literal, which may have thousands of digits."""
    return _clamp(int(text)) if len(text) < len(str(MOST)) else MOST


def _clamp(size: float) -> int:
    return int(max(1, min(size, MOST)))  # Int takes 100.0 for 100 (specification section 3.5.1)
