"""The plans of operations, remembered for as long as they are used."""

from collections.abc import Iterable, Mapping
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLObjectType,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    Visitor,
    visit,
)

from pcf import metrics
from pcf.execution.plan import Compiler, FieldPlan, variables_in
from pcf.execution.projection import loader_columns
from pcf.execution.recent import Recent
from pcf.execution.rows import Columns

MAX_OPERATIONS = 1_000  # remembered by a process
MAX_VARIANTS = 16  # plans of one operation, by the values of the variables in its directives


class Unplanned(Exception):
    """The operation cannot be compiled; ``reason`` says why in one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Plan:
    """An operation with fixed conditions: its root type and the fields to begin with.

    ``columns`` are what its loaders have to fetch, where that is less than everything.
    """

    __slots__ = ("columns", "fields", "root_type")

    def __init__(
        self,
        root_type: GraphQLObjectType,
        fields: tuple[FieldPlan, ...],
        columns: Mapping[str, Columns],
    ) -> None:
        self.root_type = root_type
        self.fields = fields
        self.columns = columns


class Operation:
    """The plans of one operation, one for each combination of its conditions that occurred."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        fragments: dict[str, FragmentDefinitionNode],
        operation: OperationDefinitionNode,
    ) -> None:
        self._schema = schema
        self._document = document  # kept, so that its identity stays its own
        self._fragments = fragments
        self._operation = operation
        self._conditions = _condition_variables([operation, *fragments.values()])
        self._plans: Recent[tuple[Any, ...], Plan] = Recent(MAX_VARIANTS)

    def plan(self, variables: dict[str, Any]) -> Plan:
        """The plan for coerced ``variables``.

        Raises Unplanned when a condition has no value (``$x: Boolean = true`` given null), which
        graphql-core reports at the field where it matters, and when there is no root type.
        """
        values = tuple(variables.get(name) for name in self._conditions)
        if not all(isinstance(value, bool) for value in values):
            raise Unplanned("condition")
        return self._plans.get(values, lambda: self._compile(values))

    def _compile(self, values: tuple[Any, ...]) -> Plan:
        metrics.plans_compiled.inc()
        root_type = self._schema.get_root_type(self._operation.operation)
        if root_type is None:
            raise Unplanned("root_type")
        conditions = dict(zip(self._conditions, values, strict=True))
        compiler = Compiler(self._schema, self._fragments, conditions)
        try:
            fields = compiler.root_fields(root_type, self._operation)
            return Plan(root_type, fields, loader_columns(self._schema, fields))
        except RecursionError:
            raise Unplanned("recursion") from None


def _condition_variables(definitions: Iterable[Node]) -> tuple[str, ...]:
    """The variables that ``@skip`` and ``@include`` go by."""
    names: dict[str, None] = {}

    class Conditions(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
            if node.name.value in ("skip", "include"):
                names.update(dict.fromkeys(variables_in(node.arguments)))

    for definition in definitions:
        visit(definition, Conditions())
    return tuple(names)


class Operations:
    """The operations a process has run lately, by schema, document (the object) and name.

    The entry holds schema and document, so an id in a key never means another object.
    """

    def __init__(self, size: int = MAX_OPERATIONS) -> None:
        self._operations: Recent[tuple[int, int, str | None], Operation] = Recent(size)

    def get(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        fragments: dict[str, FragmentDefinitionNode],
        operation: OperationDefinitionNode,
    ) -> Operation:
        """The operation, ready to be asked for a plan."""
        name = operation.name.value if operation.name else None
        return self._operations.get(
            (id(schema), id(document), name),
            lambda: Operation(schema, document, fragments, operation),
        )

    def __len__(self) -> int:
        return len(self._operations)
