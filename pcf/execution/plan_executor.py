"""The plan executor: runs a plan breadth first, one level of the response after the other.

The unit of work is one field of a batch. The executor reads the values of all objects of the batch
together, completes them together, and puts them into the results together. Objects among the values
are the batches of the next level. Values that are promises wait as one column, and continue as one
when the last of the promises is settled.

An error of a field does not end the run. The executor keeps each error with its place. At the end
``FieldErrors`` makes null what the specification demands, and drops the errors that graphql-core
would not have reached. So the executor resolves all fields of an object, even when one of them
makes the object null.
"""

from collections.abc import Callable, Sequence
from typing import Any

from graphql import (
    GraphQLError,
    MiddlewareManager,
    OperationType,
    default_field_resolver,
    get_argument_values,
)

from pcf._compat.graphql import ExecutionContext
from pcf.execution.arguments import from_sources
from pcf.execution.columns import Batch, FieldColumn, FieldErrors
from pcf.execution.completion import VALUES_BETWEEN_CHECKS, Completer
from pcf.execution.joins import join
from pcf.execution.levels import Levels, RunsCode
from pcf.execution.loaders import Values
from pcf.execution.nodes import node_ids
from pcf.execution.pending_columns import PendingColumns, PendingLevel
from pcf.execution.plan import FieldPlan, Resolution
from pcf.execution.plan_cache import Plan
from pcf.execution.promises import free_frames
from pcf.execution.response_size import ResponseSize
from pcf.execution.rows import BUILT_IN, REQUIRED, read_attribute, read_property
from pcf.timeouts import DeadlineExceeded


class PlanExecutor:
    """One run of a plan. ``context`` holds what graphql-core knows of the operation."""

    def __init__(
        self,
        plan: Plan,
        context: ExecutionContext,
        check: Callable[[], object] | None,
        size: ResponseSize,
    ) -> None:
        self._plan = plan
        self._context = context
        self._check = check or (lambda: None)  # the operation has no deadline
        self._errors = FieldErrors(size.add_error)
        self._pending = PendingColumns(check)
        self._middleware = _middleware_of(context)
        calls_none = self._middleware is None
        self._levels = Levels(plan, self._pending, self._check, calls_none=calls_none)
        self._completer = Completer(
            context, self._errors, self._pending, self._levels.batches, self._check, size,
            completes_rows=calls_none, defers=self._levels.defers_leaves,
        )  # fmt: skip
        self._log = self._levels.log
        self._arguments: dict[FieldPlan, dict[str, Any] | None] = {}

    def execute(self) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
        """Return the data and the errors. The caller has to open a ``promise_scope``.

        Raises what ``check`` raises. A DeadlineExceeded gets the path of the current field.
        """
        data: dict[str, Any] = dict.fromkeys([field.name for field in self._plan.fields])
        try:
            for fields in self._root_selections():
                root = [self._context.root_value]
                batch = Batch(None, self._plan.root_type, fields, root, [data])
                self._levels.batches.append(batch)
                self._levels.run(self._execute_field, self._execute_early)
                if self._errors.reached_root:
                    break
            errors = self._errors.apply()
        except DeadlineExceeded as error:
            error.path = self._levels.current_path()
            raise
        finally:
            self._levels.clear()
        free_frames(*errors)
        reached_root = self._errors.reached_root
        self._errors.clear()
        return (None if reached_root else data), errors

    def _root_selections(self) -> list[tuple[FieldPlan, ...]]:
        """Return the groups of root fields that run one after the other.

        Each root field of a mutation is a group (section 6.2.2). All root fields of a query are
        one group.
        """
        fields = self._plan.fields
        if self._context.operation.operation is OperationType.MUTATION:
            return [(field,) for field in fields]
        return [fields]

    # -- one field of a batch -------------------------------------------------------------------

    def _execute_field(self, batch: Batch, field: FieldPlan) -> None:
        if self._middleware is not None and self._execute_wrapped(batch, field):
            return
        if field.resolution is Resolution.TYPENAME:
            name, type_name = field.name, batch.object_type.name
            for result in batch.results:
                result[name] = type_name
            return
        column = FieldColumn(batch, field, range(len(batch.values)))
        self._log.place = column  # statements that are sent now belong to this field
        if field.resolution is Resolution.EDGE and self._load_edge(column):
            return
        self._set_all(column, self._completer.complete(column, self._resolve(column)))

    def _execute_early(self, batch: Batch, field: FieldPlan) -> None:
        """Execute a plain field while PostgreSQL works on a statement. Raises RunsCode."""
        attribute = field.attribute or "pk"
        values = read_attribute(batch.values, attribute, REQUIRED, batch.row_class)
        types = set(map(type, values))
        completed = None
        if field.attribute:
            completed = self._completer.complete_plain(field.output_type, values, types)
        if completed is not None:
            self._set_all(FieldColumn(batch, field, range(len(values))), completed)
        elif types <= BUILT_IN:
            self._execute_field(batch, field)
        else:
            raise RunsCode

    def _execute_wrapped(self, batch: Batch, field: FieldPlan) -> bool:
        """Execute a field whose resolver the middleware wraps, with one call for each parent.

        Returns False when the middleware leaves the resolver as it is.
        """
        resolve = field.resolve or self._context.field_resolver
        wrapped = self._middleware.get_field_resolver(resolve)  # type: ignore[union-attr]
        if wrapped is resolve:
            return False
        column = FieldColumn(batch, field, range(len(batch.values)))
        self._log.place = column
        self._set_all(column, self._completer.complete(column, self._call_all(column, wrapped)))
        return True

    def _set_all(self, column: FieldColumn, completed: list[Any]) -> None:
        """Put the completed values of all objects of the batch into the results."""
        name = column.field.name
        for result, value in zip(column.batch.results, completed, strict=True):
            result[name] = value

    def _resolve(self, column: FieldColumn) -> list[Any]:
        """Return the field's values before their completion, one for each parent."""
        field, batch, parents = column.field, column.batch, column.batch.values
        resolve = field.resolve or self._context.field_resolver
        # the coercion of an argument may fail
        if field.arguments is None and self._shared_arguments(field) is None:
            return self._call_all(column, resolve)
        if field.resolution is Resolution.ATTRIBUTE:
            return read_attribute(parents, field.attribute, field.default, batch.row_class)
        if field.resolution is Resolution.NODE_ID:
            return node_ids(field.parent_type.name, parents, batch.row_class)
        if resolve is default_field_resolver:
            values, functions = read_property(parents, field.nodes[0].name.value)
            for index in functions:
                values[index] = self._call(column, index, values[index])
            return values
        return self._call_all(column, resolve)

    def _call_all(self, column: FieldColumn, resolver: Any) -> list[Any]:
        """Call a resolver once for each parent."""
        values = []
        for index, parent in enumerate(column.batch.values):
            values.append(self._call(column, index, resolver, parent))
        return values

    def _call(self, column: FieldColumn, index: int, resolver: Any, *parent: Any) -> Any:
        """Return what a resolver returns, or the Exception that it raises."""
        if index % VALUES_BETWEEN_CHECKS == VALUES_BETWEEN_CHECKS - 1:
            self._check()
        self._log.place = column
        field = column.field
        info = self._completer.info(column, index)
        try:
            arguments = self._shared_arguments(field)
            if arguments is None:
                arguments = self._own_arguments(field)
            return resolver(*parent, info, **arguments)
        except Exception as error:  # noqa: BLE001 - any error of a resolver is a field error
            return error

    def _shared_arguments(self, field: FieldPlan) -> dict[str, Any] | None:
        """Return the arguments that all parents share; None when each call needs its own."""
        if field.arguments is not None:
            return field.arguments
        if field not in self._arguments:
            self._arguments[field] = field.shared_arguments(self._context.variable_values)
        return self._arguments[field]

    def _edge_arguments(self, field: FieldPlan) -> dict[str, Any]:
        """Return the arguments of an edge, which its parents share: it does not change them."""
        if field.arguments is not None:
            return field.arguments
        found = from_sources(field.argument_sources, self._context.variable_values)
        return self._own_arguments(field) if found is None else found

    def _own_arguments(self, field: FieldPlan) -> dict[str, Any]:
        """Return the arguments of one call. Raises GraphQLError for a value that is none."""
        return get_argument_values(field.definition, field.nodes[0], self._context.variable_values)

    def _load_edge(self, column: FieldColumn) -> bool:
        """Load the values of an edge for all parents as one level.

        Returns False when that fails. The caller then calls the resolver of each parent, which
        reports the error.
        """
        field = column.field
        if field.edge is None:
            return False
        # Middleware may read any attribute of a parent, so it gets instances.
        columns = self._plan.columns if self._middleware is None else {}
        context = self._context.context_value
        try:
            arguments = self._edge_arguments(field)
            parents, selected = column.batch.values, field.names_below
            level = field.edge.level(context, parents, arguments, columns, selected)
        except Exception:  # noqa: BLE001 - the resolvers raise it again
            return False

        def on_loaded(found: Sequence[Values] | Exception) -> None:
            if isinstance(found, Exception):
                values: list[Any] = [found] * len(column.members)
            else:
                values = level.values(found)
            self._set_all(column, self._completer.complete(column, values))

        joins = self._plan.joins(field) if level.loads else None
        is_last = level.is_light and field.is_innermost
        if joins is not None and join(level, joins, columns, context.loaders):
            is_last = joins.are_last
        found = self._pending.load(PendingLevel(column, on_loaded, is_last=is_last), level.loads)
        if found is not None:
            on_loaded(found)
        return True


def _middleware_of(context: ExecutionContext) -> MiddlewareManager | None:
    """Return the middleware of the operation; None when it can wrap no resolver."""
    manager = context.middleware_manager
    if type(manager) is MiddlewareManager and not manager.middlewares:
        return None
    return manager
