"""Pending values: the places of a response that the promise executor has not completed yet.

graphql-core waits with coroutines: one for each awaited field or item, and one for each object and
list around it. In the promise executor the operation alone waits. The executor puts objects and
lists into the response when it begins them. A ``PendingValue`` stands for each value that is a
promise. When the promise is settled, the executor completes that value, which may add pending
values below it. The response is complete when no value is pending.

``FieldPlace`` names the place of a field for the log, which shows no alias.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    ResponsePath,
)
from promise import Promise

from pcf._compat.graphql import collect_fields, collect_sub_fields
from pcf.execution.promises import NEVER_SETTLED, awaitable_error, run_jobs

Complete = Callable[[Any], Any]
NullOrRaise = Callable[[Exception, GraphQLOutputType, list[FieldNode], ResponsePath], None]


class PendingValue:
    """A field or a list item whose value is not final.

    Either the value itself is a promise, or its ``content`` is an object or a list with pending
    values inside. The executor puts objects and lists into the response at once and completes them
    later. So an object does not wait for its fields.

    The executor makes pending values from the inside out, in three steps:

    1. ``__init__`` makes the pending value.
    2. ``locate`` names its field, when the executor has completed the value.
    3. ``attach`` names the object or list around it.

    A pending object or list that is not located is under construction. The root of the response is
    never located. An error that reaches a value without a location stays in its ``error``. The code
    that constructs the value raises the error.
    """

    __slots__ = (
        "content",
        "error",
        "field_nodes",
        "is_abandoned",
        "key",
        "parent",
        "path",
        "return_type",
    )

    return_type: GraphQLOutputType
    field_nodes: list[FieldNode]
    key: Any

    def __init__(self, content: dict[str, Any] | list[Any] | None = None) -> None:
        self.content: Any = content
        self.path: ResponsePath | None = None
        self.parent: PendingValue | None = None
        self.is_abandoned = False
        self.error: Exception | None = None

    def locate(
        self, return_type: GraphQLOutputType, field_nodes: list[FieldNode], path: ResponsePath
    ) -> None:
        """Set the field or list item that this value belongs to."""
        self.return_type = return_type
        self.field_nodes = field_nodes
        self.path = path

    def attach(self, parent: "PendingValue", key: str | int) -> None:
        """Set the object or list that holds this value, and the value's key in it."""
        self.parent = parent
        self.key = key

    def fill(self, value: Any) -> None:
        """Put the value into the response. A pending ``value`` takes the place of this one."""
        if type(value) is PendingValue:
            value.return_type = self.return_type
            value.field_nodes = self.field_nodes
            value.path = self.path
            value.parent = self.parent
            value.key = self.key
            value = value.content
        if self.parent is not None:
            self.parent.content[self.key] = value

    @property
    def is_below_null(self) -> bool:
        """Whether an object or list around this value is null, so that nobody sees the value."""
        pending: PendingValue | None = self
        while pending is not None:
            if pending.is_abandoned:
                return True
            pending = pending.parent
        return False

    def constructed(self) -> "PendingValue":
        """Return this object or list after its construction; raise the error that has reached it.

        An error can reach a value under construction when a resolver runs promise jobs itself, by
        ``Promise.get()`` or ``run``.
        """
        if self.error is not None:
            raise self.error
        return self


class _Waiter(NamedTuple):
    """A promise, and the values that wait for it, each with the function that completes it."""

    promise: Promise
    entries: list[tuple[PendingValue, Complete]]


class PendingValues:
    """The values of one operation that wait for promises.

    ``null_or_raise`` records the error of a nullable place, and raises the error of a non-null
    place. ``check`` is called between two promise jobs. An exception of ``check`` ends
    the operation.
    """

    def __init__(self, null_or_raise: NullOrRaise, check: Callable[[], object] | None) -> None:
        self._null_or_raise = null_or_raise
        self._check = check
        # By the promise's id: the promise keeps its handlers, which so do not refer back to it.
        self._waiters: dict[int, _Waiter] = {}
        self._has_abandoned = False

    def wait_for(self, promise: Any, complete: Complete) -> Any:
        """Return ``complete(value)`` for a fulfilled promise, and a PendingValue for any other.

        Raises TypeError for an awaitable. A value that is neither completes at once.
        """
        if not isinstance(promise, Promise):
            error = awaitable_error(promise)
            if error is not None:
                raise error
            return complete(promise)
        if promise.is_fulfilled:
            return complete(promise.value)
        pending = PendingValue()
        key = id(promise)
        waiter = self._waiters.get(key)
        if waiter is not None:  # one pair of handlers for all fields that share a loader's promise
            waiter.entries.append((pending, complete))
            return pending
        self._waiters[key] = _Waiter(promise, [(pending, complete)])
        promise.then(partial(self._on_fulfilled, key), partial(self._on_rejected, key))
        return pending

    def abandon(self, pending: PendingValue | None) -> None:
        """Stop the completion of everything below this value."""
        if pending is not None:
            pending.is_abandoned = True
            self._has_abandoned = True

    def complete(self, root: PendingValue) -> None:
        """Run promise jobs until no value is pending; raise the error that reaches ``root``."""
        waiters = self._waiters
        while not run_jobs(lambda: not waiters or root.error is not None, self._check):
            self._fail_never_settled()
        error, root.error = root.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame

    def close(self) -> None:
        """Forget all values. Promises that outlive the operation refer to this object alone."""
        self._waiters.clear()
        del self._null_or_raise
        self._check = None

    def _pop(self, key: int) -> list[tuple[PendingValue, Complete]]:
        waiter = self._waiters.pop(key, None)
        return [] if waiter is None else waiter.entries

    def _on_fulfilled(self, key: int, value: Any) -> None:
        for pending, complete in self._pop(key):
            if self._has_abandoned and pending.is_below_null:
                continue
            try:
                completed = complete(value)
            except Exception as raw_error:  # noqa: BLE001 - any error of a resolver is a field error
                self._fail(pending, raw_error)
            else:
                pending.fill(completed)

    def _on_rejected(self, key: int, reason: Exception) -> None:
        for pending, _ in self._pop(key):
            if not (self._has_abandoned and pending.is_below_null):
                self._fail(pending, reason)

    def _fail(self, failed: PendingValue, raw_error: Exception) -> None:
        """Null the nearest nullable place, as an exception does when nothing is pending (6.4.4)."""
        pending: PendingValue | None = failed
        while pending is not None:
            self.abandon(pending)
            if pending.path is None:  # under construction, or the root: its constructor raises
                pending.error = pending.error or raw_error
                return
            try:
                self._null_or_raise(
                    raw_error, pending.return_type, pending.field_nodes, pending.path
                )
            except Exception as error:  # noqa: BLE001 - that error, or one from locating it
                raw_error = error
                pending = pending.parent
            else:
                pending.fill(None)
                return

    def _fail_never_settled(self) -> None:
        reason = RuntimeError(NEVER_SETTLED)
        for key in list(self._waiters):
            self._on_rejected(key, reason)


class FieldPlace(NamedTuple):
    """The place of the field that ``info`` describes. The path is found on demand."""

    info: GraphQLResolveInfo

    @property
    def field_name(self) -> str:
        """The name of the field with that of its type: ``Query.notes``."""
        return f"{self.info.parent_type.name}.{self.info.field_name}"

    def schema_path(self, index: int = 0, /) -> list[str | int]:
        """Return the path of the field, with the names of fields in the place of aliases."""
        del index
        names: list[str | int] = []
        nodes: list[FieldNode] = []
        for step in _steps(self.info.path):
            if step.typename is None:
                names.append(step.key)
            else:
                nodes = self._collected(step.typename, nodes)[str(step.key)]
                names.append(nodes[0].name.value)
        return names

    def _collected(self, type_name: str, nodes: list[FieldNode]) -> dict[str, list[FieldNode]]:
        info = self.info
        object_type = info.schema.get_type(type_name)
        assert isinstance(object_type, GraphQLObjectType)  # noqa: S101 - paths have object types
        known = info.schema, info.fragments, info.variable_values, object_type
        if nodes:
            return collect_sub_fields(*known, nodes)
        return collect_fields(*known, info.operation.selection_set)


def _steps(path: ResponsePath) -> list[ResponsePath]:
    steps: list[ResponsePath] = []
    step: ResponsePath | None = path
    while step is not None:
        steps.append(step)
        step = step.prev
    return steps[::-1]
