"""Pending columns: the places of a response that wait for promises, or for the loads of an edge.

A resolver may return a promise for each value of a column: a ``PendingColumn`` waits for all of
them. A plan loads an edge for a whole level: a ``PendingLevel`` waits for its loaders, without a
promise. ``PendingColumns`` holds both, and says which of them the executor can continue.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any

from promise import Promise

from pcf.execution.columns import Column, FieldColumn
from pcf.execution.loaders import Loader, Values
from pcf.execution.promises import NEVER_SETTLED, awaitable_error, may_be_awaitable, run_jobs

OnSettled = Callable[[Column, list[Any], Sequence[Any]], None]


class PendingColumn:
    """Promises for the values of a column.

    When all promises are settled, the executor calls ``on_settled(column, outcomes, subjects)``. An
    outcome is the value of a promise, or the Exception that rejected it. ``subjects`` holds one
    value for each promise: the value that the promise answers a question about. ``is_last`` says
    that the loads of the promises need no further statement, and that none follows from them.
    """

    __slots__ = ("column", "is_last", "on_settled", "pending_count", "promises", "subjects")

    def __init__(
        self, column: Column, promises: list[Promise], subjects: Sequence[Any],
        on_settled: OnSettled, *, is_last: bool = False,
    ) -> None:  # fmt: skip
        self.column = column
        self.promises = promises
        self.subjects = subjects
        self.on_settled = on_settled
        self.pending_count = 0
        self.is_last = is_last

    def resume(self) -> None:
        """Call ``on_settled`` with the outcomes."""
        outcomes = [outcome_of(promise) for promise in self.promises]
        self.on_settled(self.column, outcomes, self.subjects)

    def subset(self, indexes: list[int]) -> "PendingColumn":
        """Return the pending column of only these promises."""
        promises = [self.promises[index] for index in indexes]
        subjects = [self.subjects[index] for index in indexes]
        return PendingColumn(self.column.subset(indexes), promises, subjects, self.on_settled)


def outcome_of(promise: Promise) -> Any:
    """Return the value of a promise, or the Exception that rejected it.

    Returns a RuntimeError for a pending promise: nothing can settle it any more.
    """
    if promise.is_fulfilled:
        return promise.value
    if promise.is_rejected:
        return promise.reason
    return RuntimeError(NEVER_SETTLED)


def settled_value(value: Any) -> Any:
    """Return the outcome of a settled promise, a TypeError for an awaitable, else ``value``."""
    if not may_be_awaitable(type(value)):
        return value
    if isinstance(value, Promise):
        return outcome_of(value)
    return awaitable_error(value) or value


class PendingLevel:
    """The loads of an edge for the parents of a level.

    When all loaders have their values, the executor calls ``on_loaded(found)``. ``found`` holds the
    values of each load, in the order of the loads, or is the Exception of loads that never run.
    ``is_last`` says that the loads need no further statement, and that none follows from them.
    """

    __slots__ = ("_on_loaded", "column", "found", "is_last", "missing")

    def __init__(
        self, column: FieldColumn, on_loaded: Callable[[Sequence[Values] | Exception], None],
        *, is_last: bool,
    ) -> None:  # fmt: skip
        self.column = column
        self._on_loaded = on_loaded
        self.is_last = is_last
        self.found: list[Values | None] = []
        self.missing = 0

    def resume(self) -> None:
        """Call ``on_loaded``."""
        found = [values for values in self.found if values is not None]
        self._on_loaded(RuntimeError(NEVER_SETTLED) if self.missing else found)


Pending = PendingColumn | PendingLevel


class PendingColumns:
    """The pending columns and levels of one operation.

    ``check`` is called between two promise jobs. An exception of ``check`` ends the operation.
    """

    def __init__(self, check: Callable[[], object] | None) -> None:
        self._check = check
        self._pending: dict[PendingColumn, None] = {}
        self._promises: dict[int, tuple[Promise, list[PendingColumn]]] = {}  # by the promise's id
        self._levels: dict[PendingLevel, None] = {}
        self._settled: list[Pending] = []

    def load(
        self, level: PendingLevel, loads: Iterable[tuple[Loader, Iterable[Hashable]]]
    ) -> Sequence[Values] | None:
        """Load the values of a level, and return them when the loaders know all of them.

        Otherwise the level is pending, and the method returns None.
        """
        found = level.found
        for index, (loader, keys) in enumerate(loads):
            values = loader.load_level(keys, partial(self._on_loaded, level, index))
            found.append(values)
            level.missing += values is None
        if level.missing:
            self._levels[level] = None
            return None
        return found  # type: ignore[return-value]  # none is missing

    def _on_loaded(self, level: PendingLevel, index: int, values: Values) -> None:
        level.found[index] = values
        level.missing -= 1
        if not level.missing and level in self._levels:
            del self._levels[level]
            self._settled.append(level)

    def add(self, pending: PendingColumn) -> None:
        """Add a column whose promises are all pending."""
        self._pending[pending] = None
        for promise in pending.promises:
            known = self._promises.get(id(promise))
            if known is not None:
                known[1].append(pending)
            else:
                self._promises[id(promise)] = promise, [pending]
                on_settled = partial(self._on_settled, id(promise))
                promise.then(on_settled, on_settled)
            pending.pending_count += 1

    def are_last(self) -> bool:
        """Return whether no statement follows those that the pending columns wait for."""
        waiting: list[Pending] = [*self._levels, *self._pending]
        for pending in waiting:  # noqa: SIM110 - a generator costs more than the answer
            if not pending.is_last:
                return False
        return True

    def settled(self) -> list[Pending]:
        """Run all promise jobs that wait now; return the columns that they have settled."""
        run_jobs(lambda: False, self._check)
        settled, self._settled = self._settled, []
        return settled

    def next_settled(self) -> list[Pending]:
        """Run promise jobs until a column is settled.

        Returns all settled columns, and an empty list when no column is pending.
        """
        while (self._levels or self._pending) and not self._settled:
            if not run_jobs(lambda: bool(self._settled), self._check):
                self._split_pending()
        settled, self._settled = self._settled, []
        return settled

    def clear(self) -> None:
        """Forget all columns: promises outlive the operation, and their handlers refer to it."""
        self._levels.clear()
        self._pending.clear()
        self._promises.clear()
        self._settled.clear()

    def _on_settled(self, promise_id: int, _outcome: Any) -> None:
        _, columns = self._promises.pop(promise_id, (None, ()))
        for pending in columns:
            pending.pending_count -= 1
            if not pending.pending_count and pending in self._pending:
                del self._pending[pending]
                self._settled.append(pending)

    def _split_pending(self) -> None:
        """Split the pending columns when no job is left, so that their settled values continue.

        The rest of a column stays pending, since a resolver below the settled values may settle it.
        When no column has a settled value, all of them continue, and their promises are errors.
        """
        stuck = list(self._pending)
        self._pending.clear()
        rest: list[PendingColumn] = []
        for column in stuck:
            settled = [n for n, promise in enumerate(column.promises) if not promise.is_pending]
            if not settled:
                rest.append(column)
                continue
            pending = [n for n, promise in enumerate(column.promises) if promise.is_pending]
            self._settled.append(column.subset(settled))
            rest.append(column.subset(pending))
        if not self._settled:
            self._promises.clear()
            self._settled = [*rest, *self._levels]
            self._levels.clear()
            return
        for _, columns in self._promises.values():
            columns.clear()
        for column in rest:
            self._add_again(column)

    def _add_again(self, pending: PendingColumn) -> None:
        self._pending[pending] = None
        for promise in pending.promises:
            self._promises[id(promise)][1].append(pending)
            pending.pending_count += 1
