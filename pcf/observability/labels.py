"""Metrics with a bounded number of series."""

from collections.abc import Iterable
from itertools import product
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Metric

from pcf._compat.prometheus import Histogram

M = TypeVar("M", Counter, Gauge, Histogram)

OTHER = "other"
MAX_NAMES = 50  # values of an open label: loaders, kinds of dependencies, databases


class Labelled(Generic[M]):
    """A metric whose labels have a bounded number of values; safe for all threads.

    ``sets`` has one item for each label, in the metric's order. An item is the set of the label's
    values. It is None for names that the project's code chooses, such as loaders: the metric keeps
    the first ``MAX_NAMES`` of them. Every other value becomes ``other``.

    If all sets are closed, all series exist from the start with the value zero. So Prometheus sees
    the first increment as an increase.
    """

    def __init__(self, metric: M, *sets: tuple[str, ...] | None) -> None:
        self._metric: M = metric
        self._sets = sets
        self._names: list[set[str]] = [set() for _ in sets]
        self._children: dict[tuple[str, ...], M] = {}
        closed = [values for values in sets if values is not None]
        if len(closed) == len(sets):
            for values in product(*closed):
                self._children[values] = metric.labels(*values)

    def labels(self, *values: str) -> M:
        """Return the series with these label values; a value outside of its set is ``other``."""
        child = self._children.get(values)
        if child is None:
            bounded = tuple(map(self._bounded, self._sets, self._names, values))
            child = self._metric.labels(*bounded)
            if OTHER not in bounded:  # values that clients choose must not fill the memory
                self._children[values] = child
        return child

    @staticmethod
    def _bounded(allowed: tuple[str, ...] | None, names: set[str], value: str) -> str:
        if allowed is not None:
            return value if value in allowed else OTHER
        if value not in names and len(names) >= MAX_NAMES:
            return OTHER
        names.add(value)
        return value

    def collect(self) -> Iterable[Metric]:
        """Return the metric's series of this process, as prometheus_client's ``collect`` does."""
        families: Iterable[Metric] = self._metric.collect()
        return families
