"""One load: it is sent, the service is sampled meanwhile, the results are judged."""

import sys

from benchmarks.load import observe
from benchmarks.load.checks import judge, milliseconds
from benchmarks.load.generator import Load, generate
from benchmarks.load.mix import Mix, World
from benchmarks.load.outcome import Outcome, ProcessSamples
from benchmarks.load.results import Results
from benchmarks.load.service import Service
from scripts.supervise import Stop, Supervisor

SETTLED = 5  # samples at each end of a load whose mean is the workers' memory
LINE = 5.0  # seconds between two lines of progress without a terminal


def measure(
    service: Service, load: Load, mix: Mix, world: World, supervisor: Supervisor
) -> Outcome:
    """Send one load, sample the service's processes every second, and judge the results."""
    before = observe.read_metrics(service.base_url)
    samples = ProcessSamples()
    progress = _Progress(supervisor, load, mix)
    stop: list[Stop] = []
    sampled_at = [-1.0]

    def tick(results: Results, second: float) -> bool:
        if second - sampled_at[0] >= 1.0:
            sampled_at[0] = second
            usage = observe.usage(service.workers)
            samples.memory.append((second, usage.resident))
            samples.workers.append((second, usage.processor))
            samples.machine.append((second, *observe.machine()))
            progress.show(results, second)
        if not stop:
            try:
                supervisor.check()
            except Stop as asked:
                stop.append(asked)
                supervisor.say("stopping; the report shows what was measured so far")
        return not stop

    results = generate(service.target, load, mix, world, tick=tick)
    progress.end()
    after = observe.read_metrics(service.base_url)
    batch_efficiency, loaders = observe.efficiency(before, after)
    seconds = max([0, *(number + 1 for number in results.seconds)]) - results.warm_up
    growth = _growth(samples, load.warm_up)
    checks = judge(
        results,
        mix.targets,
        rate=load.rate,
        seconds=min(load.seconds, max(seconds, 0)) or load.seconds,
        batch_efficiency=batch_efficiency,
        growth=growth,
    )
    interrupted = stop[0] if stop else None
    return Outcome(load, results, samples, checks, loaders, batch_efficiency, growth, interrupted)


def _growth(samples: ProcessSamples, warm_up: float) -> float | None:
    """Return the share by which the workers' memory grew after the warm-up.

    Returns None without samples, and when a worker was replaced meanwhile.
    """
    taken = [memory for second, memory in samples.memory if second >= warm_up and memory]
    if len(taken) < 2 or len({frozenset(memory) for memory in taken}) != 1:
        return None
    first = [sum(memory.values()) for memory in taken[:SETTLED]]
    last = [sum(memory.values()) for memory in taken[-SETTLED:]]
    return (sum(last) / len(last)) / (sum(first) / len(first)) - 1


class _Progress:
    """Prints the progress: rewrites one line on a terminal, else prints one every LINE seconds."""

    def __init__(self, supervisor: Supervisor, load: Load, mix: Mix) -> None:
        self._say = supervisor.say
        self._load = load
        self._terminal = sys.stderr.isatty()
        self._printed_at = 0.0
        self._goal = mix.targets.p99 * 1e6

    def show(self, results: Results, second: float) -> None:
        """Print the figures of the last complete second, and of the load until then."""
        if not results.seconds or (not self._terminal and second - self._printed_at < LINE):
            return
        self._printed_at = second
        # the newest second is not complete yet
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
        """End the line of progress on a terminal."""
        if self._terminal:
            print(file=sys.stderr)
