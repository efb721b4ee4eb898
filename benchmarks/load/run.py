"""One load test from the start of the service to the report; or steps up to the limit."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.load import observe
from benchmarks.load.checks import Check, judge, milliseconds, verdict
from benchmarks.load.generator import Load, Target, generate
from benchmarks.load.mix import Mix, World
from benchmarks.load.report import Document, write
from benchmarks.load.results import Results
from benchmarks.load.service import Service, explore, own, running
from scripts.project import ROOT
from scripts.supervise import Failure, Stop, Supervisor, tail

STEP = 1.25  # the rate's factor while the limit is looked for
STEPS = 16  # at most, with the halvings
HALVINGS = 3
FAILING = 0.99  # success below this is over the limit as well
SETTLED = 5  # seconds at the end that the workers' memory is taken from
LINE = 5.0  # seconds between two lines of progress where there is no terminal


@dataclass(slots=True)
class Seen:
    """The processes over time: (second, bytes by worker); processor seconds."""

    memory: list[tuple[float, dict[int, int]]] = field(default_factory=list)
    workers: list[tuple[float, float]] = field(default_factory=list)
    machine: list[tuple[float, float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """One load that ran."""

    load: Load
    results: Results
    seen: Seen
    checks: list[Check]
    loaders: list[tuple[str, int, int]]
    batch_efficiency: float | None
    growth: float | None
    interrupted: Stop | None = None


def run(options: argparse.Namespace, mix: Mix, supervisor: Supervisor, stack: ExitStack) -> bool:
    """Do what the options say; returns whether the targets are met. Raises Stop and Failure."""
    if options.p99:
        mix = replace(mix, targets=replace(mix.targets, p99=options.p99 / 1000))
    if options.generator_alone:
        service = stack.enter_context(_constant(supervisor))
        world = World(*([str(n) for n in range(1, 1001)] for _ in range(3)), {"token": ["1"]})
    else:
        service = (
            running(options.url, _tokens(options.tokens), remote=options.remote)
            if options.url
            else stack.enter_context(own(supervisor, mix.tokens))
        )
        world = explore(service)
    supervisor.say(f"service: {service.description}; {len(world.own_notes)} viewers with tokens")
    load = Load(
        rate=options.rate,
        seconds=options.seconds,
        warm_up=options.warm_up,
        connections=options.connections,
        timeout=options.timeout,
        processes=options.processes,
        seed=options.seed,
    )
    if options.find_limit:
        outcomes, limit = find_limit(service, load, mix, world, supervisor)
    else:
        outcomes, limit = [measure(service, load, mix, world, supervisor)], None
    _publish(options.report, service, mix, outcomes, limit, supervisor)
    interrupted = outcomes[-1].interrupted
    if interrupted is not None:
        raise interrupted
    return limit is not None if options.find_limit else verdict(outcomes[-1].checks)


def _tokens(path: Path | None) -> list[str]:
    try:
        return path.read_text().split() if path else []
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error


@contextmanager
def _constant(supervisor: Supervisor) -> Iterator[Service]:
    """A server that answers with constant bytes."""
    log = ROOT / ".pcf" / "load-constant.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "benchmarks.load.constant"]
    supervisor.start("constant bytes", argv, env={"PYTHONPATH": str(ROOT)}, cwd=ROOT, log=log)
    supervisor.wait_until(
        lambda: tail(log).strip().isdigit(), timeout=10, what="the server of constant bytes"
    )
    target = Target("127.0.0.1", int(tail(log)), "/graphql")
    yield Service(target, ["token"], [], "none: constant bytes, what the generator does alone")
    supervisor.stop()


def measure(
    service: Service, load: Load, mix: Mix, world: World, supervisor: Supervisor
) -> Outcome:
    """Send one load and look at the service meanwhile."""
    before = observe.read_metrics(service.base_url)
    seen = Seen()
    progress = _Progress(supervisor, load, mix)
    stop: list[Stop] = []
    looked = [-1.0]

    def tick(results: Results, second: float) -> bool:
        if second - looked[0] >= 1.0:
            looked[0] = second
            usage = observe.usage(service.workers)
            seen.memory.append((second, usage.resident))
            seen.workers.append((second, usage.processor))
            seen.machine.append((second, *observe.machine()))
            progress.show(results, second)
        if not stop:
            try:
                supervisor.check()
            except Stop as asked:
                stop.append(asked)
                supervisor.say("stopping; the report tells what was measured so far")
        return not stop

    results = generate(service.target, load, mix, world, tick=tick)
    progress.end()
    after = observe.read_metrics(service.base_url)
    batch_efficiency, loaders = observe.efficiency(before, after)
    seconds = max([0, *(number + 1 for number in results.seconds)]) - results.warm_up
    growth = _growth(seen, load.warm_up)
    checks = judge(
        results,
        mix.targets,
        rate=load.rate,
        seconds=min(load.seconds, max(seconds, 0)) or load.seconds,
        batch_efficiency=batch_efficiency,
        growth=growth,
    )
    interrupted = stop[0] if stop else None
    return Outcome(load, results, seen, checks, loaders, batch_efficiency, growth, interrupted)


def _growth(seen: Seen, warm_up: float) -> float | None:
    """By which share the workers' memory grew after the warm-up; None when it was not seen.

    A worker that was replaced meanwhile makes the comparison meaningless.
    """
    samples = [(second, memory) for second, memory in seen.memory if second >= warm_up and memory]
    if len(samples) < 2 or len({frozenset(memory) for _, memory in samples}) != 1:
        return None
    first = [sum(memory.values()) for _, memory in samples[:SETTLED]]
    last = [sum(memory.values()) for _, memory in samples[-SETTLED:]]
    return (sum(last) / len(last)) / (sum(first) / len(first)) - 1


class _Progress:
    """One line that is written again on a terminal; a line now and then elsewhere."""

    def __init__(self, supervisor: Supervisor, load: Load, mix: Mix) -> None:
        self._say = supervisor.say
        self._load = load
        self._terminal = sys.stderr.isatty()
        self._said = 0.0
        self._goal = mix.targets.p99 * 1e6

    def show(self, results: Results, second: float) -> None:
        """Say how it goes: the last whole second that is known, and the run so far."""
        if not results.seconds or (not self._terminal and second - self._said < LINE):
            return
        self._said = second
        # the newest second is still being filled
        last = sorted(results.seconds)[-2:][0]
        now = results.seconds[last].durations
        p50, p99 = now.percentiles(50, 99)
        total = results.total()
        asked = sum(s.hits + s.misses for s in results.seconds.values())
        hits = sum(s.hits for s in results.seconds.values())
        failures = sum(s.failures for s in results.seconds.values())
        phase = "warm-up" if second < self._load.warm_up else "P99 so far"
        so_far = "" if second < self._load.warm_up else f" {milliseconds(total.percentile(99))}"
        text = (
            f"{max(0.0, second):4.0f}/{self._load.whole:.0f} s  {now.count:,}/s  "
            f"P50 {milliseconds(p50)}  P99 {milliseconds(p99)}  {phase}{so_far}  "
            f"hits {hits / max(1, asked):.0%}  failed {failures:,}  "
            f"waiting {results.waiting:,}"
        )
        if self._terminal:
            print(f"\r\x1b[K[load] {text}", end="", file=sys.stderr, flush=True)
        else:
            self._say(text)

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            print(file=sys.stderr)


def find_limit(
    service: Service, load: Load, mix: Mix, world: World, supervisor: Supervisor
) -> tuple[list[Outcome], float | None]:
    """Raise the rate until P99 reaches the SLO, then halve between; the highest rate that kept it.

    A rate is too high when it was so twice in a row: one stall of the machine is no limit of the
    service. Returns every step, and the rate that was kept, None when already the first one was too
    high.
    """
    outcomes: list[Outcome] = []
    good: float | None = None
    bad: float | None = None
    failed: float | None = None  # once
    rate, halvings = load.rate, 0
    while len(outcomes) < STEPS:
        # the caches are warm after the first step
        warm_up = load.warm_up if not outcomes else min(load.warm_up, 2.0)
        step = replace(load, rate=rate, warm_up=warm_up)
        outcome = measure(service, step, mix, world, supervisor)
        outcomes.append(outcome)
        if outcome.interrupted:
            break
        total = outcome.results.total()
        p99 = total.percentile(99)
        kept = p99 < mix.targets.limit_p99 * 1e6 and outcome.results.success >= FAILING
        supervisor.say(
            f"{rate:,.0f}/s: P50 {milliseconds(total.percentile(50))}, P99 {milliseconds(p99)}, "
            f"success {outcome.results.success:.2%}: {'kept' if kept else 'over the limit'}"
        )
        if not kept and failed != rate:
            failed = rate
            continue
        good, bad = (rate, bad) if kept else (good, rate)
        if bad is None:
            rate *= STEP
        elif good is None or halvings == HALVINGS:
            break
        else:
            halvings += 1
            rate = (good + bad) / 2
    return outcomes, good


def _publish(
    path: Path,
    service: Service,
    mix: Mix,
    outcomes: list[Outcome],
    limit: float | None,
    supervisor: Supervisor,
) -> None:
    """Say the verdict, write the report and its numbers."""
    last = outcomes[-1]
    if limit is not None:
        supervisor.say(
            f"highest rate with P99 < {milliseconds(mix.targets.limit_p99 * 1e6)}: {limit:,.0f}/s"
        )
    else:
        for check in last.checks:
            sign = {True: "met   ", False: "MISSED", None: "-     "}[check.passed]
            supervisor.say(f"{sign} {check.name}: {check.measured} (target {check.wanted})")
    document = Document(
        service=service.description,
        when=datetime.now(UTC),
        mix=mix,
        outcomes=outcomes,
        limit=limit,
        unshared=observe.unshared(service.workers),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = write(path, document)
    path.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")
    supervisor.say(f"report: {path}")
