"""Promises: their scope, the wait for one of them, and the memory that their errors hold.

``promise_scope`` gives a block a job queue of its own. ``run`` and ``run_jobs`` run the jobs of
that queue. A handler given to ``then`` may raise an Exception: promise turns it into a rejection.
Any other BaseException leaves the job, passes through ``run_jobs`` and ``run`` to their caller, and
ends the scope. promise loses the errors of handlers given to ``done``: use ``then``.

Batches: the first load of a batch puts a job behind all jobs that wait at that moment. The job puts
the dispatch behind all jobs that wait by then. So all code that is ready to run at the first load
makes its loads before the dispatch.
"""

from collections.abc import Callable
from types import CoroutineType, FrameType, GeneratorType
from typing import Any

from graphql import (
    FieldNode,
    GraphQLAbstractType,
    GraphQLError,
    GraphQLResolveInfo,
    default_type_resolver,
    located_error,
)
from graphql.pyutils import is_awaitable
from promise import Promise

from pcf._compat.graphql import ExecutionContext, get_typename
from pcf._compat.promise import in_scope, promise_scope, run_jobs
from pcf.lru import for_each_class

__all__ = [
    "NEVER_SETTLED",
    "awaitable_error",
    "field_error",
    "free_frames",
    "in_scope",
    "is_promise",
    "may_be_awaitable",
    "promise_scope",
    "run",
    "run_jobs",
    "type_resolver_of",
]

NEVER_SETTLED = "This would wait for ever: the promise is pending and no promise job is left."

# Frames of these modules hold nothing that helps to understand an error.
_EXECUTOR_MODULES = (
    "promise.",
    "graphql.execution.",
    "pcf._compat.promise",
    "pcf.execution.columns",
    "pcf.execution.completion",
    "pcf.execution.executor",
    "pcf.execution.levels",
    "pcf.execution.pending_columns",
    "pcf.execution.pending_values",
    "pcf.execution.plan_executor",
    "pcf.execution.promise_executor",
    "pcf.execution.promises",
)


@for_each_class
def may_be_awaitable(type_: type) -> bool:
    """Return whether values of ``type_`` are promises or may be awaitables."""
    return issubclass(type_, (Promise, GeneratorType)) or hasattr(type_, "__await__")


def awaitable_error(value: Any) -> TypeError | None:
    """Return the error of the field whose value is an awaitable; None for any other value.

    A coroutine is closed, so Python does not warn that nothing awaits it.
    """
    if not is_awaitable(value):
        return None
    if isinstance(value, CoroutineType):
        value.close()
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return TypeError(
        f"Execution is synchronous: '{name}' has to return a value or a promise, not a coroutine."
    )


def field_error(error: Exception, nodes: list[FieldNode], path: list[str | int]) -> GraphQLError:
    """Return ``error`` with its place; an error whose text raises is an error of the same field."""
    try:
        return located_error(error, nodes, path)
    except Exception as broken:  # noqa: BLE001 - __str__ can raise anything
        name = f"{type(error).__qualname__} without a text ({type(broken).__qualname__})"
        return GraphQLError(name, nodes, path=path, original_error=error)


def is_promise(value: object) -> bool:
    """Return whether ``value`` is a promise. The executors do not await coroutines and futures."""
    return isinstance(value, Promise)


def run(value: Any, check: Callable[[], object] | None = None) -> Any:
    """Run jobs until the promise ``value`` is settled, and return its value.

    Returns any other ``value`` as it is. Raises the reason of a rejected promise. Raises what
    ``check`` raises between two jobs. Raises RuntimeError when no job is left that could settle the
    promise. (``Promise.get()`` would block for ever.)
    """
    if not isinstance(value, Promise):
        return value
    _wait_for(value, check)
    if value.is_fulfilled:
        return value.value
    reason = value.reason
    free_frames(reason)
    try:
        raise reason
    finally:
        del reason, value  # the traceback holds this frame


def _wait_for(promise: Promise, check: Callable[[], object] | None) -> None:
    if not run_jobs(lambda: not promise.is_pending, check):
        raise RuntimeError(
            f"{NEVER_SETTLED} Was the promise made, or its loader used, in a promise_scope that has"
            " ended or is set aside?"
        )


def free_frames(*errors: BaseException | None) -> None:
    """Break the reference cycles between raised errors and the frames of the executors.

    A traceback holds the frames that the error has passed, and each frame holds its caller. Frames
    of promise and of the executors hold errors, promises and half of the response in their local
    variables. The function clears these frames, and keeps the frames of resolvers and of batch
    functions for error reports.

    Python cannot clear a frame that still runs. So an error that a running caller keeps in a local
    variable stays until the garbage collector finds it.
    """
    seen: set[object] = set()
    remaining = list(errors)
    while remaining:
        error = remaining.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        remaining += error.__cause__, error.__context__, getattr(error, "original_error", None)
        traceback = error.__traceback__
        while traceback is not None:
            _clear_with_callers(traceback.tb_frame, seen)
            traceback = traceback.tb_next


def _clear_with_callers(frame: FrameType | None, seen: set[object]) -> None:
    while frame is not None and frame not in seen:
        seen.add(frame)
        if frame.f_globals.get("__name__", "").startswith(_EXECUTOR_MODULES):
            try:
                frame.clear()
            except RuntimeError:  # the frame and all its callers still run
                return
        frame = frame.f_back


def type_resolver_of(abstract_type: GraphQLAbstractType, context: ExecutionContext) -> Any:
    """Return the function that finds the object types of the values of ``abstract_type``."""
    resolver = abstract_type.resolve_type or context.type_resolver
    return promise_type_resolver if resolver is default_type_resolver else resolver


def promise_type_resolver(
    value: Any, info: GraphQLResolveInfo, abstract_type: GraphQLAbstractType
) -> Any:
    """Return the name of the object type of ``value``; ``is_type_of`` may return promises.

    The result is a name, None when no type fits, or a promise of one of these. The rules are those
    of graphql-core's ``default_type_resolver``: a type that answers yes at once comes before the
    types that promise an answer.
    """
    type_name = get_typename(value)
    if isinstance(type_name, str):
        return type_name
    names: list[str] = []
    promises: list[Promise] = []
    for object_type in info.schema.get_possible_types(abstract_type):
        if not object_type.is_type_of:
            continue
        answer: Any = object_type.is_type_of(value, info)
        if is_promise(answer):
            names.append(object_type.name)
            promises.append(answer)
        elif answer:
            return object_type.name
    if not promises:
        return None
    return Promise.all(promises).then(
        lambda answers: next((name for name, yes in zip(names, answers, strict=True) if yes), None)
    )
