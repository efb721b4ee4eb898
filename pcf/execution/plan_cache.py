"""The plan cache: compiled operations, and the columns that their loaders have to fetch."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from operator import attrgetter
from typing import Any
from weakref import ref

from graphql import (
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
from pcf.execution.loaders import find_loader
from pcf.execution.plan import (
    FieldPlan,
    PlanCompiler,
    Resolution,
    edge_of,
)
from pcf.execution.rows import Columns, primary_key_of, raw_columns, type_of_rows
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

    ``knows_last`` says that the edges which lead to no other edge are the last to read the
    database; a run finds that it is wrong when a resolver sends a statement.
    """

    def __init__(
        self, schema: GraphQLSchema, root_type: GraphQLObjectType, fields: tuple[FieldPlan, ...]
    ) -> None:
        self.root_type = root_type
        self.fields = fields
        self.knows_last = True
        self._schema = schema
        self._joins: dict[FieldPlan, Joins | None] = {}

    @cached_property
    def columns(self) -> Mapping[str, Columns]:
        """The columns that each loader has to fetch.

        A loader that is missing here has to return instances.
        """
        return loader_columns(self._schema, self.fields)

    def joins(self, field: FieldPlan) -> Joins | None:
        """Return the edges below ``field`` whose rows its statement can fetch; None without any."""
        if field not in self._joins:
            self._joins[field] = joins_below(field, self.columns)
        return self._joins[field]

    @cached_property
    def has_batches(self) -> bool:
        """Whether a level of a response can hold several objects or load an edge."""
        try:
            return any(
                field.edge is not None or field.output_type.kind is TypeKind.LIST
                for field in _all_fields(self.fields)
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
        self._fragments = context.fragments
        self._operation = context.operation
        self._conditions = _condition_variables([context.operation, *context.fragments.values()])
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
            return Plan(self._schema, root_type, compiler.root_fields(root_type, self._operation))
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


# -- columns of loaders -------------------------------------------------------------------------


def loader_columns(schema: GraphQLSchema, fields: Iterable[FieldPlan]) -> Mapping[str, Columns]:
    """Return the columns that each loader has to fetch for ``fields`` and all fields below them.

    The result lacks the loaders that have to return instances.
    """
    needed: dict[str, set[str] | None] = {}
    for field in _all_fields(fields):
        for loader in field.edge.loaders if field.edge is not None else ():
            _add_columns(needed, loader, _columns_behind(schema, field, loader))
    return {name: tuple(sorted(columns)) for name, columns in needed.items() if columns is not None}


def _all_fields(fields: Iterable[FieldPlan]) -> Iterator[FieldPlan]:
    """Yield ``fields`` and all fields below them, for each object type that is possible."""
    remaining = list(fields)
    while remaining:
        field = remaining.pop()
        yield field
        output_type = field.output_type.innermost
        if output_type.kind is not TypeKind.LEAF:
            remaining += field.selections.of_any(output_type.type)


def _add_columns(needed: dict[str, set[str] | None], loader: str, columns: set[str] | None) -> None:
    """Add the columns of one edge. One edge that needs instances decides for the whole loader."""
    known = needed.get(loader, set())
    needed[loader] = None if known is None or columns is None else known | columns


def _columns_behind(schema: GraphQLSchema, field: FieldPlan, loader: str) -> set[str] | None:
    """Return the columns that an edge needs of its loader; None when it needs instances."""
    model = find_loader(loader).model
    if model is None:
        return None
    primary_key = primary_key_of(model)
    columns = {primary_key}
    for row_field in _row_fields(field):
        object_type = type_of_rows(schema, row_field.output_type.innermost.type, model)
        if object_type is None:
            return None
        for selected in row_field.selections.of(object_type):
            attributes = _attributes_read_by(selected)
            if attributes is None:
                return None
            columns.update(primary_key if name == "pk" else name for name in attributes)
    return columns if columns <= raw_columns(model) else None


def _row_fields(field: FieldPlan) -> Iterator[FieldPlan]:
    """Yield the fields at and below an edge whose values are the rows of its loader."""
    for path in field.edge.row_paths if field.edge is not None else ():
        found = [field]
        for name in path:
            found = [
                below
                for each in found
                for below in each.selections.of(each.output_type.innermost.type)
                if below.nodes[0].name.value == name
            ]
        yield from found


def _attributes_read_by(field: FieldPlan) -> Iterable[str] | None:
    """Return the attributes of its parent that a field reads; None when they are unknown."""
    match field.resolution:
        case Resolution.TYPENAME:
            return ()
        case Resolution.ATTRIBUTE:
            return (field.attribute,)
        case Resolution.NODE_ID:
            return ("pk",)
        case Resolution.EDGE:
            return field.edge.columns if field.edge is not None else None
        case Resolution.RESOLVER:
            declared: Columns | None = getattr(field.resolve, "columns", None)
            return declared
