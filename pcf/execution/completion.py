"""Value completion (specification section 6.4.3), one column at a time.

The rules and the messages of the errors are those of graphql-core's
``ExecutionContext.complete_value``.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, islice, pairwise
from types import NoneType
from typing import Any

from graphql import GraphQLError, GraphQLObjectType, GraphQLResolveInfo, Undefined, UndefinedType
from promise import Promise

from pcf._compat.graphene_django import is_default_type_check
from pcf._compat.graphql import ExecutionContext, inspect, invalid_return_type_error, is_iterable
from pcf.execution.columns import Batch, Column, FieldErrors, ItemColumn, is_large
from pcf.execution.pending_columns import PendingColumn, PendingColumns, settled_value
from pcf.execution.promises import may_be_awaitable, type_resolver_of
from pcf.execution.response_size import ResponseSize
from pcf.execution.rows import Row, disguises, row_class_of, type_of_rows
from pcf.execution.schema import OutputType, TypeKind
from pcf.lru import for_each_class

VALUES_BETWEEN_CHECKS = 16


@for_each_class
def _is_special(type_: type) -> bool:
    """Return whether the executor may have to do more with such values than complete them."""
    is_absent_or_error = issubclass(type_, (NoneType, UndefinedType, Exception))
    return is_absent_or_error or may_be_awaitable(type_) or disguises(type_)


TypeQuestion = Callable[[Any, GraphQLResolveInfo], Any]
CompleteAnswers = Callable[[Column, list[Any], Sequence[Any]], list[Any]]


class Completer:
    """The value completion of one operation.

    Args:
        context: What graphql-core knows of the operation.
        errors: Receives the errors of values.
        pending: Receives the columns whose values are promises.
        batches: Receives the objects that the executor runs next.
        check: A function that is called after every VALUES_BETWEEN_CHECKS values that run Python
            code. An exception of ``check`` ends the operation.
        size: Counts what the response has so far, and ends the operation at a limit.
        completes_rows: Whether the plain fields of light rows need no resolver.
        defers: Whether the plain fields of many objects wait for statements.
    """

    def __init__(
        self, context: ExecutionContext, errors: FieldErrors, pending: PendingColumns,
        batches: deque[Batch], check: Callable[[], object], size: ResponseSize,
        *, completes_rows: bool, defers: bool,
    ) -> None:  # fmt: skip
        self._completes_rows = completes_rows
        self._defers = defers
        self._context = context
        self._check = check
        self._size = size
        self._errors = errors
        self._pending = pending
        self._batches = batches
        # Object types, each with a Python class whose instances are of that type.
        self._confirmed: set[tuple[str, type]] = set()

    def info(self, column: Column, index: int) -> GraphQLResolveInfo:
        """Return the ``info`` of a resolver: the field that a value belongs to."""
        field_column, field_index = column.field_location(index)
        field = field_column.field
        return self._context.build_resolve_info(
            field.definition, field.nodes, field.parent_type, field_column.path(field_index)
        )

    def complete(self, column: Column, values: list[Any]) -> list[Any]:
        """Return the completed values; None for a value that is null, an error, or a promise."""
        output_type = column.output_type
        types = set(map(type, values))
        completed = self.complete_plain(output_type, values, types)
        if completed is not None:
            return completed
        row_class = row_class_of(types) if output_type.takes_rows else None
        if row_class is not None:  # loaders make rows for the type, so no check has to confirm it
            return self._begin(column, output_type.type, values, row_class)
        special = [type_ for type_ in types if _is_special(type_)]
        if not special:
            return self._complete_present(column, values, types)
        present, pending = self._separate(column, values)
        if pending:
            promises = [values[index] for index in pending]
            self._pending.add(
                PendingColumn(column.subset(pending), promises, promises, self._complete_later)
            )
        if not present:
            return [None] * len(values)
        chosen = [values[index] for index in present]
        part = self._complete_present(column.subset(present), chosen, set(map(type, chosen)))
        return _spread(part, present, len(values))

    def complete_plain(
        self, output_type: OutputType, values: list[Any], types: set[type]
    ) -> list[Any] | None:
        """Return what ``serialize_plain`` of the type returns, and count its texts."""
        completed = output_type.serialize_plain(values, types)
        if completed is not None and output_type.makes_texts:
            self._size.add_texts(completed)
        return completed

    def _complete_later(
        self, column: Column, values: list[Any], _subjects: Sequence[Any] = ()
    ) -> None:
        """Complete the values of promises, and put them into the response."""
        for index, completed in enumerate(self.complete(column, values)):
            column.set(index, completed)

    def _separate(self, column: Column, values: list[Any]) -> tuple[list[int], list[int]]:
        """Return the indexes of the values to complete, and those of the pending promises.

        The method puts the outcomes of settled promises into ``values``, and records the errors of
        all other values.
        """
        present: list[int] = []
        pending: list[int] = []
        for index, value in enumerate(values):
            if isinstance(value, Promise) and value.is_pending:
                pending.append(index)
                continue
            values[index] = settled = settled_value(value)
            if isinstance(settled, Exception):
                self._errors.add(column, index, settled)
            elif settled is not None and settled is not Undefined:
                present.append(index)
            elif not column.output_type.is_nullable:
                self._errors.add(column, index, _null_error(column))
        return present, pending

    def _complete_present(self, column: Column, values: list[Any], types: set[type]) -> list[Any]:
        """Complete values that are neither null nor errors nor promises."""
        output_type = column.output_type
        match output_type.kind:
            case TypeKind.LEAF:
                completed = self.complete_plain(output_type, values, types)
                return self._complete_leaves(column, values) if completed is None else completed
            case TypeKind.LIST:
                lists = values if types == {list} else self._read_lists(column, values)
                return self._complete_lists(column, lists)
            case TypeKind.OBJECT:
                return self._complete_objects(column, output_type.type, values, types)
            case TypeKind.ABSTRACT:
                return self._complete_abstract(column, values)

    def _complete_leaves(self, column: Column, values: list[Any]) -> list[Any]:
        type_ = column.output_type.type
        serialize = type_.serialize
        completed: list[Any] = []
        for index, value in enumerate(values):
            if index % VALUES_BETWEEN_CHECKS == 0:
                self._check()
            try:
                leaf = serialize(value)
                if leaf is None or leaf is Undefined:
                    raise TypeError(  # noqa: TRY301 - graphql-core's message
                        f"Expected `{inspect(type_)}.serialize({inspect(value)})`"
                        f" to return non-nullable value, returned: {inspect(leaf)}"
                    )
            except Exception as error:  # noqa: BLE001 - any error of a scalar is a field error
                self._errors.add(column, index, error)
                leaf = None
            completed.append(leaf)
        self._size.add_texts([value for value in completed if type(value) is str])
        return completed

    def _complete_lists(self, column: Column, lists: list[list[Any]]) -> list[Any]:
        self._check()
        self._size.add_items(sum(map(len, lists)))  # before the executor spends memory on them
        starts = list(accumulate(map(len, lists), initial=0))
        items = list(chain.from_iterable(lists))
        completed = self.complete(ItemColumn(column, starts, range(len(items))), items)
        return [completed[start:end] for start, end in pairwise(starts)]

    def _read_lists(self, column: Column, values: list[Any]) -> list[list[Any]]:
        """Return the items of iterables; those before an error, and no more than one too many."""
        lists = []
        count, room = 0, self._size.room
        for index, value in enumerate(values):
            if index % VALUES_BETWEEN_CHECKS == 0:
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
                    # The list keeps the items before an error. The slice ends a list without an
                    # end, and hides a __len__ that the list would call.
                    items += islice(value, None if room is None else max(0, room - count))
                except Exception as error:  # noqa: BLE001 - a generator can raise anything
                    self._errors.add(column, index, error)
            lists.append(items)
            count += len(items)
        return lists

    def _complete_objects(
        self, column: Column, object_type: GraphQLObjectType, values: list[Any], types: set[type]
    ) -> list[Any]:
        """Begin objects, after ``is_type_of`` has confirmed their type."""
        is_type_of = object_type.is_type_of
        if is_type_of is None or self._are_confirmed(column, object_type, values, types):
            return self._begin(column, object_type, values, row_class_of(types))

        def complete_answers(
            column: Column, answers: list[Any], subjects: Sequence[Any]
        ) -> list[Any]:
            confirmed = []
            for index, answer in enumerate(answers):
                try:
                    if isinstance(answer, Exception):
                        raise answer  # noqa: TRY301
                    if not answer:
                        raise invalid_return_type_error(  # noqa: TRY301
                            object_type, subjects[index], column.field.nodes
                        )
                except Exception as error:  # noqa: BLE001 - bool() and repr() can raise anything
                    self._errors.add(column, index, error)
                else:
                    confirmed.append(index)
            objects = [subjects[index] for index in confirmed]
            row_class = row_class_of(set(map(type, objects)))
            begun = self._begin(column.subset(confirmed), object_type, objects, row_class)
            return _spread(begun, confirmed, len(answers))

        return self._ask(column, values, is_type_of, complete_answers)

    def _complete_abstract(self, column: Column, values: list[Any]) -> list[Any]:
        type_ = column.output_type.type
        resolve_type = type_resolver_of(type_, self._context)

        def question(value: Any, info: GraphQLResolveInfo) -> Any:
            if isinstance(value, Row):
                object_type = type_of_rows(info.schema, type_, value.model_)
                return None if object_type is None else object_type.name
            return resolve_type(value, info, type_)

        def complete_answers(
            column: Column, answers: list[Any], subjects: Sequence[Any]
        ) -> list[Any]:
            by_type: dict[GraphQLObjectType, list[int]] = {}
            for index, answer in enumerate(answers):
                try:
                    if isinstance(answer, Exception):
                        raise answer  # noqa: TRY301
                    object_type = self._context.ensure_valid_runtime_type(
                        answer, type_, column.field.nodes, self.info(column, index), subjects[index]
                    )
                except Exception as error:  # noqa: BLE001 - an error of this value
                    self._errors.add(column, index, error)
                else:
                    by_type.setdefault(object_type, []).append(index)
            completed: list[Any] = [None] * len(answers)
            for object_type, indexes in by_type.items():
                chosen = [subjects[index] for index in indexes]
                types = set(map(type, chosen))
                part = self._complete_objects(column.subset(indexes), object_type, chosen, types)
                for index, value in zip(indexes, part, strict=True):
                    completed[index] = value
            return completed

        return self._ask(column, values, question, complete_answers)

    def _ask(
        self,
        column: Column,
        values: list[Any],
        question: TypeQuestion,
        complete_answers: CompleteAnswers,
    ) -> list[Any]:
        """Ask the schema for the type of each value, and complete the values by the answers.

        Values whose answer is a pending promise are completed when the promise is settled.
        """
        answered: list[int] = []
        answers: list[Any] = []
        pending: list[int] = []
        promises: list[Promise] = []
        for index, value in enumerate(values):
            if index % VALUES_BETWEEN_CHECKS == 0:
                self._check()
            try:
                answer = question(value, self.info(column, index))
            except Exception as error:  # noqa: BLE001 - an error of this value
                self._errors.add(column, index, error)
                continue
            if isinstance(answer, Promise) and answer.is_pending:
                pending.append(index)
                promises.append(answer)
            else:
                answered.append(index)
                answers.append(settled_value(answer))
        if pending:
            subjects = [values[index] for index in pending]
            self._wait_for_answers(column.subset(pending), promises, subjects, complete_answers)
        subjects = [values[index] for index in answered]
        completed = complete_answers(column.subset(answered), answers, subjects)
        return _spread(completed, answered, len(values))

    def _wait_for_answers(
        self,
        column: Column,
        promises: list[Promise],
        subjects: list[Any],
        complete_answers: CompleteAnswers,
    ) -> None:
        def on_settled(column: Column, answers: list[Any], subjects: Sequence[Any]) -> None:
            for index, completed in enumerate(complete_answers(column, answers, subjects)):
                column.set(index, completed)

        self._pending.add(PendingColumn(column, promises, subjects, on_settled))

    def _are_confirmed(
        self, column: Column, object_type: GraphQLObjectType, values: list[Any], types: set[type]
    ) -> bool:
        """Return whether ``is_type_of`` confirms all classes of ``values``.

        DjangoObjectType's own ``is_type_of`` looks at the class alone, so one call a class is
        enough. The executor calls any other ``is_type_of`` for each value.
        """
        if not is_default_type_check(object_type.is_type_of):
            return False
        for type_ in types:
            known = object_type.name, type_
            if known in self._confirmed or issubclass(type_, Row):  # loaders make rows for the type
                continue
            if disguises(type_):
                return False
            index = next(index for index, value in enumerate(values) if type(value) is type_)
            try:
                answer = object_type.is_type_of(values[index], self.info(column, index))  # type: ignore[misc]
            except Exception:  # noqa: BLE001 - the question for each value raises it again
                return False
            if answer is not True:
                return False
            self._confirmed.add(known)
        return True

    def _begin(
        self, column: Column, object_type: GraphQLObjectType, values: list[Any],
        row_class: type[Row] | None,
    ) -> list[Any]:  # fmt: skip
        """Return results for objects, and queue the objects as a batch of the next level.

        ``row_class`` is the class of the objects, if all are light rows of one class.
        """
        try:
            selection = column.field.selections.compiled(object_type)
        except Exception as error:  # noqa: BLE001 - for example: selections nested too deeply
            for index in range(len(values)):
                self._errors.add(column, index, error)
            return [None] * len(values)
        self._size.add_bytes(len(values) * selection.least_bytes)
        fields, template = selection.fields, selection.template
        results: list[dict[str, Any]] | None = None
        if row_class is not None and self._completes_rows:
            of_rows = selection.of_rows(row_class)
            if of_rows.all_plain or not (self._defers and is_large(values)):
                self._check()
                results, fields = of_rows.results(values, self._size), of_rows.others
        if results is None:
            fields = selection.fields
            results = [template.copy() for _ in values] if template else [{} for _ in values]
        if fields and values:
            self._batches.append(Batch(column, object_type, fields, values, results, row_class))
        return results


def _spread(completed: list[Any], indexes: list[int], length: int) -> list[Any]:
    """Return a list of ``length`` with ``completed`` at ``indexes`` and None elsewhere."""
    if len(completed) == length:
        return completed
    spread: list[Any] = [None] * length
    for index, value in zip(indexes, completed, strict=True):
        spread[index] = value
    return spread


def _null_error(column: Column) -> TypeError:
    return TypeError(f"Cannot return null for non-nullable field {column.field_name}.")
