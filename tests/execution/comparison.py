"""Execute one operation on several executors, and compare the results."""

import asyncio
import gc
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionContext,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    execute,
    is_non_null_type,
)
from graphql.pyutils import Path, Undefined, is_iterable
from hypothesis import reject

MAX_VALUES = 20_000  # of an execution that no error ends

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Request:
    """An operation with its variables, for any schema that it is valid for."""

    document: DocumentNode
    operation_name: str | None = None
    variable_values: dict[str, Any] = field(default_factory=dict)
    root_value: Any = None
    middleware: Any = None

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "operation_name": self.operation_name,
            "variable_values": self.variable_values,
            "root_value": self.root_value,
            "middleware": self.middleware,
        }


@dataclass(frozen=True)
class Summary:
    """The parts of an error that the executors have to agree on."""

    message: str
    path: Place
    locations: tuple[tuple[int, int], ...]
    original: str
    extensions: str

    @classmethod
    def of(cls, error: GraphQLError) -> "Summary":
        return cls(
            error.message,
            tuple(error.path or ()),
            tuple((place.line, place.column) for place in error.locations or ()),
            type(error.original_error).__name__,
            repr(error.extensions),
        )


@dataclass
class Possible:
    """All errors that an operation can report when no error hides another one."""

    errors: Counter[Summary] = field(default_factory=Counter)
    non_null: set[Place] = field(default_factory=set)
    values: int = 0  # completed ones


class Awaiting(ExecutionContext):
    """graphql-core's executor without two bugs of version 3.2.14.

    After an awaited ``is_type_of``, graphql-core does not await the fields. When one of the fields
    is a coroutine, the data holds a coroutine in the place of the object. And it calls the resolver
    of a root field of a mutation before the coroutine of the field before has ended.
    """

    def execute_fields_serially(
        self, parent_type: Any, source_value: Any, path: Any, fields: dict[str, Any]
    ) -> Any:
        async def serially() -> dict[str, Any]:
            results = {}
            for name, nodes in fields.items():
                place = Path(path, name, parent_type.name)
                result = self.execute_field(parent_type, source_value, nodes, place)
                if result is not Undefined:
                    results[name] = await result if self.is_awaitable(result) else result
            return results

        return serially()

    def complete_object_value(self, *args: Any) -> Any:
        completed = super().complete_object_value(*args)

        async def settle() -> Any:
            value = await completed
            return await value if self.is_awaitable(value) else value

        return settle() if self.is_awaitable(completed) else completed


def in_event_loop(
    schema: GraphQLSchema, request: Request, context_class: type[ExecutionContext] = Awaiting
) -> ExecutionResult:
    """Execute on graphql-core's executor, whose resolvers return coroutines."""

    async def main() -> ExecutionResult:
        result = execute(
            schema, request.document, execution_context_class=context_class, **request.arguments
        )
        return await result if isawaitable(result) else result

    with _coroutines_left_alone():
        result = asyncio.run(main())
        for error in result.errors or ():
            _forget_stack(error)
    return result


@contextmanager
def _coroutines_left_alone() -> Iterator[None]:
    """Collect the coroutines that graphql-core does not await after an error.

    Python warns of each of them when it collects it. The block disables the collector, so all of
    these coroutines are in the youngest generation at its end.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.disable()
        try:
            yield
            gc.collect(0)
        finally:
            gc.enable()


def _forget_stack(error: BaseException | None) -> None:
    """Drop the tracebacks of an error: their frames hold coroutines."""
    while error is not None:
        error.__traceback__ = None
        _forget_stack(getattr(error, "original_error", None))
        error = error.__context__


class _Unpropagated(Awaiting):
    """An executor that records every error and propagates none, so that it executes every field.

    A fragment that contains itself can select more values than any memory holds. From
    ``MAX_VALUES`` on, each value is null.
    """

    possible: Possible

    def handle_field_error(self, error, return_type, path):
        self._note_type(return_type, path)
        self.possible.errors[Summary.of(error)] += 1

    def complete_value(self, return_type, field_nodes, info, path, result):
        self.possible.values += 1
        if self.possible.values > MAX_VALUES:
            return None
        self._note_type(return_type, path)
        return super().complete_value(return_type, field_nodes, info, path, result)

    def complete_list_value(self, return_type, field_nodes, info, path, result):
        """Complete the items that an iterator returns before it raises, too."""
        if not is_iterable(result):
            return super().complete_list_value(return_type, field_nodes, info, path, result)
        items: list[Any] = []
        error = None
        try:
            items += result
        except Exception as raised:  # noqa: BLE001 - raised again below
            error = raised
        completed = super().complete_list_value(return_type, field_nodes, info, path, items)
        return completed if error is None else self._fail(completed, error)

    async def _fail(self, completed, error):
        if self.is_awaitable(completed):
            await completed
        raise error

    def _note_type(self, return_type, path):
        if is_non_null_type(return_type):
            self.possible.non_null.add(tuple(path.as_list()))


def possible_errors(schema: GraphQLSchema, request: Request) -> Possible:
    """Return the errors that graphql-core can report when no error hides another one.

    Reject a case with too many values.
    """
    noted = Possible()

    class Noting(_Unpropagated):
        possible = noted

    in_event_loop(schema, request, Noting)
    if noted.values > MAX_VALUES:
        reject()
    return noted


def assert_same(actual: ExecutionResult, expected: ExecutionResult) -> None:
    """Assert equal data with the same order of keys, and equal errors in the same order."""
    assert repr(actual.data) == repr(expected.data)
    assert _summaries(actual) == _summaries(expected)


def assert_same_but_for_timing(
    actual: ExecutionResult, expected: ExecutionResult, possible: Possible
) -> None:
    """Assert equal data, and equal errors except for those that depend on time.

    The function groups the errors by the place that they make null. In both results, exactly one
    error makes a place null: an error of that place, or of a non-null place below it. When several
    errors can do that, the results may hold different ones: an iterator may raise after an item
    that fails, or two fields may fail. Earlier errors of nullable fields may differ, too.
    """
    assert repr(actual.data) == repr(expected.data)
    actual_groups, expected_groups = _by_null(actual), _by_null(expected)
    assert actual_groups.keys() == expected_groups.keys()
    for place, expected_errors in expected_groups.items():
        if not all(error.path for error in expected_errors):  # errors before execution
            assert Counter(actual_groups[place]) == Counter(expected_errors)
            continue
        for errors in (actual_groups[place], expected_errors):
            assert Counter(errors) <= possible.errors
            fatal = [e for e in errors if _propagates(e.path, place, possible.non_null)]
            assert len(fatal) == 1, fatal


def _propagates(path: Place, null: Place, non_null: set[Place]) -> bool:
    return all(path[:length] in non_null for length in range(len(null) + 1, len(path) + 1))


def _summaries(result: ExecutionResult) -> list[Summary]:
    return [Summary.of(error) for error in result.errors or ()]


def _by_null(result: ExecutionResult) -> dict[Place, list[Summary]]:
    groups: dict[Place, list[Summary]] = defaultdict(list)
    for error in _summaries(result):
        groups[_first_null(result.data, error.path)].append(error)
    return groups


def _first_null(data: Any, path: Iterable[str | int]) -> Place:
    """Return the shortest part of the path at which the data is null."""
    place: Place = ()
    for key in path:
        if data is None:
            break
        data = data[key]
        place = (*place, key)
    assert data is None
    return place
