"""A histogram of durations with three significant digits, as HdrHistogram has."""

from collections import Counter
from collections.abc import Iterable
from math import ceil

PRECISION = 11  # bits: values below 2,048 are exact, larger ones to 1 in 1,024


class Histogram:
    """Counts durations in microseconds. Memory grows with the number of buckets, not of values.

    A value counts as the largest value of its bucket, so percentiles are never too low.
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
        """Count all values of ``other``."""
        self._buckets.update(other._buckets)  # noqa: SLF001 - of the same class
        self.count += other.count
        self.total += other.total

    @classmethod
    def of(cls, parts: Iterable["Histogram"]) -> "Histogram":
        """Return one histogram of all values of ``parts``."""
        whole = cls()
        for part in parts:
            whole.add(part)
        return whole

    @property
    def mean(self) -> float:
        """The mean in microseconds; 0 without any values."""
        return self.total / self.count if self.count else 0.0

    def percentiles(self, *percents: float) -> list[int]:
        """Return the percentiles in microseconds; ``percents`` must ascend."""
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
        """Return one percentile in microseconds."""
        return self.percentiles(percent)[0]


def _upper(key: int) -> int:
    shift, index = key >> PRECISION, key & ((1 << PRECISION) - 1)
    return ((index + 1) << shift) - 1
