"""The results of a load: counts of samples."""

from collections import Counter
from dataclasses import dataclass, field

from benchmarks.load.client import CACHES, Batch, unpack
from benchmarks.load.histogram import Histogram
from benchmarks.load.mix import Kind


@dataclass(slots=True)
class Second:
    """The requests whose intended times lie within one second."""

    durations: Histogram = field(default_factory=Histogram)
    failures: int = 0
    hits: int = 0
    misses: int = 0


@dataclass(slots=True)
class ProcessState:
    """The state of one process of the generator."""

    waiting: int = 0
    processor: float = 0.0  # seconds


class Results:
    """The samples of all processes. Samples before second ``warm_up`` count in ``seconds`` only."""

    def __init__(self, kinds: tuple[Kind, ...], warm_up: int = 0) -> None:
        self.kinds = kinds
        self.warm_up = warm_up
        self.seconds: dict[int, Second] = {}
        self.durations: dict[tuple[int, str], Histogram] = {}  # by kind and cache
        self.outcomes: Counter[str] = Counter()
        self.failures: Counter[int] = Counter()  # by kind
        self.lateness = Histogram()
        self.processes: dict[int, ProcessState] = {}

    def take(self, process: int, batch: Batch) -> None:
        """Count the batch of one process."""
        self.processes[process] = ProcessState(batch.waiting, batch.processor)
        for value in batch.lateness:
            self.lateness.record(value)
        for number in batch.samples:
            sample = unpack(number)
            second = self.seconds.get(sample.second)
            if second is None:
                second = self.seconds[sample.second] = Second()
            second.durations.record(sample.micros)
            failed = sample.outcome != 0
            cache = CACHES[sample.cache]
            if self.kinds[sample.kind].is_write:
                cache = "none"
            second.failures += failed
            second.hits += cache == "hit"
            second.misses += cache == "miss"
            if sample.second < self.warm_up:
                continue
            key = (sample.kind, cache)
            if key not in self.durations:
                self.durations[key] = Histogram()
            self.durations[key].record(sample.micros)
            self.outcomes[batch.outcomes[sample.outcome]] += 1
            self.failures[sample.kind] += failed

    def total(self, kind: int | None = None, cache: str | None = None) -> Histogram:
        """Return all durations, or those of one kind, or of one outcome of the cache."""
        return Histogram.of(
            histogram
            for (its_kind, its_cache), histogram in self.durations.items()
            if kind in (None, its_kind) and cache in (None, its_cache)
        )

    @property
    def waiting(self) -> int:
        """Requests that wait for an answer or a connection, by the last batches."""
        return sum(state.waiting for state in self.processes.values())

    @property
    def processor(self) -> float:
        """Seconds of processor time of the generator's processes."""
        return sum(state.processor for state in self.processes.values())

    @property
    def success(self) -> float:
        """The share of the requests without any error."""
        count = sum(self.outcomes.values())
        return self.outcomes["ok"] / count if count else 0.0

    def hit_rate(self, kind: int | None = None) -> float | None:
        """Return the share of hits among the queries; None if no answer had Cache-Status."""
        hits = self.total(kind, "hit").count
        asked = hits + self.total(kind, "miss").count
        return hits / asked if asked else None

    def rate(self) -> float:
        """Return the requests a second without an error, after the warm-up."""
        seconds = [number for number in self.seconds if number >= self.warm_up]
        return self.outcomes["ok"] / len(seconds) if seconds else 0.0
