"""Completing values (spec section 6.4.3), a column at a time.

The rules and the words of the errors are graphql-core's (``ExecutionContext.complete_value``).
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, chain, pairwise
from types import CoroutineType, NoneType
from typing import Any, Protocol

from graphene_django import DjangoObjectType
from graphql import GraphQLError, GraphQLObjectType, GraphQLResolveInfo
from graphql.execution.execute import ExecutionContext, invalid_return_type_error
from graphql.pyutils import Undefined, inspect, is_iterable
from graphql.pyutils.undefined import UndefinedType
from promise import Promise

from pcf.errors import ResponseTooLarge
from pcf.execution.columns import Batch, Column, ItemColumn
from pcf.execution.failures import Failures
from pcf.execution.plan import Kind
from pcf.execution.rows import Row
from pcf.execution.waits import Wait, Waits, outcome

ROWS_BETWEEN_CHECKS = 16

_TO_SETTLE = (Promise, CoroutineType)
_ODD = (NoneType, UndefinedType, Exception, *_TO_SETTLE)

Question = Callable[[Any, GraphQLResolveInfo], Any]
Judge = Callable[[Column, list[Any], Sequence[Any]], list[Any]]


class Batches(Protocol):
    """Where the objects that are found are put, to be executed next."""

    def append(self, batch: Batch, /) -> None:
        """Execute this batch after those that came before."""


class Completer:
    """Completes the values of one operation."""

    def __init__(
        self,
        context: ExecutionContext,
        failures: Failures,
        waits: Waits,
        batches: Batches,
        check: Callable[[], object],
        max_items: int | None = None,
    ) -> None:
        """``check`` is called every ROWS_BETWEEN_CHECKS values that Python code is run for; what it
        raises is raised. ``max_items``: how many items all lists may have together.
        """
        self._context = context
        self._check = check
        self._max_items = max_items
        self._items = 0  # of all lists so far
        self._failures = failures
        self._waits = waits
        self._batches = batches
        self._confirmed: set[tuple[str, type]] = set()  # object types and classes that are of them

    def info(self, column: Column, index: int) -> GraphQLResolveInfo:
        """What a resolver is told about the field that a value belongs to."""
        owner, position = column.owner(index)
        field = owner.field
        return self._context.build_resolve_info(
            field.definition, field.nodes, field.parent_type, owner.path(position)
        )

    def fill(self, column: Column, values: list[Any], _subjects: Sequence[Any] = ()) -> None:
        """Complete values that came later."""
        for index, completed in enumerate(self.complete(column, values)):
            column.fill(index, completed)

    def complete(self, column: Column, values: list[Any]) -> list[Any]:
        """The completed values; None where one is null, has failed, or is still to come."""
        kinds = set(map(type, values))
        odd = [kind for kind in kinds if issubclass(kind, _ODD)]
        if not odd:
            return self._complete_present(column, values, kinds)
        shape = column.shape
        if odd == [NoneType] and shape.nullable and kinds - {NoneType} <= shape.as_is:
            return values
        present, waiting = self._sort_out(column, values)
        if waiting:
            promises = [values[index] for index in waiting]
            self._waits.add(Wait(column.part(waiting), promises, promises, self.fill))
        if not present:
            return [None] * len(values)
        there = [values[index] for index in present]
        part = self._complete_present(column.part(present), there, set(map(type, there)))
        return _spread(part, present, len(values))

    def _sort_out(self, column: Column, values: list[Any]) -> tuple[list[int], list[int]]:
        """Which values are present, and which are promises to wait for; the others are done with.

        Puts the outcomes of promises that are settled into ``values``.
        """
        present: list[int] = []
        waiting: list[int] = []
        for index, value in enumerate(values):
            if isinstance(value, Promise) and value.is_pending:
                waiting.append(index)
                continue
            values[index] = settled = _settled(value)
            if isinstance(settled, Exception):
                self._failures.add(column, index, settled)
            elif settled is not None and settled is not Undefined:
                present.append(index)
            elif not column.shape.nullable:
                self._failures.add(column, index, _null_error(column))
        return present, waiting

    def _complete_present(self, column: Column, values: list[Any], kinds: set[type]) -> list[Any]:
        """Complete values none of which is null, an error or a promise."""
        shape = column.shape
        match shape.kind:
            case Kind.LEAF:
                if kinds <= shape.as_is:
                    return values
                if kinds == {int} and shape.integers is not None:
                    written = shape.integers(values)
                    if written is not None:
                        return written
                return self._complete_leaves(column, values)
            case Kind.LIST:
                return self._complete_lists(column, values)
            case Kind.OBJECT:
                return self._complete_objects(column, shape.type, values)
            case Kind.ABSTRACT:
                return self._complete_abstract(column, values)

    def _complete_leaves(self, column: Column, values: list[Any]) -> list[Any]:
        type_ = column.shape.type
        serialize = type_.serialize
        completed: list[Any] = []
        for index, value in enumerate(values):
            if index % ROWS_BETWEEN_CHECKS == 0:
                self._check()
            try:
                leaf = serialize(value)
                if leaf is None or leaf is Undefined:
                    leaf = None
                    raise TypeError(  # noqa: TRY301 - the same words as graphql-core's
                        f"Expected `{inspect(type_)}.serialize({inspect(value)})`"
                        f" to return non-nullable value, returned: {inspect(serialize(value))}"
                    )
            except Exception as error:  # noqa: BLE001 - any error of a scalar is a field error
                self._failures.add(column, index, error)
                leaf = None
            completed.append(leaf)
        return completed

    def _complete_lists(self, column: Column, values: list[Any]) -> list[Any]:
        lists = []
        for index, value in enumerate(values):
            if index % ROWS_BETWEEN_CHECKS == 0:
                self._check()
            items: list[Any] = value
            if type(value) is not list:
                items = []
                try:
                    if not is_iterable(value):
                        field = column.field
                        raise GraphQLError(  # noqa: TRY301
                            "Expected Iterable, but did not find one for field"
                            f" '{field.parent_type.name}.{field.nodes[0].name.value}'."
                        )
                    items += value  # keeps the items that come before an error
                except Exception as error:  # noqa: BLE001 - a generator can raise anything
                    self._failures.add(column, index, error)
            lists.append(items)
        starts = list(accumulate(map(len, lists), initial=0))
        self._items += starts[-1]  # counted before anything is made for them
        if self._max_items is not None and self._items > self._max_items:
            raise ResponseTooLarge.by_items(self._max_items)
        items = list(chain.from_iterable(lists))
        completed = self.complete(ItemColumn(column, starts, range(len(items))), items)
        return [completed[start:end] for start, end in pairwise(starts)]

    def _complete_objects(
        self, column: Column, object_type: GraphQLObjectType, values: list[Any]
    ) -> list[Any]:
        """Begin objects, of which it may have to be asked whether they are of their type."""
        is_type_of = object_type.is_type_of
        if is_type_of is None or self._is_class_confirmed(column, object_type, values):
            return self._begin(column, object_type, values)

        def judge(column: Column, answers: list[Any], subjects: Sequence[Any]) -> list[Any]:
            approved = []
            for index, answer in enumerate(answers):
                if isinstance(answer, Exception):
                    self._failures.add(column, index, answer)
                elif answer:
                    approved.append(index)
                else:
                    nodes = column.field.nodes
                    error = invalid_return_type_error(object_type, subjects[index], nodes)
                    self._failures.add(column, index, error)
            objects = [subjects[index] for index in approved]
            begun = self._begin(column.part(approved), object_type, objects)
            return _spread(begun, approved, len(answers))

        return self._ask(column, values, is_type_of, judge)

    def _complete_abstract(self, column: Column, values: list[Any]) -> list[Any]:
        type_ = column.shape.type
        resolve_type = type_.resolve_type or self._context.type_resolver

        def question(value: Any, info: GraphQLResolveInfo) -> Any:
            return resolve_type(value, info, type_)

        def judge(column: Column, answers: list[Any], subjects: Sequence[Any]) -> list[Any]:
            by_type: dict[GraphQLObjectType, list[int]] = {}
            for index, answer in enumerate(answers):
                try:
                    if isinstance(answer, Exception):
                        raise answer  # noqa: TRY301
                    object_type = self._context.ensure_valid_runtime_type(
                        answer, type_, column.field.nodes, self.info(column, index), subjects[index]
                    )
                except Exception as error:  # noqa: BLE001 - an error of the place
                    self._failures.add(column, index, error)
                else:
                    by_type.setdefault(object_type, []).append(index)
            completed: list[Any] = [None] * len(answers)
            for object_type, indexes in by_type.items():
                chosen = [subjects[index] for index in indexes]
                part = self._complete_objects(column.part(indexes), object_type, chosen)
                for index, value in zip(indexes, part, strict=True):
                    completed[index] = value
            return completed

        return self._ask(column, values, question, judge)

    def _ask(
        self, column: Column, values: list[Any], question: Question, judge: Judge
    ) -> list[Any]:
        """Ask the schema about each value; what is answered at once is judged at once."""
        asked: list[int] = []
        answers: list[Any] = []
        waiting: list[int] = []
        promises: list[Promise] = []
        for index, value in enumerate(values):
            if index % ROWS_BETWEEN_CHECKS == 0:
                self._check()
            try:
                answer = question(value, self.info(column, index))
            except Exception as error:  # noqa: BLE001 - an error of the place
                self._failures.add(column, index, error)
                continue
            if isinstance(answer, Promise) and answer.is_pending:
                waiting.append(index)
                promises.append(answer)
            else:
                asked.append(index)
                answers.append(_settled(answer))
        if waiting:
            self._wait_for_answers(
                column.part(waiting), promises, [values[n] for n in waiting], judge
            )
        judged = judge(column.part(asked), answers, [values[index] for index in asked])
        return _spread(judged, asked, len(values))

    def _wait_for_answers(
        self, column: Column, promises: list[Promise], subjects: list[Any], judge: Judge
    ) -> None:
        def go_on(column: Column, answers: list[Any], subjects: Sequence[Any]) -> None:
            for index, completed in enumerate(judge(column, answers, subjects)):
                column.fill(index, completed)

        self._waits.add(Wait(column, promises, subjects, go_on))

    def _is_class_confirmed(
        self, column: Column, object_type: GraphQLObjectType, values: list[Any]
    ) -> bool:
        """Whether ``is_type_of`` goes by the class alone and says yes to all classes here.

        That is what DjangoObjectType's does; one that a type has overridden is asked every time.
        """
        function = getattr(object_type.is_type_of, "__func__", None)
        if function is not DjangoObjectType.is_type_of.__func__:
            return False
        kinds = list(map(type, values))
        for kind in set(kinds):
            known = object_type.name, kind
            if known in self._confirmed or issubclass(kind, Row):  # rows are made for the type
                continue
            index = kinds.index(kind)
            value = values[index]
            try:
                answer = object_type.is_type_of(value, self.info(column, index))  # type: ignore[misc]
            except Exception:  # noqa: BLE001 - asked again, and reported, one by one
                return False
            if answer is not True:
                return False
            self._confirmed.add(known)
        return True

    def _begin(
        self, column: Column, object_type: GraphQLObjectType, values: list[Any]
    ) -> list[Any]:
        """The results of objects, empty as yet; to be executed with the next level."""
        try:
            fields = column.field.selections.of(object_type)
        except Exception as error:  # noqa: BLE001 - selections nested too deeply to be collected
            for index in range(len(values)):
                self._failures.add(column, index, error)
            return [None] * len(values)
        results: list[dict[str, Any]] = [{} for _ in values]
        if values:
            self._batches.append(Batch(column, object_type, fields, values, results))
        return results


def _spread(completed: list[Any], indexes: list[int], length: int) -> list[Any]:
    """``completed`` at their ``indexes`` in a list of ``length``, None elsewhere."""
    if len(completed) == length:
        return completed
    spread: list[Any] = [None] * length
    for index, value in zip(indexes, completed, strict=True):
        spread[index] = value
    return spread


def _settled(value: Any) -> Any:
    """A settled promise's outcome, an error for a coroutine, and everything else as it is."""
    if isinstance(value, Promise):
        return outcome(value)
    if isinstance(value, CoroutineType):
        value.close()
        return TypeError(
            f"Execution is synchronous: '{value.__qualname__}' has to return a value or a"
            " promise, not a coroutine."
        )
    return value


def _null_error(column: Column) -> TypeError:
    field = column.field
    return TypeError(
        "Cannot return null for non-nullable field"
        f" {field.parent_type.name}.{field.nodes[0].name.value}."
    )
