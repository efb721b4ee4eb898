"""What an increment costs: numbers in the files of the metrics, written without looking for them.

prometheus_client finds the place of a number in its file, and asks which process this is, at every
increment. Both stay the same until a fork or until the process takes a slot. A request makes some
thirty increments, so they count.
"""

import struct
from bisect import bisect_left
from threading import Lock
from typing import Any, Protocol

import prometheus_client
from prometheus_client.values import MultiProcessValue

_pack = struct.Struct("dd").pack  # a number and its time, as prometheus_client writes them


class Identity(Protocol):
    """Under which name this process writes."""

    name: str


def placed_values(identity: Identity) -> type:
    """prometheus_client's values for several processes, of which this is ``identity``, that
    remember their place.
    """
    base: Any = MultiProcessValue(lambda: identity.name)  # type: ignore[no-untyped-call]
    lock = Lock()  # around everything: the one of prometheus_client is out of reach

    class PlacedValue(base):
        """A number in a file."""

        _owner = ""  # the process whose file the place is in

        def _place(self) -> None:
            super().inc(0)  # opens this process's files, if that is needed, and reads them
            self._owner = identity.name
            self._map = self._file._m  # noqa: SLF001 - a larger one of the same file may follow
            start = self._file._positions[self._key]  # noqa: SLF001
            self._there = slice(start, start + 16)

        def inc(self, amount: float) -> None:
            with lock:
                if self._owner is not identity.name:
                    self._place()
                self._value += amount
                # in one piece: pack_into writes zeros first, which others would read
                self._map[self._there] = _pack(self._value, 0.0)

        def set(self, value: float, timestamp: float | None = None) -> None:
            with lock:
                if self._owner is not identity.name:
                    self._place()
                self._value = value
                self._map[self._there] = _pack(value, timestamp or 0.0)

        def get(self) -> float:
            with lock:
                found: float = super().get()
                return found

    return PlacedValue


class Histogram(prometheus_client.Histogram):
    """prometheus_client's, which finds an amount's bucket by halving, not by trying each."""

    def observe(self, amount: float, exemplar: Any = None) -> None:  # noqa: ARG002
        """Count ``amount``. Exemplars are not kept, as in all files of several processes."""
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)
