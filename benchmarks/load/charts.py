"""Charts as inline SVG. The report's style sheet has the colours and fonts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 720, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 34
HOVERS = 400  # columns with a tooltip at most

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart. ``colour`` is a class of the style sheet, c1 to c5."""

    name: str
    colour: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A range with its ticks. ``place`` maps a value to 0 to 1."""

    ticks: Sequence[tuple[float, str]]
    place: Callable[[float], float]


def linear(low: float, high: float, label: Callable[[float], str], count: int = 5) -> Axis:
    """Return an axis with even steps from ``low`` to at least ``high``."""
    span = max(high - low, 1e-9)
    rough = span / count
    size = 10 ** floor(log10(rough))
    step = next(size * n for n in (1, 2, 2.5, 5, 10) if size * n >= rough * 0.999)
    last = ceil((high - low) / step - 1e-9)
    top = low + last * step
    ticks = [(low + step * n, label(low + step * n)) for n in range(last + 1)]
    return Axis(ticks=ticks, place=lambda value: (value - low) / (top - low))


def exact(low: float, high: float, label: Callable[[float], str]) -> Axis:
    """Return an axis as ``linear`` does that ends exactly at ``high``."""
    ticks = [tick for tick in linear(low, high, label, 8).ticks if tick[0] <= high]
    span = max(high - low, 1e-9)
    return Axis(ticks=ticks, place=lambda value: (value - low) / span)


def logarithmic(low: float, high: float, label: Callable[[float], str]) -> Axis:
    """Return an axis with ticks at 1, 2 and 5 times the powers of ten; ``low`` is above 0."""
    steps = [
        digit * 10.0**power
        for power in range(floor(log10(low)) - 1, ceil(log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    below = [step for step in steps if step <= low * 1.0001]
    above = [step for step in steps if step >= high * 0.9999]
    bottom, top = below[-1], above[0]
    if top <= bottom:
        top = bottom * 10
    shown = [step for step in steps if bottom <= step <= top]
    if len(shown) > 10:
        shown = [step for step in shown if str(step).lstrip("0.").startswith("1")]
    span = log10(top / bottom)
    return Axis(
        ticks=[(step, label(step)) for step in shown],
        place=lambda value: log10(max(value, bottom) / bottom) / span,
    )


def nines(most: float) -> Axis:
    """Return an axis of percentages up to ``most`` on which every further nine is as wide."""
    ticks = [(0.0, "0 %"), (50.0, "50"), (90.0, "90"), (99.0, "99"), (99.9, "99.9")]
    ticks += [(99.99, "99.99"), (99.999, "99.999")]
    span = -log10(1 - most / 100)
    return Axis(
        ticks=[tick for tick in ticks if tick[0] <= most],
        place=lambda value: -log10(1 - min(value, most) / 100) / span,
    )


def chart(
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    title: str,
    limit: tuple[float, str] | None = None,
    start: float | None = None,
    hover: Callable[[float], str] | None = None,
) -> str:
    """Return a line chart as SVG.

    ``limit`` is a value with a name, drawn as a horizontal line. The part before ``start``, the
    warm-up, is grey. ``hover`` returns the tooltip at an x value.
    """

    def at_x(value: float) -> float:
        return LEFT + x.place(value) * (WIDTH - LEFT - RIGHT)

    def at_y(value: float) -> float:
        return HEIGHT - BOTTOM - min(1.0, max(0.0, y.place(value))) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>']
    if start:
        parts.append(
            f'<rect class="warm" x="{LEFT}" y="{TOP}" width="{at_x(start) - LEFT:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"/>'
        )
    for value, label in y.ticks:
        where = at_y(value)
        parts.append(_across("grid", where))
        parts.append(f'<text class="y" x="{LEFT - 8}" y="{where + 4:.1f}">{escape(label)}</text>')
    for value, label in x.ticks:
        parts.append(
            f'<text class="x" x="{at_x(value):.1f}" y="{HEIGHT - 12}">{escape(label)}</text>'
        )
    if limit:
        where, name = at_y(limit[0]), escape(limit[1])
        parts.append(_across("limit", where))
        parts.append(
            f'<text class="limit" x="{WIDTH - RIGHT - 4}" y="{where - 5:.1f}">{name}</text>'
        )
    for one in series:
        path = " ".join(f"{at_x(px):.1f},{at_y(py):.1f}" for px, py in one.points)
        parts.append(f'<polyline class="{one.colour}" points="{path}"/>')
        if len(one.points) <= 24:
            parts += [
                f'<circle class="{one.colour}" cx="{at_x(px):.1f}" cy="{at_y(py):.1f}" r="3"/>'
                for px, py in one.points
            ]
    if hover and series and series[0].points:
        parts += _hovers([px for px, _ in series[0].points], at_x, hover)
    return "".join([*parts, "</svg>"])


def _across(name: str, where: float) -> str:
    """Return a horizontal line at the height ``where``."""
    end = WIDTH - RIGHT
    return f'<line class="{name}" x1="{LEFT}" x2="{end}" y1="{where:.1f}" y2="{where:.1f}"/>'


def _hovers(
    values: Sequence[float], at_x: Callable[[float], float], hover: Callable[[float], str]
) -> list[str]:
    every = max(1, len(values) // HOVERS)
    chosen = list(values)[::every]
    width = max(2.0, (WIDTH - LEFT - RIGHT) / max(1, len(chosen)))
    return [
        f'<rect class="hover" x="{at_x(value) - width / 2:.1f}" y="{TOP}" width="{width:.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(hover(value))}</title></rect>'
        for value in chosen
    ]


def legend(series: Sequence[Series]) -> str:
    """Return the names of the lines with their colours as HTML."""
    return "".join(f'<span class="key {one.colour}">{escape(one.name)}</span>' for one in series)
