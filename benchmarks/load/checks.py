"""The verdict of a load: every target beside the measured value."""

from dataclasses import dataclass

from benchmarks.load.mix import Targets
from benchmarks.load.results import Results

ENOUGH = 100_000  # requests from which the growth of memory is judged
KEPT = 0.99  # share of the requests that the generator has to send


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict. ``passed`` is None if it could not be judged."""

    name: str
    wanted: str
    measured: str
    passed: bool | None


def milliseconds(micros: float) -> str:
    """Return a duration in microseconds as text for people."""
    value = micros / 1000
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def judge(
    results: Results,
    targets: Targets,
    *,
    rate: float,
    seconds: float,
    batch_efficiency: float | None,
    growth: float | None,
) -> list[Check]:
    """Return the checks of a load of ``rate`` requests a second for ``seconds``."""
    total = results.total()
    sent = sum(results.outcomes.values())
    p99 = total.percentile(99)
    hit_rate = results.hit_rate()
    late = results.lateness.percentile(99)
    wanted = rate * seconds
    return [
        Check(
            "rate kept",
            f"{rate:,.0f}/s, own lateness P99 ≤ {milliseconds(targets.lateness * 1e6)}",
            f"{sent / seconds if seconds else 0:,.0f}/s, {milliseconds(late)}",
            sent >= KEPT * wanted and late <= targets.lateness * 1e6,
        ),
        Check(
            "P99",
            f"≤ {milliseconds(targets.p99 * 1e6)}",
            milliseconds(p99),
            p99 <= targets.p99 * 1e6,
        ),
        Check(
            "success",
            f"≥ {targets.success:.2%}",
            f"{results.success:.3%}",
            results.success >= targets.success,
        ),
        Check(
            "hit rate",
            f"> {targets.hit_rate:.0%}",
            "unknown" if hit_rate is None else f"{hit_rate:.1%}",
            None if hit_rate is None else hit_rate > targets.hit_rate,
        ),
        Check(
            "batch efficiency",
            f"> {targets.batch_efficiency:g} keys a batch",
            "unknown" if batch_efficiency is None else f"{batch_efficiency:.1f} keys a batch",
            None if batch_efficiency is None else batch_efficiency > targets.batch_efficiency,
        ),
        Check(
            "memory of the workers",
            f"< +{targets.memory_growth:.0%}",
            "unknown" if growth is None else f"{growth:+.1%} over {sent:,} requests",
            None if growth is None or sent < ENOUGH else growth < targets.memory_growth,
        ),
    ]


def verdict(checks: list[Check]) -> bool:
    """Return whether no check failed."""
    return all(check.passed is not False for check in checks)
