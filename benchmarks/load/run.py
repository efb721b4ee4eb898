"""A load test from the start of the service to the report; or a search for the highest rate."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.load import observe
from benchmarks.load.checks import milliseconds, verdict
from benchmarks.load.generator import Load, Target
from benchmarks.load.measure import measure
from benchmarks.load.mix import Mix, World
from benchmarks.load.outcome import Outcome, Report
from benchmarks.load.report import write
from benchmarks.load.service import Service, explore, own, running
from benchmarks.load.sessions import Viewer
from scripts.project import ROOT
from scripts.supervise import Failure, Supervisor, tail

STEP = 1.25  # factor between two rates of a search
STEPS = 16  # rates of a search at most, the halvings included
HALVINGS = 3
FAILING = 0.99  # share of successes below which a rate is over the limit


def run(options: argparse.Namespace, mix: Mix, supervisor: Supervisor, stack: ExitStack) -> bool:
    """Run the load test that ``options`` describe; return whether it met the targets.

    Raises Stop after a signal, and Failure when the service cannot be loaded.
    """
    if options.p99:
        mix = replace(mix, targets=replace(mix.targets, p99=options.p99 / 1000))
    if options.generator_alone:
        service = stack.enter_context(_constant(supervisor))
        keys = [str(number) for number in range(1, 1001)]
        world = World(keys, keys, keys, [Viewer("token", ["1"])])
        mix = replace(mix, kinds=tuple(replace(kind, expected="") for kind in mix.kinds))
    else:
        service = (
            running(options.url, _tokens(options.tokens), remote=options.remote)
            if options.url
            else stack.enter_context(own(supervisor, mix.tokens))
        )
        world = explore(service)
    supervisor.say(f"service: {service.description}; {len(world.viewers)} viewers with tokens")
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
    """Yield a server that answers with constant bytes."""
    log = ROOT / ".pcf" / "load-constant.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "benchmarks.load.constant"]
    supervisor.start("constant bytes", argv, env={"PYTHONPATH": str(ROOT)}, cwd=ROOT, log=log)
    supervisor.wait_until(
        lambda: tail(log).strip().isdigit(), timeout=10, what="the server of constant bytes"
    )
    target = Target("127.0.0.1", int(tail(log)), "/graphql")
    yield Service(target, [], [], "none: constant bytes, the generator alone")
    supervisor.stop()


def find_limit(
    service: Service, load: Load, mix: Mix, world: World, supervisor: Supervisor
) -> tuple[list[Outcome], float | None]:
    """Return the outcomes of all steps, and the highest rate whose P99 stayed within the SLO.

    The search raises the rate by STEP until a rate is too high, then halves the interval. A rate is
    too high after two failed steps in a row, because one stall of the machine is no limit of the
    service. The rate is None when the first one is too high.
    """
    outcomes: list[Outcome] = []
    good: float | None = None
    bad: float | None = None
    failed: float | None = None  # a rate that failed once
    rate, halvings = load.rate, 0
    while len(outcomes) < STEPS:
        # the first step has filled the caches
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
    """Print the verdict, write the report and its numbers as JSON."""
    last = outcomes[-1]
    if limit is not None:
        supervisor.say(
            f"highest rate with P99 < {milliseconds(mix.targets.limit_p99 * 1e6)}: {limit:,.0f}/s"
        )
    else:
        for check in last.checks:
            sign = {True: "met   ", False: "MISSED", None: "-     "}[check.passed]
            supervisor.say(f"{sign} {check.name}: {check.measured} (target {check.wanted})")
    report = Report(
        service=service.description,
        when=datetime.now(UTC),
        mix=mix,
        outcomes=outcomes,
        limit=limit,
        unshared=observe.unshared(service.workers),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = write(path, report)
    path.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")
    supervisor.say(f"report: {path}")
