"""Send the same load for several values of one setting; print a table of the effects."""

import argparse
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.load import observe
from benchmarks.load.checks import milliseconds
from benchmarks.load.generator import Load
from benchmarks.load.histogram import Histogram
from benchmarks.load.measure import measure
from benchmarks.load.mix import Mix
from benchmarks.load.service import explore, own
from scripts.supervise import Failure, Supervisor

ROUNDS = 2  # even rounds go backwards, so that a trend of the machine evens out
MEGA = 1_000_000


@dataclass(slots=True)
class Row:
    """The measurements of one value, over all rounds."""

    value: str
    durations: Histogram = field(default_factory=Histogram)
    failures: int = 0
    hits: int = 0
    queries: int = 0
    processor: float = 0.0  # seconds of all workers
    memory: list[int] = field(default_factory=list)  # bytes that belong to one worker alone

    def cells(self) -> list[str]:
        """Return the cells of the table."""
        count = self.durations.count
        p50, p99 = self.durations.percentiles(50, 99)
        return [
            self.value,
            milliseconds(p50),
            milliseconds(p99),
            f"{self.failures / max(1, count):.2%}",
            f"{self.hits / max(1, self.queries):.0%}",
            f"{self.processor / max(1, count) * 1000:.2f} ms",
            f"{sum(self.memory) / max(1, len(self.memory)) / MEGA:.0f} MB",
        ]


def parse(text: str) -> tuple[str, list[str]]:
    """Split ``NAME=VALUE,VALUE`` into the name and the values. Raises ArgumentTypeError."""
    name, equals, values = text.partition("=")
    found = [value for value in values.split(",") if value]
    if not name or not equals or not found:
        raise argparse.ArgumentTypeError("must look like THREADS=4,8,16")
    return name, found


def sweep(options: argparse.Namespace, mix: Mix, supervisor: Supervisor) -> str:
    """Return a Markdown table with a row for each value of ``options.sweep``.

    Raises Stop after a signal, and Failure when the service cannot be loaded.
    """
    name, values = options.sweep
    rows = {value: Row(value) for value in values}
    load = Load(
        rate=options.rate,
        seconds=options.seconds,
        warm_up=options.warm_up,
        connections=options.connections,
        timeout=options.timeout,
        seed=options.seed,
    )
    for number in range(ROUNDS):
        for value in values[:: -1 if number % 2 else 1]:
            supervisor.say(f"{name}={value}, round {number + 1} of {ROUNDS}")
            _one(rows[value], {name: value}, load, mix, supervisor)
    header = [name, "P50", "P99", "failed", "hits", "processor a request", "a worker's own memory"]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows.values()]
    rate = f"{load.rate:,.0f} requests/s, {load.seconds:g} s a round, {ROUNDS} rounds"
    return "\n".join([*lines, "", rate])


def _one(row: Row, setting: dict[str, str], load: Load, mix: Mix, supervisor: Supervisor) -> None:
    """Add one round with ``setting`` to ``row``."""
    with ExitStack() as stack:
        service = stack.enter_context(own(supervisor, mix.tokens, setting))
        if not service.workers:
            raise Failure("no worker process was found")
        world = explore(service)
        outcome = measure(service, load, mix, world, supervisor)
        if outcome.interrupted:
            raise outcome.interrupted
        results = outcome.results
        total = results.total()
        row.durations.add(total)
        row.failures += total.count - results.outcomes["ok"]
        row.hits += results.total(cache="hit").count
        row.queries += results.total(cache="hit").count + results.total(cache="miss").count
        samples = [sample for sample in outcome.samples.workers if sample[0] >= load.warm_up]
        if len(samples) > 1:  # extrapolated from the time between the samples to all of the load
            (first, before), (last, after) = samples[0], samples[-1]
            row.processor += (after - before) / (last - first) * load.seconds
        row.memory += observe.unshared(service.workers).values()
