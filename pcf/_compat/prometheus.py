"""prometheus_client 0.26: faster increments, for metrics that are written to files.

In multiprocess mode prometheus_client looks up the position of a number in its file at every
increment, and asks which process this is. Both stay the same until a fork, or until the process
takes a worker number. A request increments about thirty numbers.

Used and undocumented:

- ``values.ValueClass``, the class of the numbers of all metrics that are made later, and
  ``values.MultiProcessValue(process_identifier)``, which returns such a class.
- ``_value``, ``_file`` and ``_key`` of such a number; ``_m`` (the mmap) and ``_positions`` (by key)
  of its file, where a number is a double followed by a double for its time.
- ``_value`` of a Counter; ``_sum``, ``_buckets`` and ``_upper_bounds`` of a Histogram.
"""

import struct
from bisect import bisect_left
from threading import Lock
from typing import Any, Protocol

import prometheus_client
from prometheus_client import values

__all__ = ["Counter", "Histogram", "ProcessName", "use_mapped_values"]

_pack = struct.Struct("dd").pack  # a number and its time
_PACKED_BYTES = 16


class ProcessName(Protocol):
    """The name under which a process writes; ``name`` is another object when it changes."""

    name: str


def use_mapped_values(process: ProcessName) -> None:
    """Write the metrics that are made from now on to the files of ``process``."""
    values.ValueClass = mapped_value_class(process)


def mapped_value_class(process: ProcessName) -> type:
    """Return prometheus_client's class for numbers in files, with remembered positions."""
    base: Any = values.MultiProcessValue(lambda: process.name)  # type: ignore[no-untyped-call]
    lock = Lock()  # for all numbers; prometheus_client's own lock is out of reach

    class MappedValue(base):
        """A number in a memory-mapped file."""

        _owner = ""  # the process in whose file the remembered position is

        def _find_position(self) -> None:
            super().inc(0)  # opens the files of this process if needed, and reads the number
            self._owner = process.name
            self._map = self._file._m  # noqa: SLF001 - stays valid when the file grows
            start = self._file._positions[self._key]  # noqa: SLF001
            self._position = slice(start, start + _PACKED_BYTES)

        def inc(self, amount: float) -> None:
            with lock:
                if self._owner is not process.name:
                    self._find_position()
                self._value += amount
                # One assignment: pack_into writes zeros first, which another process would read.
                self._map[self._position] = _pack(self._value, 0.0)

        def set(self, value: float, timestamp: float | None = None) -> None:
            with lock:
                if self._owner is not process.name:
                    self._find_position()
                self._value = value
                self._map[self._position] = _pack(value, timestamp or 0.0)

        def get(self) -> float:
            with lock:
                found: float = super().get()
                return found

    return MappedValue


class Counter(prometheus_client.Counter):
    """prometheus_client's Counter, which does not ask at each use whether it has labels."""

    def inc(self, amount: float = 1, exemplar: Any = None) -> None:  # noqa: ARG002
        """Add ``amount``, which is not negative. Exemplars are dropped, as in ``Histogram``."""
        self._value.inc(amount)


class Histogram(prometheus_client.Histogram):
    """prometheus_client's Histogram, which finds a bucket by bisection instead of trying each."""

    def observe(self, amount: float, exemplar: Any = None) -> None:  # noqa: ARG002
        """Count ``amount``. Exemplars are dropped, as in prometheus_client's multiprocess mode."""
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)
