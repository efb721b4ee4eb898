"""Columns that wait for promises, and the order in which they go on."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from promise import Promise

from pcf.execution.columns import Column
from pcf.execution.promises import drain

GoOn = Callable[[Column, list[Any], Sequence[Any]], None]


class Wait:
    """Promises for a column: when all are settled, ``go_on(column, outcomes, subjects)``.

    An outcome is the promise's value or the Exception it was rejected with. ``subjects`` stand
    beside the promises, one each: what a promised answer is about.
    """

    __slots__ = ("column", "go_on", "missing", "promises", "subjects")

    def __init__(
        self, column: Column, promises: list[Promise], subjects: Sequence[Any], go_on: GoOn
    ) -> None:
        self.column = column
        self.promises = promises
        self.subjects = subjects
        self.go_on = go_on
        self.missing = 0

    def resume(self) -> None:
        """Go on with what came."""
        self.go_on(self.column, [outcome(promise) for promise in self.promises], self.subjects)

    def part(self, positions: list[int]) -> "Wait":
        """A Wait for only these promises."""
        return Wait(
            self.column.part(positions),
            [self.promises[position] for position in positions],
            [self.subjects[position] for position in positions],
            self.go_on,
        )


def outcome(promise: Promise) -> Any:
    """The value, or the error in its place; one that is still pending will never come."""
    if promise.is_fulfilled:
        return promise.value
    if promise.is_rejected:
        return promise.reason
    return RuntimeError(
        "This would wait for ever: the promise is pending and no promise job is left."
    )


class Waits:
    """All that waits in one operation. ``check`` is called between promise jobs and may raise."""

    def __init__(self, check: Callable[[], object] | None) -> None:
        self._check = check
        self._waits: dict[int, Wait] = {}  # by their ids: which are not settled
        self._promises: dict[int, tuple[Promise, list[Wait]]] = {}
        self._ready: list[Wait] = []

    def add(self, wait: Wait) -> None:
        """Wait for all promises of ``wait``, which are pending."""
        self._waits[id(wait)] = wait
        for promise in wait.promises:
            known = self._promises.get(id(promise))
            if known is not None:
                known[1].append(wait)
            else:
                self._promises[id(promise)] = promise, [wait]
                settled = partial(self._settled, id(promise))
                promise.then(settled, settled)
            wait.missing += 1

    def settled(self) -> list[Wait]:
        """Run promise jobs until something can go on, and return that; empty: nothing waits."""
        while self._waits and not self._ready:
            if not drain(lambda: bool(self._ready), self._check):
                self._free_what_can_go_on()
        ready, self._ready = self._ready, []
        return ready

    def clear(self) -> None:
        """Forget everything: promises outlive the operation, and their handlers lead here."""
        self._waits.clear()
        self._promises.clear()
        self._ready.clear()

    def _settled(self, key: int, _outcome: Any) -> None:
        _, waits = self._promises.pop(key, (None, ()))
        for wait in waits:
            wait.missing -= 1
            if not wait.missing and self._waits.pop(id(wait), None) is not None:
                self._ready.append(wait)

    def _free_what_can_go_on(self) -> None:
        """No job is left, so something waits for ever: let the rest go on first, then that."""
        stuck = list(self._waits.values())
        self._waits.clear()
        rest: list[Wait] = []
        for wait in stuck:
            there = [n for n, promise in enumerate(wait.promises) if not promise.is_pending]
            if not there:
                rest.append(wait)
                continue
            missing = [n for n, promise in enumerate(wait.promises) if promise.is_pending]
            self._ready.append(wait.part(there))
            rest.append(wait.part(missing))
        if not self._ready:
            self._promises.clear()
            self._ready = rest
            return
        for pending in self._promises.values():
            pending[1].clear()
        for wait in rest:
            self._wait_again(wait)

    def _wait_again(self, wait: Wait) -> None:
        self._waits[id(wait)] = wait
        for promise in wait.promises:
            self._promises[id(promise)][1].append(wait)
            wait.missing += 1
