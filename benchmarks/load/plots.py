"""The plots of the report."""

from benchmarks.load.charts import Series, chart, exact, legend, linear, logarithmic, nines
from benchmarks.load.checks import milliseconds
from benchmarks.load.histogram import Histogram
from benchmarks.load.outcome import Outcome, Report
from benchmarks.load.tables import table

MEGA = 1_000_000
CURVE = (
    0, 10, 25, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99,
    99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 99.995, 99.999,
)  # fmt: skip


def _figure(title: str, text: str, series: list[Series], svg: str) -> str:
    return (
        f'<section><h2>{title}</h2><p class="soft">{text}</p>{svg}<p>{legend(series)}</p></section>'
    )


def over_time(outcome: Outcome, goal: float) -> str:
    """Return all plots of one load as HTML. ``goal`` is the target of P99 in seconds."""
    if not outcome.results.seconds:
        return "<section><h2>Nothing was answered</h2></section>"
    figures = [_durations(outcome, goal), _distribution(outcome, goal), _answers(outcome)]
    figures += [_resources(outcome)] if any(memory for _, memory in outcome.samples.memory) else []
    return f'<div class="grid2">{"".join(figures)}</div>'


def _durations(outcome: Outcome, goal: float) -> str:
    seconds = sorted(outcome.results.seconds.items())
    values = {
        number: [max(1, v) for v in second.durations.percentiles(50, 99, 100)]
        for number, second in seconds
    }
    series = [
        Series(name, colour, [(number, value[index]) for number, value in values.items()])
        for index, (name, colour) in enumerate((("P50", "c1"), ("P99", "c2"), ("slowest", "c5")))
    ]
    low = min(value[0] for value in values.values())
    high = max(*(value[2] for value in values.values()), goal * MEGA)

    def hover(number: float) -> str:
        p50, p99, most = values[int(number)]
        count = outcome.results.seconds[int(number)].durations.count
        return (
            f"second {number:.0f}: {count:,} requests, P50 {milliseconds(p50)}, "
            f"P99 {milliseconds(p99)}, slowest {milliseconds(most)}"
        )

    svg = chart(
        series[::-1],
        exact(0, max(1, seconds[-1][0]), lambda v: f"{v:.0f} s"),
        logarithmic(low, high, milliseconds),
        title="Durations over time",
        limit=(goal * MEGA, f"target P99 {milliseconds(goal * MEGA)}"),
        start=outcome.load.warm_up,
        hover=hover,
    )
    return _figure("Durations over time", "By second of the intended sending.", series, svg)


def _distribution(outcome: Outcome, goal: float) -> str:
    results = outcome.results
    parts = [
        ("all", "c2", results.total()),
        ("hits", "c4", results.total(cache="hit")),
        ("misses", "c3", results.total(cache="miss")),
    ]
    parts = [part for part in parts if part[2].count]
    if not parts:
        return ""
    most = max(_resolved(histogram)[-1] for _, _, histogram in parts)
    series = [Series(name, colour, _curve(histogram)) for name, colour, histogram in parts]
    values = [y for one in series for _, y in one.points]
    svg = chart(
        series,
        nines(most),
        logarithmic(min(values), max(*values, goal * MEGA), milliseconds),
        title="Percentiles",
        limit=(goal * MEGA, f"{milliseconds(goal * MEGA)}"),
    )
    return _figure("Percentiles", "The share of requests that took at most so long.", series, svg)


def _resolved(histogram: Histogram) -> list[float]:
    """Return the percentages that the histogram has enough values for."""
    return [percent for percent in CURVE if (100 - percent) / 100 * histogram.count >= 1]


def _curve(histogram: Histogram) -> list[tuple[float, float]]:
    percents = _resolved(histogram)
    values = histogram.percentiles(*percents)
    return [(percent, max(1, value)) for percent, value in zip(percents, values, strict=True)]


def _answers(outcome: Outcome) -> str:
    seconds = sorted(outcome.results.seconds.items())
    series = [
        Series("answered", "c1", [(n, s.durations.count - s.failures) for n, s in seconds]),
        Series("from the cache", "c4", [(n, s.hits) for n, s in seconds]),
        Series("failed", "c2", [(n, s.failures) for n, s in seconds]),
    ]
    high = max(second.durations.count for _, second in seconds)

    def hover(number: float) -> str:
        second = outcome.results.seconds[int(number)]
        asked = max(1, second.hits + second.misses)
        return (
            f"second {number:.0f}: {second.durations.count:,} requests, "
            f"{second.hits / asked:.0%} hits, {second.failures:,} failed"
        )

    svg = chart(
        series,
        exact(0, max(1, seconds[-1][0]), lambda v: f"{v:.0f} s"),
        linear(0, high, lambda v: f"{v:,.0f}"),
        title="Requests a second",
        start=outcome.load.warm_up,
        hover=hover,
    )
    return _figure("Requests a second", "By outcome.", series, svg)


def _resources(outcome: Outcome) -> str:
    samples = [(max(0.0, second), memory) for second, memory in outcome.samples.memory if memory]
    names = sorted({pid for _, memory in samples for pid in memory})
    colours = ("c1", "c2", "c3", "c4", "c5")
    series = [
        Series(
            f"worker {index + 1}",
            colours[index % len(colours)],
            [(second, memory[pid] / MEGA) for second, memory in samples if pid in memory],
        )
        for index, pid in enumerate(names)
    ]
    high = max(y for one in series for _, y in one.points)
    svg = chart(
        series,
        exact(0, max(1, samples[-1][0]), lambda v: f"{v:.0f} s"),
        linear(0, high, lambda v: f"{v:,.0f} MB"),
        title="Memory of the workers",
        start=outcome.load.warm_up,
    )
    growth = "" if outcome.growth is None else f" {outcome.growth:+.1%} since the warm-up."
    return _figure(
        "Memory of the workers", f"Resident, shared pages included.{growth}", series, svg
    )


def limit(report: Report) -> str:
    """Return a plot of P50 and P99 over the rate, and a table of the steps, as HTML."""
    outcomes = sorted(report.outcomes, key=lambda outcome: outcome.load.rate)
    series = [
        Series(
            f"P{percent}",
            colour,
            [(o.load.rate, max(1, o.results.total().percentile(percent))) for o in outcomes],
        )
        for percent, colour in ((50, "c1"), (99, "c2"))
    ]
    values = [y for one in series for _, y in one.points]
    goal = report.mix.targets.limit_p99 * MEGA
    svg = chart(
        series,
        exact(0, outcomes[-1].load.rate, lambda v: f"{v:,.0f}/s"),
        logarithmic(min(values), max(*values, goal), milliseconds),
        title="Durations over the rate",
        limit=(goal, f"P99 {milliseconds(goal)}"),
    )
    rows = []
    for outcome in outcomes:
        p50, p99 = outcome.results.total().percentiles(50, 99)
        hit_rate = outcome.results.hit_rate()
        rows.append(
            [
                f"{outcome.load.rate:,.0f}/s",
                f"{outcome.results.rate():,.0f}/s",
                milliseconds(p50),
                milliseconds(p99),
                f"{outcome.results.success:.2%}",
                "" if hit_rate is None else f"{hit_rate:.0%}",
            ]
        )
    header = ["Rate", "answered", "P50", "P99", "success", "hits"]
    return _figure("Durations over the rate", "One point is one step.", series, svg) + (
        f"<section><h2>Steps</h2>{table(header, rows, {})}</section>"
    )
