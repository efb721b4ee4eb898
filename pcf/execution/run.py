"""Running a plan, breadth first: one level of the response after the other.

The unit of work is a field of a batch: the values for all its objects are read together, completed
together and put into the results together. Objects among the values are the next level's batches.
What has to wait for promises waits as a column and goes on as one when the last of them is settled.

Nothing is cut short by an error: it is written down with its place, and when everything is done
``Failures`` nulls what has to be null and leaves out the errors that graphql-core would not have
come to. So the fields beside one that makes their object null are always resolved.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from graphql import GraphQLError, OperationType, default_field_resolver
from graphql.execution.execute import ExecutionContext
from graphql.execution.values import get_argument_values

from pcf.database.statements import current_log
from pcf.execution.columns import Batch, Column, FieldColumn
from pcf.execution.completion import ROWS_BETWEEN_CHECKS, Completer
from pcf.execution.failures import Failures
from pcf.execution.operations import Plan
from pcf.execution.plan import FieldPlan, Read, shared_arguments
from pcf.execution.promises import free_frames
from pcf.execution.reading import read_attribute, read_default
from pcf.execution.waits import Wait, Waits, outcome
from pcf.timeouts import DeadlineExceeded


class Run:
    """One execution of a plan. ``context`` is what graphql-core knows of the operation."""

    def __init__(
        self,
        plan: Plan,
        context: ExecutionContext,
        check: Callable[[], object] | None,
        max_items: int | None = None,
    ) -> None:
        self._plan = plan
        self._context = context
        self._check = check or _nothing
        self._failures = Failures()
        self._waits = Waits(check)
        self._batches: deque[Batch] = deque()
        self._completer = Completer(
            context, self._failures, self._waits, self._batches, self._check, max_items
        )
        self._arguments: dict[FieldPlan, dict[str, Any] | None] = {}
        self._log = current_log()
        self._at: tuple[Batch, FieldPlan] | None = None

    def execute(self) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
        """The data and the errors. Inside a ``promise_scope``; raises what ``check`` raises."""
        data: dict[str, Any] = {}
        try:
            for fields in self._steps():
                root = [self._context.root_value]
                self._batches.append(Batch(None, self._plan.root_type, fields, root, [data]))
                self._work()
                if self._failures.reached_root:
                    break
            errors = self._failures.apply()
        except DeadlineExceeded as error:
            error.path = self._place()
            raise
        finally:
            self._waits.clear()
        free_frames(*errors)
        reached_root = self._failures.reached_root
        self._failures.clear()
        return (None if reached_root else data), errors

    def _steps(self) -> list[tuple[FieldPlan, ...]]:
        """Root fields that begin together: all of them, or of a mutation each by itself (6.2.2)."""
        fields = self._plan.fields
        if self._context.operation.operation is OperationType.MUTATION:
            return [(field,) for field in fields]
        return [fields]

    def _work(self) -> None:
        while True:
            while self._batches:
                batch = self._batches.popleft()
                for field in batch.fields:
                    self._at = batch, field
                    self._check()
                    self._execute_field(batch, field)
            ready = self._waits.settled()
            if not ready:
                return
            for wait in ready:
                wait.resume()

    def _place(self) -> list[str | int] | None:
        """Where the operation is: the path of the field begun last, for its first parent."""
        if self._at is None:
            return None
        return FieldColumn(*self._at, [0]).path(0).as_list()

    # -- values ---------------------------------------------------------------------------------

    def _execute_field(self, batch: Batch, field: FieldPlan) -> None:
        name = field.name
        if field.read is Read.TYPENAME:
            type_name = batch.object_type.name
            for result in batch.results:
                result[name] = type_name
            return
        column = FieldColumn(batch, field, range(len(batch.values)))
        if field.read is Read.EDGE and self._follow_edge(column):
            return
        self._put(column, self._completer.complete(column, self._read(column)))

    def _put(self, column: FieldColumn, completed: list[Any]) -> None:
        """Put the values of a whole field into the results."""
        name = column.field.name
        for result, value in zip(column.batch.results, completed, strict=True):
            result[name] = value

    def _read(self, column: FieldColumn) -> list[Any]:
        field, parents = column.field, column.batch.values
        if field.read is Read.ATTRIBUTE:
            return read_attribute(parents, field.attribute, field.default)
        if field.resolve is None and self._context.field_resolver is default_field_resolver:
            values, functions = read_default(parents, field.nodes[0].name.value)
            for index in functions:
                values[index] = self._call(column, index, values[index])
            return values
        resolve = field.resolve or self._context.field_resolver
        values = []
        for index, parent in enumerate(parents):
            values.append(self._call(column, index, resolve, parent))
        return values

    def _call(self, column: FieldColumn, index: int, function: Any, *parent: Any) -> Any:
        """What a resolver returns; an Exception that it raises is as good as one it returns."""
        if index % ROWS_BETWEEN_CHECKS == ROWS_BETWEEN_CHECKS - 1:
            self._check()
        if self._log is not None:
            self._log.place = column, index
        field = column.field
        info = self._completer.info(column, index)
        try:
            arguments = self._shared_arguments(field)
            if arguments is None:
                arguments = get_argument_values(
                    field.definition, field.nodes[0], self._context.variable_values
                )
            return function(*parent, info, **arguments)
        except Exception as error:  # noqa: BLE001 - any error of a resolver is a field error
            return error

    def _shared_arguments(self, field: FieldPlan) -> dict[str, Any] | None:
        """The arguments that are the same for every parent, None if each is to have its own."""
        if field.arguments is not None:
            return field.arguments
        if field not in self._arguments:
            self._arguments[field] = shared_arguments(
                field.definition, field.nodes[0], self._context.variable_values
            )
        return self._arguments[field]

    def _follow_edge(self, column: FieldColumn) -> bool:
        """Load the neighbours of all parents as one level.

        False when that is an error: then every parent's resolver has to report it.
        """
        edge, parents = column.field.edge, column.batch.values
        arguments = self._shared_arguments(column.field)
        if edge is None or arguments is None:
            return False
        try:
            route = edge.route(self._context.context_value, arguments)
            columns = self._plan.columns.get(route.loader)
            keys = edge.keys(parents, route)
            wanted = dict.fromkeys(keys)
            wanted.pop(None, None)
            if not wanted:
                values = [edge.absent() for _ in keys]
                self._put(column, self._completer.complete(column, values))
                return True
            loader = edge.find_loader(self._context.context_value, route, columns)
            promise = loader.load_level(wanted)
        except Exception:  # noqa: BLE001 - raised again by the resolvers
            return False

        def go_on(_column: Column, outcomes: list[Any], _subjects: Sequence[Any]) -> None:
            found = outcomes[0]
            values = [edge.absent() if key is None else found[key] for key in keys]
            self._put(column, self._completer.complete(column, values))

        if promise.is_pending:
            for result in column.batch.results:
                result[column.field.name] = None  # the keys' order is that of the fields
            self._waits.add(Wait(column, [promise], [None], go_on))
        else:
            go_on(column, [outcome(promise)], [None])
        return True


def _nothing() -> None:
    """Without a deadline there is nothing to check."""
