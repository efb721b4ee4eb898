"""The outcome of a load, and the report that consists of outcomes."""

from dataclasses import dataclass, field
from datetime import datetime

from benchmarks.load.checks import Check
from benchmarks.load.generator import Load
from benchmarks.load.mix import Mix
from benchmarks.load.results import Results
from scripts.supervise import Stop


@dataclass(slots=True)
class ProcessSamples:
    """Samples of the service's processes; the first member of each is the second of the load."""

    memory: list[tuple[float, dict[int, int]]] = field(default_factory=list)  # bytes by worker
    workers: list[tuple[float, float]] = field(default_factory=list)  # processor seconds so far
    machine: list[tuple[float, float, float]] = field(default_factory=list)  # busy, total seconds


@dataclass(slots=True)
class Outcome:
    """One load that ran."""

    load: Load
    results: Results
    samples: ProcessSamples
    checks: list[Check]
    loaders: list[tuple[str, int, int]]  # name, keys, batches
    batch_efficiency: float | None  # keys a batch
    growth: float | None  # share by which the workers' memory grew
    interrupted: Stop | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report."""

    service: str
    when: datetime
    mix: Mix
    outcomes: list[Outcome]  # more than one: the steps of a search for the limit
    limit: float | None  # requests a second, found by a search
    unshared: dict[int, int]  # bytes that belong to each worker alone

    @property
    def last(self) -> Outcome:
        """The outcome that the plots over time show: the limit's if there is one."""
        kept = [o for o in self.outcomes if self.limit is not None and o.load.rate == self.limit]
        return (kept or self.outcomes)[-1]
