"""The cost of an operation: an upper bound of its statements and rows, in points.

One point is a statement, or ``documents.rows_per_point`` (100) rows. A root field that writes costs
ten points, or what its mutation declares. GitHub's API counts nodes, and Shopify's counts
mutations, in the same way.

Names in a response have the length that the client chooses. So ``documents.bytes_per_point``
(10,000) bytes of names cost a point, too: the rows or the bytes count, whichever are more. The
limits of 1,000 points and of 10,000,000 bytes of a response are the same number of bytes. Values in
lists and objects of arguments cost as rows do, and variables by their values and their bytes.

A connection costs a statement, the rows of its page, and a point for each condition of its filter.
A count and facets cost ten points: PostgreSQL reads all rows of the list for them.

A field of a list does not cost a statement for each row, since a loader fetches a level at once. So
statements grow with the document, and rows grow with the page sizes. The rows of a list are its
page size, or the number of ids in its argument, times the rows of the field around it. The model
assumes that every page is full, and that a list without pages has the size that its edge declares.
A value of an interface or a union counts as a value of each type that the operation names. (IBM's
GraphQL Cost Directives call these the slicing argument, the assumed size and the weight.)
Introspection costs nothing but the bytes of its names; other limits bound it.

Example: 100 users with 100 notes each, and the authors and tags of the notes, are 4 statements and
70,100 rows: 705 points. The default limit of 1,000 points and the limit of items in a response
(``documents.max_items``) are the same number of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from graphql import (
    GraphQLField,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    ValueNode,
    VariableNode,
    get_named_type,
    is_composite_type,
)

from pcf.conf.sections import DocumentSettings
from pcf.documents.selection import SelectedField
from pcf.errors import LimitExceeded
from pcf.execution.arguments import has_variable
from pcf.execution.edges import Edge
from pcf.execution.paging import SIZE_ARGUMENT
from pcf.execution.response_size import object_bytes
from pcf.pagination.fields import FILTER_ARGUMENT, LAST_ARGUMENT, ConnectionField
from pcf.pagination.filters import condition_count

MUTATION_POINTS = 10  # of a root field that writes
MAX_ROWS = 10**9  # the model counts a larger page size as this one
SCHEMA_TYPES = 50  # the assumed size of the list of all types in an introspection
SCHEMA_ITEMS = 4  # the assumed size of any other list in an introspection


class TooExpensive(LimitExceeded):
    """The operation costs more than the limit allows."""

    code = "COST_TOO_HIGH"

    def __init__(self, cost: int, allowed: int) -> None:
        super().__init__(
            "cost", allowed, f"The operation may cost {cost} points; {allowed} are allowed"
        )
        self.cost = cost

    @property
    def extensions(self) -> dict[str, Any]:
        """Return the code, the limit, and the cost of the operation."""
        return {**super().extensions, "cost": self.cost}


@dataclass(frozen=True, slots=True)
class CostStep:
    """A field with a cost: its path in the response, its points, and its rows for each parent.

    ``parent`` is the index of the step around this one, -1 for the root. ``size`` is the number
    of rows for each parent, unless the variable called ``variable`` has a usable value: a number,
    or a list for a step that ``counts_items``.

    ``names`` is the least bytes of a row in the response. ``inputs`` is the number of values in
    lists and objects of the arguments of the row's fields. ``filters`` are the filters of a
    connection. A step that ``is_free`` costs neither a statement nor rows: the root, introspection,
    and the parts of a connection that hold its rows.
    """

    path: str
    parent: int
    points: int
    size: int
    variable: str | None = None
    counts_items: bool = False
    statements: int = 1
    names: int = 0
    inputs: int = 0
    is_free: bool = False
    filters: tuple["ValueNode", ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of an operation with known variables.

    ``fields`` holds a path, its points without rows, and its rows, for each field with a cost.
    ``bytes`` is the least bytes of the response if every list is full.
    """

    points: int
    statements: int
    rows: int
    fields: tuple[tuple[str, int, int], ...]
    bytes: int = 0

    def points_beyond(self, size: int, limits: DocumentSettings) -> int:
        """Return the points that a response of ``size`` bytes costs beyond these points."""
        return max(0, size // limits.bytes_per_point - self.points)

    def with_variables(self, values: int, size: int, limits: DocumentSettings) -> "Cost":
        """Return the cost with variables of ``values`` values and ``size`` bytes of JSON."""
        more = max(values // limits.rows_per_point, size // limits.bytes_per_point)
        return replace(self, points=self.points + more) if more else self

    def report(self, allowed: int) -> dict[str, Any]:
        """Return the cost as the response extension ``cost`` shows it."""
        return {
            "points": self.points,
            "allowed": allowed,
            "rows": self.rows,
            "fields": [
                {"path": path, "points": points, "rows": rows} for path, points, rows in self.fields
            ],
        }


class CostModel:
    """The cost of one operation as a function of its variables. Immutable.

    ``steps`` holds parents before their children.
    """

    __slots__ = ("_constant", "_limits", "_steps")

    def __init__(self, steps: tuple[CostStep, ...], limits: DocumentSettings) -> None:
        self._steps = steps
        self._limits = limits
        varies = any(step.variable or any(map(has_variable, step.filters)) for step in steps)
        self._constant = None if varies else self._compute({})

    @property
    def is_constant(self) -> bool:
        """Whether the variables have no influence on the cost."""
        return self._constant is not None

    def cost(self, variables: Mapping[str, Any]) -> Cost:
        """Return the cost with these values of the variables, as the client sent them."""
        return self._constant or self._compute(variables)

    def _compute(self, variables: Mapping[str, Any]) -> Cost:
        rows: list[int] = []
        for step in self._steps:
            given = variables.get(step.variable) if step.variable else None
            if step.counts_items:
                given = len(given) if isinstance(given, list) else None
            size = _clamp(given) if isinstance(given, int | float) else step.size
            rows.append(min(size * (rows[step.parent] if step.parent >= 0 else 1), MAX_ROWS**2))
        counted = list(zip(self._steps, rows, strict=True))
        total_bytes = sum(step.names * count for step, count in counted)
        inputs = sum(step.inputs * count for step, count in counted)
        fetched = [(step, count) for step, count in counted if not step.is_free]
        total = sum(count for _, count in fetched)
        per_row, per_byte = self._limits.rows_per_point, self._limits.bytes_per_point
        points = sum(step.points for step, _ in fetched) + inputs // per_row
        filters = [node for step in self._steps for node in step.filters]
        points += sum(condition_count(node, variables) for node in filters)
        return Cost(
            points=points + max(-(-total // per_row), total_bytes // per_byte),
            statements=sum(step.statements for step, _ in fetched),
            rows=total,
            fields=tuple((step.path, step.points, count) for step, count in fetched),
            bytes=total_bytes,
        )


def check_cost(cost: Cost, limits: DocumentSettings) -> None:
    """Raise TooExpensive when ``cost`` exceeds the limit."""
    if cost.points > limits.max_cost:
        raise TooExpensive(cost.points, limits.max_cost)


def cost_model(
    roots: list[SelectedField], operation: OperationDefinitionNode, limits: DocumentSettings
) -> CostModel:
    """Return the cost model of ``operation``, whose root fields are ``roots``."""
    defaults = {
        node.variable.name.value: node.default_value.value
        for node in operation.variable_definitions or ()
        if isinstance(node.default_value, IntValueNode)
    }
    root_points = MUTATION_POINTS if operation.operation is OperationType.MUTATION else 1
    steps = [_free_step("", -1, 1, roots)]
    remaining = [_Remaining(0, "", root_points, root) for root in reversed(roots)]
    while remaining:
        field = remaining.pop()
        step = _step(field, defaults, limits)
        if step is None:
            continue
        steps.append(step)
        index = len(steps) - 1
        remaining += reversed(field.below(index, step, defaults))
    return CostModel(tuple(steps), limits)


class _Remaining(NamedTuple):
    """A field whose cost is not known yet.

    ``parent`` is the index of the step around the field, ``prefix`` the path of that step with a
    dot. ``page`` is the page size of the connection around the field, and the variable that sets
    it. The field is in an edge of the connection when ``is_in_edge``.
    """

    parent: int
    prefix: str
    points: int
    selected: SelectedField
    is_free: bool = False
    page: tuple[int, str | None] | None = None
    is_in_edge: bool = False

    @property
    def edge(self) -> Edge | None:
        """The edge that resolves the field, if one does."""
        definition = self.selected.definition
        return _edge_of(definition) if definition is not None else None

    def below(self, index: int, step: CostStep, defaults: Mapping[str, str]) -> "list[_Remaining]":
        """Return the fields below, of the step with this index."""
        is_free = self.is_free or self.selected.is_introspection
        is_in_edge = self.page is not None and self.selected.node.name.value == "edges"
        page = self.page if is_in_edge else None
        if isinstance(self.edge, ConnectionField):
            page = _page_size(self.selected, self.edge, defaults)
        return [
            _Remaining(index, f"{step.path}.", 0, child, is_free, page, is_in_edge)
            for child in self.selected.children.values()
        ]


def _step(
    field: _Remaining, defaults: Mapping[str, str], limits: DocumentSettings
) -> CostStep | None:
    """Return the step of a field; None for a field that costs nothing but the bytes of its name."""
    selected, edge = field.selected, field.edge
    if selected.definition is None:
        return None
    is_free = field.is_free or selected.is_introspection
    is_composite = is_composite_type(get_named_type(selected.definition.type))
    if not is_composite and (is_free or not (field.points or edge)):
        return None
    path, children = field.prefix + selected.name, list(selected.children.values())
    if is_free:
        return _free_step(path, field.parent, _schema_size(selected), children)
    names, inputs = _row_bytes(children), _input_count(children)
    if edge is None and field.page is not None:
        # a part of a connection; its rows are ``nodes``, and ``node`` in an edge
        size, variable = field.page if selected.is_list else (1, None)
        is_row = field.is_in_edge or selected.node.name.value == "nodes"
        return CostStep(
            path, field.parent, 0, size, variable,
            statements=0, names=names, inputs=inputs, is_free=not is_row,
        )  # fmt: skip
    size, variable = _size(selected, selected.definition, defaults, limits)
    filters: tuple[ValueNode, ...] = ()
    if isinstance(edge, ConnectionField):
        given = selected.node.arguments
        filters = tuple(each.value for each in given if each.name.value == FILTER_ARGUMENT)
        size, variable = 1, None
    declared = getattr(selected.definition.resolve, "points", 0)
    statements, points = (1, declared) if edge is None else (edge.statements, edge.points)
    return CostStep(
        path, field.parent, max(field.points, statements, points), size, variable,
        counts_items=_counts_items(edge), statements=statements, names=names, inputs=inputs,
        filters=filters,
    )  # fmt: skip


def _page_size(
    selected: SelectedField, edge: ConnectionField, defaults: Mapping[str, str]
) -> tuple[int, str | None]:
    """Return the rows of a page of a connection, and the variable that sets them, if any."""
    for name in (SIZE_ARGUMENT, LAST_ARGUMENT):
        for node in selected.node.arguments:
            if node.name.value != name:
                continue
            if isinstance(node.value, VariableNode):
                variable = node.value.name.value
                given = defaults.get(variable)
                return edge.default_first if given is None else _digits(given), variable
            if isinstance(node.value, IntValueNode):
                return _digits(node.value.value), None
    return edge.default_first, None


def _free_step(path: str, parent: int, size: int, fields: list[SelectedField]) -> CostStep:
    """Return a step of objects that cost no statement and no rows."""
    names, inputs = _row_bytes(fields), _input_count(fields)
    return CostStep(path, parent, 0, size, names=names, inputs=inputs, is_free=True)


def _schema_size(selected: SelectedField) -> int:
    """Return the assumed size of a field of an introspection."""
    if not selected.is_list:
        return 1
    return SCHEMA_TYPES if selected.node.name.value == "types" else SCHEMA_ITEMS


def _row_bytes(fields: list[SelectedField]) -> int:
    return object_bytes([field.name for field in fields]) if fields else 0


def _input_count(fields: list[SelectedField]) -> int:
    """Return the number of values in lists and objects of the arguments of ``fields``."""
    count = 0
    remaining: list[ValueNode] = [
        argument.value for field in fields for argument in field.node.arguments
    ]
    while remaining:
        node = remaining.pop()
        if isinstance(node, ListValueNode):
            count += len(node.values)
            remaining += node.values
        elif isinstance(node, ObjectValueNode):
            count += len(node.fields)
            remaining += [field.value for field in node.fields]
    return count


def _size(
    selected: SelectedField,
    definition: GraphQLField,
    defaults: Mapping[str, str],
    limits: DocumentSettings,
) -> tuple[int, str | None]:
    """Return the rows of a field for each parent, and the variable that sets them, if any."""
    edge = _edge_of(definition)
    name = edge.size_argument if edge is not None else SIZE_ARGUMENT
    argument = definition.args.get(name)
    declared = (edge.size if edge is not None else None) or limits.assumed_list_size
    if argument is None:
        return (declared if selected.is_list else 1), None
    value = next((node.value for node in selected.node.arguments if node.name.value == name), None)
    variable = value.name.value if isinstance(value, VariableNode) else None
    if _counts_items(edge):
        if value is None or variable is not None:
            return declared, variable
        return (_clamp(len(value.values)) if isinstance(value, ListValueNode) else 1), None
    if variable is not None and variable in defaults:
        return _digits(defaults[variable]), variable
    if isinstance(value, IntValueNode):
        return _digits(value.value), None
    size = argument.default_value if type(argument.default_value) is int else MAX_ROWS
    return size, variable


def _counts_items(edge: Edge | None) -> bool:
    """Return whether the rows of an edge are as many as the items of an argument."""
    return edge is not None and edge.size_argument != SIZE_ARGUMENT


def _edge_of(definition: GraphQLField) -> Edge | None:
    edge = getattr(definition.resolve, "__self__", None)
    return edge if isinstance(edge, Edge) else None


def _digits(text: str) -> int:
    """Return the number in a literal, which may have thousands of digits."""
    return _clamp(int(text)) if len(text) < len(str(MAX_ROWS)) else MAX_ROWS


def _clamp(size: float) -> int:
    return int(max(1, min(size, MAX_ROWS)))  # Int accepts 100.0 (specification section 3.5.1)
