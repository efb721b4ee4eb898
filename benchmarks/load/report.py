"""The report of a load test: one HTML file without references, and its numbers for programs."""

import os
import platform
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from benchmarks.load import plots
from benchmarks.load.checks import Check, milliseconds, verdict
from benchmarks.load.outcome import Outcome, Report
from benchmarks.load.tables import table

MEGA = 1_000_000
PERCENTS = (50.0, 90.0, 99.0, 99.9, 100.0)


def write(path: Path, report: Report) -> dict[str, Any]:
    """Write the page to ``path`` and return its numbers."""
    numbers = summary(report)
    template = Template(Path(__file__).with_name("report.html").read_text())
    outcome = report.last
    steps = len(report.outcomes) > 1 or report.limit is not None
    passed = report.limit is not None if steps else verdict(outcome.checks)
    state = (
        ("open", "cut short")
        if outcome.interrupted
        else ("met", "met")
        if passed
        else ("missed", "missed")
    )
    if steps and not outcome.interrupted:
        state = ("met", "limit") if passed else ("missed", "limit")
    title = (
        f"{report.limit or 0:,.0f} requests/s with P99 below "
        f"{milliseconds(report.mix.targets.limit_p99 * MEGA)}"
        if steps
        else f"{outcome.load.rate:,.0f} requests/s for {outcome.load.seconds:,.0f} s"
    )
    sections = [_checks(outcome.checks)] if not steps else [plots.limit(report)]
    sections.append(plots.over_time(outcome, report.mix.targets.p99))
    sections.append(_kinds(outcome))
    sections.append('<div class="grid2">' + _errors(outcome) + _loaders(outcome) + "</div>")
    path.write_text(
        template.substitute(
            title=title,
            verdict_class=state[0],
            verdict=state[1],
            subtitle=escape(_subtitle(report)),
            tiles="".join(_tile(*tile) for tile in _tiles(report, numbers)),
            sections="\n".join(sections),
        )
    )
    return numbers


def summary(report: Report) -> dict[str, Any]:
    """Return the numbers of the report. Durations are in milliseconds."""
    return {
        "when": report.when.isoformat(timespec="seconds"),
        "service": report.service,
        "machine": f"{os.cpu_count()} processors, Python {platform.python_version()}",
        "limit": report.limit,
        "worker_bytes_alone": sorted(report.unshared.values()),
        "loads": [_numbers(outcome) for outcome in report.outcomes],
    }


def _numbers(outcome: Outcome) -> dict[str, Any]:
    results = outcome.results
    total = results.total()

    def of(kind: int | None = None, cache: str | None = None) -> dict[str, float]:
        histogram = results.total(kind, cache)
        values = histogram.percentiles(*PERCENTS)
        return {
            "count": histogram.count,
            "mean": round(histogram.mean / 1000, 3),
            **{f"p{p:g}": v / 1000 for p, v in zip(PERCENTS, values, strict=True)},
        }

    return {
        "rate": outcome.load.rate,
        "seconds": outcome.load.seconds,
        "answered_per_second": round(results.rate(), 1),
        "requests": total.count,
        "success": results.success,
        "outcomes": dict(results.outcomes),
        "hit_rate": results.hit_rate(),
        "all": of(),
        "hits": of(cache="hit"),
        "misses": of(cache="miss"),
        "kinds": {kind.name: of(number) for number, kind in enumerate(results.kinds)},
        "batch_efficiency": outcome.batch_efficiency,
        "memory_growth": outcome.growth,
        "workers_processor_a_request": _each(_share(outcome.samples.workers), outcome),
        "workers_processor_share": _share(outcome.samples.workers),
        "generator_processor_share": results.processor / outcome.load.whole,
        "own_lateness_p99": results.lateness.percentile(99) / 1000,
        "checks": [asdict(check) for check in outcome.checks],
    }


def _share(samples: list[tuple[float, float]]) -> float | None:
    """Return the number of processors that were busy between the first and the last sample."""
    if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
        return None
    return (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0])


def _each(share: float | None, outcome: Outcome) -> float | None:
    """Return the milliseconds of processor time that the workers spent on one request."""
    return None if share is None else share * 1000 / outcome.load.rate


def _subtitle(report: Report) -> str:
    load = report.last.load
    return (
        f"{report.when:%d %B %Y, %H:%M} UTC. Service: {report.service}. "
        f"{os.cpu_count()} processors, shared with the generator (processes: "
        f"{load.count_processes}, connections: {load.connections}). Durations run from the "
        f"intended time of sending; the first {load.warm_up:g} s, with a "
        f"rising rate, are not counted."
    )


def _tiles(report: Report, numbers: dict[str, Any]) -> list[tuple[str, str]]:
    outcome = report.last
    results = outcome.results
    p50, p99, p999 = results.total().percentiles(50, 99, 99.9)
    hit_rate = results.hit_rate()
    shown = next(load for load in numbers["loads"] if load["rate"] == outcome.load.rate)
    workers = shown["workers_processor_share"]
    tiles = [
        (f"{results.rate():,.0f}/s", "answered without an error"),
        (milliseconds(p50), "P50"),
        (milliseconds(p99), "P99"),
        (milliseconds(p999), "P99.9"),
        (f"{results.success:.2%}", f"of {results.total().count:,} succeeded"),
        ("unknown" if hit_rate is None else f"{hit_rate:.1%}", "of the queries were hits"),
    ]
    if outcome.batch_efficiency:
        tiles.append((f"{outcome.batch_efficiency:.1f}", "keys a batch of the loaders"))
    if workers is not None and outcome.samples.memory[-1][1]:
        tiles.append((f"{workers:.2f}", "processors kept busy by the workers"))
        each = list(report.unshared.values())
        if each:
            tiles.append((f"{sum(each) / len(each) / MEGA:.0f} MB", "a worker's own memory"))
    tiles.append((f"{shown['generator_processor_share']:.2f}", "processors for the generator"))
    return tiles


def _tile(value: str, what: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'


def _checks(checks: list[Check]) -> str:
    words = {True: ("met", "good"), False: ("missed", "bad"), None: ("not judged", "")}
    rows = [[check.name, check.wanted, check.measured, words[check.passed][0]] for check in checks]
    classes = {(y, 3): words[check.passed][1] for y, check in enumerate(checks)}
    header = ["Check", "target", "measured", "verdict"]
    return f"<section><h2>Verdict</h2>{table(header, rows, classes)}</section>"


def _kinds(outcome: Outcome) -> str:
    results = outcome.results
    rows: list[list[str]] = []
    classes: dict[tuple[int, int], str] = {}
    order = sorted(range(len(results.kinds)), key=lambda n: -results.total(n).count)
    for number in order:
        histogram = results.total(number)
        if not histogram.count:
            continue
        rate = results.hit_rate(number)
        misses = results.total(number, "miss")
        values = histogram.percentiles(50, 99, 99.9, 100)
        failures = results.failures[number]
        classes[len(rows), 8] = "bad" if failures else ""
        rows.append(
            [
                results.kinds[number].name,
                f"{histogram.count:,}",
                "" if rate is None else f"{rate:.0%}",
                *(milliseconds(value) for value in values),
                milliseconds(misses.percentile(50)) if misses.count else "",
                f"{failures:,}",
            ]
        )
    header = ["Request", "count", "hits", "P50", "P99", "P99.9", "max", "P50 of misses", "failed"]
    return f"<section><h2>By request</h2>{table(header, rows, classes)}</section>"


def _errors(outcome: Outcome) -> str:
    rows = [
        [name, f"{count:,}", f"{count / max(1, sum(outcome.results.outcomes.values())):.3%}"]
        for name, count in outcome.results.outcomes.most_common()
    ]
    body = table(["Outcome", "requests", "share"], rows, {})
    return f"<section><h2>Outcomes</h2>{body}</section>"


def _loaders(outcome: Outcome) -> str:
    rows = [
        [loader, f"{loads:,}", f"{batches:,}", f"{loads / batches:.1f}"]
        for loader, loads, batches in sorted(outcome.loaders, key=lambda row: -row[1])
    ]
    body = table(["Loader", "keys", "batches", "keys a batch"], rows, {})
    if not rows:
        body = '<p class="soft">/metrics could not be read.</p>'
    return f"<section><h2>Loaders</h2>{body}</section>"
