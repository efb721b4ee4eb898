"""graphql-core's executor, used synchronously, with promises wherever it takes awaitables.

graphql-core (3.2.14) waits with coroutines: one for each field and item that is awaited and one for
each object and list around it. Here the operation alone waits. Objects and lists go into the
response when they are begun; where a promise is, something is missing, and a ``Place`` remembers
where. When the promise settles, the place is filled, which may leave new ones below; when none
is left, the response is complete. Without promises the way is graphql-core's own, with its results.

What is decided here, where the specification (October 2021) leaves room:

* 6.2.2: a root field of a mutation begins when everything below the one before it is settled.
  (graphql-core calls the next resolver at once and only awaits its result later.)
* 6.4.4: the nearest nullable place is null as soon as a non-null one below it fails. What still
  waits below it is given up: its resolvers are not called, its errors are left out. Errors
  of nullable fields that came before stay. So of several non-null failures below one place exactly
  one is reported, as in graphql-core; which of the others' errors came earlier is a matter
  of time, there as here.
* A promise that nothing can settle any more is an error of the field that waits for it.
* A coroutine is an error of its field: nothing here awaits. So is an asynchronous iterable.
* A fulfilled promise is as good as its value; a rejected one is handled in its turn.
"""

from collections.abc import Callable
from functools import partial
from types import CoroutineType
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLAbstractType,
    GraphQLError,
    GraphQLFieldResolver,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLTypeResolver,
    OperationDefinitionNode,
)
from graphql.error import located_error
from graphql.execution import ExecutionContext, Middleware
from graphql.execution.execute import (
    assert_valid_execution_arguments,
    default_type_resolver,
    get_field_def,
    invalid_return_type_error,
)
from graphql.execution.values import get_argument_values
from graphql.pyutils import Path, Undefined, is_iterable
from promise import Promise

from pcf.errors import ResponseTooLarge
from pcf.execution.places import Place, Places
from pcf.execution.promises import free_frames, in_scope, is_thenable, promise_scope
from pcf.execution.type_resolver import promise_type_resolver

_NOT_PLAIN = (Promise, CoroutineType)


class PromiseExecutionContext(ExecutionContext):
    """An ExecutionContext whose resolvers may return promises; the result is never awaitable.

    To be given as ``execution_context_class`` to graphql-core's or graphene's ``execute``, or used
    by ``execute_with_promises``. Inside a ``promise_scope`` the operation joins it, so promises
    made there before can be waited for; otherwise it has one of its own. An exception
    that is no Exception, and one that ``check`` raises, ends the operation and reaches the caller.
    """

    check: Callable[[], object] | None = None
    """Called between two promise jobs; raises when the operation has to end."""

    max_items: int | None = None
    """How many items all lists may have together; ``check_items`` raises when there are more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._items = 0  # of all lists so far
        # Never the caller's predicate: execute_sync() brings one that says no to everything.
        self.is_awaitable = is_thenable
        if self.type_resolver is default_type_resolver:
            self.type_resolver = promise_type_resolver

    def check_items(self) -> None:
        """Raise ResponseTooLarge when the lists have too many items."""
        if self.max_items is not None and self._items > self.max_items:
            raise ResponseTooLarge.by_items(self.max_items)

    def execute_operation(self, operation: OperationDefinitionNode, root_value: Any) -> Any:
        """Execute the operation and everything it waits for; returns ``data``.

        Raises GraphQLError when an error reaches the root.
        """
        if not in_scope():
            with promise_scope():
                return self.execute_operation(operation, root_value)
        self._places = Places(self._null_or_raise, self.check)
        try:
            result = super().execute_operation(operation, root_value)
            if type(result) is Place:
                self._places.settle(result)
                result = result.content
        except GraphQLError as error:
            free_frames(error)
            raise
        finally:
            self._places.close()
            free_frames(*self.collected_errors.errors)
        return result

    def execute_fields_serially(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        fields: dict[str, list[FieldNode]],
    ) -> Any:
        """Execute the root fields of a mutation, each to its end (spec 6.2.2)."""
        root = Place({})
        for response_name, field_nodes in fields.items():
            field_path = Path(path, response_name, parent_type.name)
            result = self.execute_field(parent_type, source_value, field_nodes, field_path)
            if result is Undefined:
                continue
            if type(result) is Place:
                result.put(root, response_name)
                root.content[response_name] = result.content
                self._places.settle(root)
            else:
                root.content[response_name] = result
        return root.content

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        fields: dict[str, list[FieldNode]],
    ) -> Any:
        """Execute a selection set; returns a Place if anything in it is missing."""
        results: dict[str, Any] = {}
        here: Place | None = None
        try:
            for response_name, field_nodes in fields.items():
                field_path = Path(path, response_name, parent_type.name)
                result = self.execute_field(parent_type, source_value, field_nodes, field_path)
                if result is Undefined:
                    continue
                if type(result) is Place:
                    if here is None:
                        here = Place(results)
                    result.put(here, response_name)
                    result = result.content
                results[response_name] = result
        except BaseException:
            self._places.abandon(here)
            raise
        return results if here is None else here.constructed()

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_nodes: list[FieldNode],
        path: Path,
    ) -> Any:
        """Resolve and complete a field; returns a Place if its value is not final."""
        field_def = get_field_def(self.schema, parent_type, field_nodes[0])
        if not field_def:
            return Undefined
        return_type = field_def.type
        resolve = field_def.resolve or self.field_resolver
        if self.middleware_manager:
            resolve = self.middleware_manager.get_field_resolver(resolve)
        info = self.build_resolve_info(field_def, field_nodes, parent_type, path)
        try:
            if field_def.args:
                arguments = get_argument_values(field_def, field_nodes[0], self.variable_values)
                result = resolve(source, info, **arguments)
            else:
                result = resolve(source, info)
            if isinstance(result, _NOT_PLAIN):
                complete = partial(self.complete_value, return_type, field_nodes, info, path)
                completed = self._places.wait_for(result, complete)
            else:
                completed = self.complete_value(return_type, field_nodes, info, path, result)
        except Exception as raw_error:  # noqa: BLE001 - any error of a resolver is a field error
            return self._null_or_raise(raw_error, return_type, field_nodes, path)
        if type(completed) is Place:
            completed.locate(return_type, field_nodes, path)
        return completed

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_nodes: list[FieldNode],
        info: GraphQLResolveInfo,
        path: Path,
        result: Any,
    ) -> Any:
        """Complete a list; items may be promises. Returns a Place if any item is not final."""
        if not is_iterable(result):
            raise GraphQLError(
                "Expected Iterable, but did not find one for field"
                f" '{info.parent_type.name}.{info.field_name}'."
            )
        item_type = return_type.of_type
        results: list[Any] = []
        here: Place | None = None
        try:
            for index, item in enumerate(result):
                self._items += 1
                self.check_items()  # an error of the field here, of the operation between two jobs
                item_path = Path(path, index, None)
                completed = self._complete_item(item_type, field_nodes, info, item_path, item)
                if type(completed) is Place:
                    if here is None:
                        here = Place(results)
                    completed.put(here, index)
                    completed = completed.content
                results.append(completed)
        except BaseException:
            self._places.abandon(here)
            raise
        return results if here is None else here.constructed()

    def _complete_item(
        self,
        item_type: GraphQLOutputType,
        field_nodes: list[FieldNode],
        info: GraphQLResolveInfo,
        path: Path,
        item: Any,
    ) -> Any:
        try:
            if isinstance(item, _NOT_PLAIN):
                complete = partial(self.complete_value, item_type, field_nodes, info, path)
                completed = self._places.wait_for(item, complete)
            else:
                completed = self.complete_value(item_type, field_nodes, info, path, item)
        except Exception as raw_error:  # noqa: BLE001 - as in execute_field
            return self._null_or_raise(raw_error, item_type, field_nodes, path)
        if type(completed) is Place:
            completed.locate(item_type, field_nodes, path)
        return completed

    def complete_abstract_value(
        self,
        return_type: GraphQLAbstractType,
        field_nodes: list[FieldNode],
        info: GraphQLResolveInfo,
        path: Path,
        result: Any,
    ) -> Any:
        """Complete a value of an interface or a union; its type may be promised."""

        def complete(runtime_type: Any) -> Any:
            object_type = self.ensure_valid_runtime_type(
                runtime_type, return_type, field_nodes, info, result
            )
            return self.complete_object_value(object_type, field_nodes, info, path, result)

        resolve_type = return_type.resolve_type or self.type_resolver
        runtime_type: Any = resolve_type(result, info, return_type)
        if isinstance(runtime_type, _NOT_PLAIN):
            return self._places.wait_for(runtime_type, complete)
        return complete(runtime_type)

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_nodes: list[FieldNode],
        info: GraphQLResolveInfo,
        path: Path,
        result: Any,
    ) -> Any:
        """Complete an object; whether it is one of its type may be promised."""
        fields = self.collect_subfields(return_type, field_nodes)

        def complete(is_type_of: Any) -> Any:
            if not is_type_of:
                raise invalid_return_type_error(return_type, result, field_nodes)
            return self.execute_fields(return_type, result, path, fields)

        if not return_type.is_type_of:
            return self.execute_fields(return_type, result, path, fields)
        is_type_of: Any = return_type.is_type_of(result, info)
        if isinstance(is_type_of, _NOT_PLAIN):
            return self._places.wait_for(is_type_of, complete)
        return complete(is_type_of)

    def _null_or_raise(
        self,
        raw_error: Exception,
        return_type: GraphQLOutputType,
        field_nodes: list[FieldNode],
        path: Path,
    ) -> None:
        """Collect the error, or raise it located when the place it belongs to is not nullable."""
        error = located_error(raw_error, field_nodes, path.as_list())
        self.handle_field_error(error, return_type, path)


def execute_with_promises(
    schema: GraphQLSchema,
    document: DocumentNode,
    *,
    root_value: Any = None,
    context_value: Any = None,
    variable_values: dict[str, Any] | None = None,
    operation_name: str | None = None,
    field_resolver: GraphQLFieldResolver | None = None,
    type_resolver: GraphQLTypeResolver | None = None,
    middleware: Middleware = None,
    check: Callable[[], object] | None = None,
    max_items: int | None = None,
) -> ExecutionResult:
    """Execute a validated document, wait for its promises, and return the result.

    As graphql-core's ``execute``, except that it never returns an awaitable. Errors of resolvers
    are in the result. TypeError for arguments that are none, what ``check`` raises (it is called
    between promise jobs), ResponseTooLarge for more than ``max_items`` items in all lists together,
    and exceptions that are no Exception are raised. Promise jobs that are
    left are discarded with the ``promise_scope`` the operation runs in, its own or one around it.
    """
    assert_valid_execution_arguments(schema, document, variable_values)
    context = PromiseExecutionContext.build(
        schema,
        document,
        root_value,
        context_value,
        variable_values,
        operation_name,
        field_resolver,
        type_resolver,
        middleware=middleware,
    )
    if isinstance(context, list):
        return ExecutionResult(None, context)
    assert isinstance(context, PromiseExecutionContext)  # noqa: S101 - build() is typed for its base
    context.check = check
    if max_items is not None:
        context.max_items = max_items
        context.check = partial(_check_both, context, check)
    errors = context.collected_errors
    data = None
    try:
        data = context.execute_operation(context.operation, root_value)
    except GraphQLError as error:
        errors.add(error, None)
    context.check_items()
    return context.build_response(data, errors.errors)


def _check_both(context: PromiseExecutionContext, check: Callable[[], object] | None) -> None:
    context.check_items()
    if check is not None:
        check()
