"""Counts of durations, to three significant digits (the idea of HdrHistogram)."""

from collections import Counter
from collections.abc import Iterable
from math import ceil

PRECISION = 11  # bits: values below 2,048 are exact, larger ones to 1 in 1,024


class Histogram:
    """Durations in microseconds; memory grows with how different they are, not with their number.

    Percentiles are never too low: a value counts as the largest of its bucket.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self._buckets: Counter[int] = Counter()

    def record(self, value: int) -> None:
        """Count ``value`` (microseconds, at least 0)."""
        shift = max(0, value.bit_length() - PRECISION)
        self._buckets[(shift << PRECISION) | (value >> shift)] += 1
        self.count += 1
        self.total += value

    def add(self, other: "Histogram") -> None:
        """Count everything that ``other`` has counted."""
        self._buckets.update(other._buckets)  # noqa: SLF001 - of the same class
        self.count += other.count
        self.total += other.total

    @classmethod
    def of(cls, parts: Iterable["Histogram"]) -> "Histogram":
        """All of ``parts`` together."""
        whole = cls()
        for part in parts:
            whole.add(part)
        return whole

    @property
    def mean(self) -> float:
        """The mean in microseconds; 0 without any values."""
        return self.total / self.count if self.count else 0.0

    def percentiles(self, *percents: float) -> list[int]:
        """For each percentage (ascending) the value in microseconds that so many do not exceed."""
        found: list[int] = []
        wanted = iter(percents)
        current = next(wanted, None)
        seen = 0
        for key in sorted(self._buckets):
            seen += self._buckets[key]
            while current is not None and seen >= max(1, ceil(self.count * current / 100 - 1e-9)):
                found.append(_upper(key))
                current = next(wanted, None)
        return found or [0] * len(percents)

    def percentile(self, percent: float) -> int:
        """As ``percentiles``, for one."""
        return self.percentiles(percent)[0]


def _upper(key: int) -> int:
    shift, index = key >> PRECISION, key & ((1 << PRECISION) - 1)
    return ((index + 1) << shift) - 1
