"""The promise executor: graphql-core's executor with promises in the place of awaitables.

PCF runs an operation on this executor when the operation has no plan. The executor is also the
reference that the tests compare the plan executor with. Without promises the executor takes
graphql-core's own steps, with the same results.

The specification (October 2021) leaves room for these decisions:

* 6.2.2: A root field of a mutation begins when everything below the field before it is complete.
  (graphql-core calls the next resolver at once and only awaits its result later.)
* 6.4.4: The nearest nullable place becomes null as soon as a non-null value below it fails. The
  executor then abandons the pending values below that place: it does not call their resolvers, and
  it leaves out their errors. The response keeps the earlier errors of nullable fields. So of
  several non-null failures below one place the response reports exactly one, as in graphql-core.
  Which errors of nullable fields came earlier depends on time, as in graphql-core.
* A promise that nothing can settle any more is an error of the field that waits for it.
* A coroutine or an asynchronous iterable is an error of its field: the executor does not await.
* A fulfilled promise counts as its value. The executor handles a rejected promise in its turn.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from graphql import (
    FieldNode,
    GraphQLAbstractType,
    GraphQLError,
    GraphQLID,
    GraphQLLeafType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLString,
    OperationDefinitionNode,
    OperationType,
    ResponsePath,
    Undefined,
    get_argument_values,
)

from pcf._compat.graphql import (
    ExecutionContext,
    collect_fields,
    get_field_def,
    invalid_return_type_error,
    is_iterable,
)
from pcf.database.query_log import QueryLog, current_log
from pcf.errors import ResponseTooLarge
from pcf.execution.pending_values import Complete, FieldPlace, PendingValue, PendingValues
from pcf.execution.promises import (
    field_error,
    free_frames,
    in_scope,
    is_promise,
    may_be_awaitable,
    promise_scope,
    type_resolver_of,
)
from pcf.execution.response_size import UNLIMITED, ResponseSize, object_bytes
from pcf.timeouts import DeadlineExceeded

# Types whose serialize() returns a str as it is.
_TEXTS = (GraphQLString, GraphQLID)


class _Ended(BaseException):
    """``check`` has ended the operation. No Exception, so that it is no error of a field."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


class PromiseExecutionContext(ExecutionContext):
    """An ExecutionContext whose resolvers may return promises; the result is never awaitable.

    ``execute_with_promises`` uses it. graphql-core's and graphene's ``execute`` take it as
    ``execution_context_class``. Inside a ``promise_scope`` the operation joins that scope, so it
    can wait for promises that the scope has made before. Otherwise the operation opens a scope of
    its own. An exception of ``check``, and a BaseException of a resolver, ends the operation and
    reaches the caller.
    """

    check: Callable[[], object] | None = None
    """A function that is called at each field and between two promise jobs, and raises to end the
    operation."""

    size: ResponseSize = UNLIMITED
    """Counts what the response has so far, and raises at a limit."""

    # The values of a new context. They stand here and not in __init__, which small operations would
    # feel.
    is_awaitable = staticmethod(is_promise)
    _pending: PendingValues | None = None
    _log: QueryLog | None = None

    def execute_operation(self, operation: OperationDefinitionNode, root_value: Any) -> Any:
        """Execute the operation, wait for its promises, and return the data.

        Raises GraphQLError when an error makes the whole response null.
        """
        if in_scope():
            return self._execute_in_scope(operation, root_value)
        with promise_scope():
            return self._execute_in_scope(operation, root_value)

    def _execute_in_scope(self, operation: OperationDefinitionNode, root_value: Any) -> Any:
        # Ignore the caller's predicate: that of execute_sync() returns False for everything.
        self.is_awaitable = is_promise
        self._log = current_log()
        try:
            result = self._execute_root(operation, root_value)
            if type(result) is PendingValue:
                self._complete(result)
                result = result.content
        except GraphQLError as error:
            free_frames(error)
            raise
        except _Ended as ended:
            raise ended.reason from None
        finally:
            if self._pending is not None:
                self._pending.close()
            if self.collected_errors.errors:
                free_frames(*self.collected_errors.errors)
        return result

    def _execute_root(self, operation: OperationDefinitionNode, root_value: Any) -> Any:
        root_type = self.schema.query_type
        if root_type is None or operation.operation is not OperationType.QUERY:
            return super().execute_operation(operation, root_value)
        try:
            fields = collect_fields(
                self.schema,
                self.fragments,
                self.variable_values,
                root_type,
                operation.selection_set,
            )
        except RecursionError:
            fields = None
        if fields is None:
            return super().execute_operation(operation, root_value)  # raises graphql-core's error
        return self.execute_fields(root_type, root_value, None, fields)

    def _wait_for(self, promise: Any, complete: Complete) -> Any:
        if self._pending is None:
            self._pending = PendingValues(self._null_or_raise, self.check)
        return self._pending.wait_for(promise, complete)

    def _complete(self, root: PendingValue) -> None:
        if self._pending is not None:
            self._pending.complete(root)

    def _abandon(self, pending: PendingValue | None) -> None:
        if self._pending is not None:
            self._pending.abandon(pending)

    def execute_fields_serially(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: ResponsePath | None,
        fields: dict[str, list[FieldNode]],
    ) -> Any:
        """Execute the root fields of a mutation one after the other (section 6.2.2)."""
        root = PendingValue({})
        for response_name, field_nodes in fields.items():
            field_path = ResponsePath(path, response_name, parent_type.name)
            result = self.execute_field(parent_type, source_value, field_nodes, field_path)
            if result is Undefined:
                continue
            if type(result) is PendingValue:
                result.attach(root, response_name)
                root.content[response_name] = result.content
                self._complete(root)
            else:
                root.content[response_name] = result
        return root.content

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: ResponsePath | None,
        fields: dict[str, list[FieldNode]],
    ) -> Any:
        """Execute a selection set. Returns a PendingValue when a field of it is pending."""
        results: dict[str, Any] = {}
        pending: PendingValue | None = None
        try:
            for response_name, field_nodes in fields.items():
                field_path = ResponsePath(path, response_name, parent_type.name)
                result = self.execute_field(parent_type, source_value, field_nodes, field_path)
                if result is Undefined:
                    continue
                if type(result) is PendingValue:
                    if pending is None:
                        pending = PendingValue(results)
                    result.attach(pending, response_name)
                    result = result.content
                results[response_name] = result
        except BaseException:
            self._abandon(pending)
            raise
        return results if pending is None else pending.constructed()

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_nodes: list[FieldNode],
        path: ResponsePath,
    ) -> Any:
        """Resolve and complete a field. Returns a PendingValue when its value is pending."""
        field_def = parent_type.fields.get(field_nodes[0].name.value) or get_field_def(
            self.schema, parent_type, field_nodes[0]
        )
        if not field_def:
            return Undefined
        return_type = field_def.type
        resolve = field_def.resolve or self.field_resolver
        if self.middleware_manager:
            resolve = self.middleware_manager.get_field_resolver(resolve)
        info = self.build_resolve_info(field_def, field_nodes, parent_type, path)
        if self.check is not None:
            self._check_at(info)
        self._set_place(info)
        try:
            if field_def.args:
                arguments = get_argument_values(field_def, field_nodes[0], self.variable_values)
                result = resolve(source, info, **arguments)
            else:
                result = resolve(source, info)
            if type(result) is str and return_type in _TEXTS:
                self.size.add_bytes(len(result))
                return result
            if may_be_awaitable(type(result)):
                complete = partial(self.complete_value, return_type, field_nodes, info, path)
                completed = self._wait_for(result, complete)
            else:
                completed = self.complete_value(return_type, field_nodes, info, path, result)
        except Exception as raw_error:  # noqa: BLE001 - any error of a resolver is a field error
            return self._null_or_raise(raw_error, return_type, field_nodes, path)
        if type(completed) is PendingValue:
            completed.locate(return_type, field_nodes, path)
        return completed

    def _set_place(self, info: GraphQLResolveInfo) -> None:
        """Tell the log of the statements which field runs now."""
        if self._log is not None:
            self._log.place = FieldPlace(info)

    def _check_at(self, info: GraphQLResolveInfo) -> None:
        try:
            self.check()  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - raised again, where no field can catch it
            if isinstance(error, DeadlineExceeded):
                error.path = FieldPlace(info).schema_path()
            raise _Ended(error) from None

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_nodes: list[FieldNode],
        info: GraphQLResolveInfo,
        path: ResponsePath,
        result: Any,
    ) -> Any:
        """Complete a list. Returns a PendingValue when one of its items is pending."""
        if not is_iterable(result):
            raise GraphQLError(
                "Expected Iterable, but did not find one for field"
                f" '{info.parent_type.name}.{info.field_name}'."
            )
        item_type = return_type.of_type
        self._set_place(info)  # a query set runs its statement when it is iterated
        results: list[Any] = []
        pending: PendingValue | None = None
        try:
            for index, item in enumerate(result):
                self.size.add_items(1)  # an error of this field; between two jobs, of the operation
                item_path = ResponsePath(path, index, None)
                completed = self._complete_item(item_type, field_nodes, info, item_path, item)
                if type(completed) is PendingValue:
                    if pending is None:
                        pending = PendingValue(results)
                    completed.attach(pending, index)
                    completed = completed.content
                results.append(completed)
        except BaseException:
            self._abandon(pending)
            raise
        return results if pending is None else pending.constructed()

    def _complete_item(
        self,
        item_type: GraphQLOutputType,
        field_nodes: list[FieldNode],
        info: GraphQLResolveInfo,
        path: ResponsePath,
        item: Any,
    ) -> Any:
        try:
            if may_be_awaitable(type(item)):
                complete = partial(self.complete_value, item_type, field_nodes, info, path)
                completed = self._wait_for(item, complete)
            else:
                completed = self.complete_value(item_type, field_nodes, info, path, item)
        except Exception as raw_error:  # noqa: BLE001 - as in execute_field
            return self._null_or_raise(raw_error, item_type, field_nodes, path)
        if type(completed) is PendingValue:
            completed.locate(item_type, field_nodes, path)
        return completed

    def complete_leaf_value(self, return_type: GraphQLLeafType, result: Any) -> Any:  # type: ignore[override]
        """Complete a leaf value, and count it if it is a text."""
        completed = super().complete_leaf_value(return_type, result)
        if type(completed) is str:
            self.size.add_bytes(len(completed))
        return completed

    def complete_abstract_value(
        self,
        return_type: GraphQLAbstractType,
        field_nodes: list[FieldNode],
        info: GraphQLResolveInfo,
        path: ResponsePath,
        result: Any,
    ) -> Any:
        """Complete a value of an interface or a union. ``resolve_type`` may return a promise."""

        def complete(runtime_type: Any) -> Any:
            object_type = self.ensure_valid_runtime_type(
                runtime_type, return_type, field_nodes, info, result
            )
            return self.complete_object_value(object_type, field_nodes, info, path, result)

        resolve_type = type_resolver_of(return_type, self)
        runtime_type: Any = resolve_type(result, info, return_type)
        if may_be_awaitable(type(runtime_type)):
            return self._wait_for(runtime_type, complete)
        return complete(runtime_type)

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_nodes: list[FieldNode],
        info: GraphQLResolveInfo,
        path: ResponsePath,
        result: Any,
    ) -> Any:
        """Complete an object. ``is_type_of`` may return a promise."""
        fields = self.collect_subfields(return_type, field_nodes)
        self.size.add_bytes(object_bytes(fields))

        def complete(is_type_of: Any) -> Any:
            if not is_type_of:
                raise invalid_return_type_error(return_type, result, field_nodes)
            return self.execute_fields(return_type, result, path, fields)

        if not return_type.is_type_of:
            return self.execute_fields(return_type, result, path, fields)
        is_type_of: Any = return_type.is_type_of(result, info)
        if may_be_awaitable(type(is_type_of)):
            return self._wait_for(is_type_of, complete)
        return complete(is_type_of)

    def _null_or_raise(
        self,
        raw_error: Exception,
        return_type: GraphQLOutputType,
        field_nodes: list[FieldNode],
        path: ResponsePath,
    ) -> None:
        """Record the error of a nullable place; raise the located error of a non-null place."""
        with suppress(ResponseTooLarge):  # between two jobs it is an error of the operation
            self.size.add_error()
        error = field_error(raw_error, field_nodes, path.as_list())
        self.handle_field_error(error, return_type, path)
