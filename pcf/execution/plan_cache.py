"""The plan cache: compiled operations, and the columns that their loaders have to fetch."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from operator import attrgetter
from typing import Any
from weakref import ref

from graphql import (
    BooleanValueNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
)

from pcf._compat.graphql import ExecutionContext, estimated_bytes
from pcf.execution.joins import Joins, joins_below
from pcf.execution.loader_columns import all_fields, loader_columns
from pcf.execution.loaders import find_loader
from pcf.execution.plan import (
    FieldPlan,
    PlanCompiler,
    edge_of,
)
from pcf.execution.rows import Columns
from pcf.execution.schema import TypeKind
from pcf.lru import LRUCache
from pcf.observability import metrics

MAX_BYTES = 20 * 2**20  # of the operations of a process, by estimate
MAX_KNOWN = 10_000  # operations of a process that have occurred
MAX_SCHEMAS = 100
MAX_PLANS = 16  # plans of one operation, by the values of the variables in its directives

_BYTES_OF_ENTRY = 500
_BYTES_OF_FIELD = 1_500  # a compiled field, measured with Python 3.11


class NotPlannable(Exception):
    """The compiler cannot compile the operation; ``reason`` is the label of the metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Plan:
    """An operation whose directives have fixed values: its root type and its root fields.

    ``operation`` and ``fragments`` are the nodes of the document that the plan comes from.
    ``knows_last`` says that the edges which lead to no other edge are the last to read the
    database; a run finds that it is wrong when a resolver sends a statement.
    """

    def __init__(
        self, schema: GraphQLSchema, root_type: GraphQLObjectType, fields: tuple[FieldPlan, ...],
        operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode],
    ) -> None:  # fmt: skip
        self.root_type = root_type
        self.fields = fields
        self.operation = operation
        self.fragments = fragments
        self.knows_last = True
        self.schema = schema
        self._joins: dict[FieldPlan, Joins | None] = {}

    @cached_property
    def columns(self) -> Mapping[str, Columns]:
        """The columns that each loader has to fetch.

        A loader that is missing here has to return instances.
        """
        return loader_columns(self.schema, self.fields)

    def joins(self, field: FieldPlan) -> Joins | None:
        """Return the edges below ``field`` whose rows its statement can fetch; None without any."""
        if field not in self._joins:
            self._joins[field] = joins_below(field, self.columns)
        return self._joins[field]

    @cached_property
    def waits_for_database_only(self) -> bool:
        """Whether no code of the project that may wait for anything but PostgreSQL is in a run."""
        try:
            return all(map(self._waits_for_database_only, all_fields(self.fields)))
        except (GraphQLError, RecursionError):
            return False

    def _waits_for_database_only(self, field: FieldPlan) -> bool:
        if field.is_opaque or (field.is_leaf and not field.output_type.innermost.is_standard):
            return False
        for name in field.edge.loaders if field.edge is not None else ():
            loader = find_loader(name)
            if loader.model is not None and name not in self.columns:
                return False  # to make an instance, Django may run code of the model
            waits_for_database_only = loader.waits_for_database_only
            if waits_for_database_only is None:
                waits_for_database_only = loader.load_batch.__module__.startswith("pcf.")
            if not waits_for_database_only:
                return False
        return True

    @cached_property
    def has_batches(self) -> bool:
        """Whether a level of a response can hold several objects or load an edge."""
        try:
            return any(
                field.edge is not None or field.output_type.kind is TypeKind.LIST
                for field in all_fields(self.fields)
            )
        except (GraphQLError, RecursionError):  # the promise executor reports it at its field
            return False


class _FieldCounter:
    """The number of compiled fields of an operation.

    The plans refer to the counter and not to the operation. So no cycle keeps an operation, with
    its document, until the garbage collector runs.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add(self, count: int) -> None:
        """Add the fields of a selection."""
        self.count += count


class CompiledOperation:
    """The plans of one operation, one for each combination of the values in its directives."""

    def __init__(self, context: ExecutionContext, document: DocumentNode) -> None:
        self._schema = context.schema
        self._document = document
        self._fragments = dict(context.fragments)  # resolvers of the context see its own
        self._operation = context.operation
        self._conditions = _condition_variables([context.operation, *context.fragments.values()])
        self._defaults = {
            declared.variable.name.value: declared.default_value.value
            for declared in context.operation.variable_definitions
            if isinstance(declared.default_value, BooleanValueNode)
        }
        self._plans: LRUCache[tuple[Any, ...], Plan] = LRUCache(MAX_PLANS)
        self._document_bytes = _BYTES_OF_ENTRY + estimated_bytes(document)
        self._equal = ref(document)  # the document that was compared last, and found equal
        self._counter = _FieldCounter()

    @property
    def field_count(self) -> int:
        """The number of fields that were compiled so far, in all plans."""
        return self._counter.count

    @property
    def has_conditions(self) -> bool:
        """Whether the plan depends on variables."""
        return bool(self._conditions)

    @property
    def bytes(self) -> int:
        """The memory that the document and its plans take, by estimate."""
        return self._document_bytes + _BYTES_OF_FIELD * self.field_count

    def is_of(self, schema: GraphQLSchema, document: DocumentNode) -> bool:
        """Return whether the operation is one of ``document``, or of an equal one.

        A document that was changed after parsing still has the locations of its text.
        """
        if schema is not self._schema:
            return False
        own = self._document
        if own is document or self._equal() is document:
            return True
        try:
            is_equal = _source_of(own) == _source_of(document) and own == document
        except RecursionError:
            return False
        if is_equal:
            self._equal = ref(document)
        return is_equal

    def plan(self, variables: dict[str, Any]) -> Plan:
        """Return the plan for coerced ``variables``.

        Raises NotPlannable when the schema has no root type, and when the argument of a directive
        has no value (``$x: Boolean = true`` with null): graphql-core reports that at the field.
        """
        values = tuple(variables.get(name) for name in self._conditions)
        plan = self._plans.get(values)
        if plan is None:
            plan = self._compile(values)
            self._plans.set(values, plan)
        return plan

    def known_plan(self, variables: Mapping[str, Any]) -> Plan | None:
        """Return the plan for ``variables`` as a client gives them, if it is compiled."""
        values = tuple([variables.get(name, self._defaults.get(name)) for name in self._conditions])
        if not all(isinstance(value, bool) for value in values):
            return None  # a run refuses such a value, and it may have no hash
        return self._plans.get(values)

    def _compile(self, values: tuple[Any, ...]) -> Plan:
        if not all(isinstance(value, bool) for value in values):
            raise NotPlannable("condition")
        metrics.plans_compiled.inc()
        root_type = self._schema.get_root_type(self._operation.operation)
        if root_type is None:
            raise NotPlannable("root_type")
        conditions = dict(zip(self._conditions, values, strict=True))
        compiler = PlanCompiler(self._schema, self._fragments, conditions, self._counter.add)
        reason = "recursion"
        try:
            fields = compiler.root_fields(root_type, self._operation)
            return Plan(self._schema, root_type, fields, self._operation, self._fragments)
        except RecursionError:
            pass
        except GraphQLError:  # the document is not valid
            reason = "condition"
        raise NotPlannable(reason)  # outside of the block: without the frames of the recursion


def _source_of(document: DocumentNode) -> tuple[Any, ...]:
    if document.loc is None:
        return ()
    source = document.loc.source
    return source.body, source.name, source.location_offset


def _condition_variables(
    definitions: Iterable[OperationDefinitionNode | FragmentDefinitionNode],
) -> tuple[str, ...]:
    """Return the names of the variables in the directives ``@skip`` and ``@include``."""
    names: dict[str, None] = {}
    remaining: list[SelectionSetNode] = [definition.selection_set for definition in definitions]
    while remaining:
        for selection in remaining.pop().selections:
            if selection.directives:
                names.update(dict.fromkeys(_conditions_of(selection)))
            below: SelectionSetNode | None = getattr(selection, "selection_set", None)
            if below is not None:
                remaining.append(below)
    return tuple(names)


def _conditions_of(selection: SelectionNode) -> Iterable[str]:
    for directive in selection.directives:
        if directive.name.value in ("skip", "include"):
            for argument in directive.arguments:
                if isinstance(argument.value, VariableNode):
                    yield argument.value.name.value


class PlanCache:
    """The operations that a process has compiled, by schema, text and operation name.

    The cache compiles an operation when the operation recurs, or when it begins with an edge. An
    operation without lists and edges needs no plan: none of its levels has more than one object, so
    the promise executor is as fast. An ``eager`` cache compiles every operation at once.

    The compiled operations take ``max_bytes`` at most, by estimate. All threads may use one cache.
    A document that is parsed again finds the plan of its text. A document without locations has no
    text; its hash takes the place of the text.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, *, eager: bool = False) -> None:
        self._eager = eager
        # Hashes of keys, each with whether the operation needs a plan. Two operations with one hash
        # can only have a plan too early, or none.
        self._known: LRUCache[int, bool] = LRUCache(MAX_KNOWN)
        self._root_edges: LRUCache[int, frozenset[str]] = LRUCache(MAX_SCHEMAS)  # by the id
        self._operations: LRUCache[_Key, CompiledOperation] = LRUCache(
            max_bytes, attrgetter("bytes")
        )

    def plan(self, context: ExecutionContext, document: DocumentNode) -> Plan | None:
        """Return the plan of the operation of ``context``, new or from the cache.

        Returns None when the promise executor is to run the operation. Raises NotPlannable.
        """
        name = context.operation.name
        key = id(context.schema), _text_of(document), None if name is None else name.value
        digest = hash(key)
        needs_plan = self._known.get(digest)
        if needs_plan is None:
            self._known.set(digest, True)
            needs_plan = self._eager or self._begins_with_edge(context)
        if not needs_plan:
            return None
        operation = self._operations.get(key)
        if operation is None or not operation.is_of(context.schema, document):
            operation = CompiledOperation(context, document)
        known = operation.field_count
        plan = operation.plan(context.variable_values)
        needs_plan = self._eager or plan.has_batches
        if not needs_plan and not operation.has_conditions:
            self._known.set(digest, False)
        elif operation.field_count != known:
            self._operations.set(key, operation)
        return plan if needs_plan else None

    def known_plan(
        self, schema: GraphQLSchema, document: DocumentNode, name: str | None,
        variables: Mapping[str, Any],
    ) -> Plan | None:  # fmt: skip
        """Return the plan that the cache has for an operation, compiled for its own schema.

        Returns None where a run would compile one, or use none.
        """
        try:
            operation = self._operations.get((id(schema), _text_of(document), name))
        except NotPlannable:
            return None
        if operation is None or not operation.is_of(schema, document):
            return None
        return operation.known_plan(variables)

    def _begins_with_edge(self, context: ExecutionContext) -> bool:
        """Return whether a root field of the operation is an edge."""
        edges = self._root_edges.get(id(context.schema))
        if edges is None:
            edges = _root_edges(context.schema)
            self._root_edges.set(id(context.schema), edges)
        if not edges or context.operation.operation is not OperationType.QUERY:
            return False
        return any(
            isinstance(selection, FieldNode) and selection.name.value in edges
            for selection in context.operation.selection_set.selections
        )

    def __len__(self) -> int:
        return len(self._operations)


_Key = tuple[int, str | int, str | None]


def _text_of(document: DocumentNode) -> str | int:
    if document.loc is not None:
        return document.loc.source.body
    try:
        return hash(document)
    except RecursionError:
        pass
    raise NotPlannable("recursion")  # outside of the block: without the frames of the recursion


def _root_edges(schema: GraphQLSchema) -> frozenset[str]:
    """Return the names of the root fields of queries that are edges."""
    fields = schema.query_type.fields if schema.query_type is not None else {}
    return frozenset(name for name, field in fields.items() if edge_of(field.resolve) is not None)
