"""The table of the comparison, what the figures mean, and the goals."""

import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.peers.cases import cases
from benchmarks.peers.servers import MERCURIUS, PCF, YOGA, Peer, node_version
from scripts.supervise import Failure

ONE, FEW, SOME, MANY = 1, 2, 16, 64  # connections; over one the measure is a duration
CONNECTIONS = (ONE, FEW, SOME, MANY)
TIE = 1.05  # a peer that is behind the first by less wins with it

GRAPH, NOTE, PAGE = (case.name for case in cases(()))

Row = tuple[str, int]  # a case and a number of connections
Figures = Mapping[tuple[str, str, int], Sequence[float]]  # peer, case, connections -> by round


@dataclass(frozen=True, slots=True)
class Goal:
    """The most that PCF's duration may be, as a multiple of a peer's."""

    case: str
    peer: Peer
    most: float


GOALS = (
    Goal(NOTE, MERCURIUS, 1.2),
    Goal(PAGE, MERCURIUS, 1.0),
    Goal(GRAPH, MERCURIUS, 0.6),
    Goal(GRAPH, YOGA, 0.8),
)
LEAST_RATE = 4_000  # answers a second to one note over SOME connections


def of(figures: Figures, peer: Peer, row: Row) -> Sequence[float]:
    """Return the figures of a peer by round. Raises Failure if there are none or one is 0."""
    found = figures.get((peer.name, *row), ())
    if not found or min(found) <= 0:
        raise Failure(f"{peer.name}, {label(row)}: nothing was measured: {list(found)}")
    return found


def ratio(figures: Figures, row: Row, one: Peer, other: Peer) -> float:
    """Return the median of one peer's figures divided by another's of the same round.

    The state of the machine differs between rounds more than within a round.
    """
    pairs = zip(of(figures, one, row), of(figures, other, row), strict=True)
    return statistics.median(a / b for a, b in pairs)


def label(row: Row) -> str:
    """Return the name of a row."""
    case, connections = row
    return f"{case}, ms over 1" if connections == ONE else f"{case}, answers/s over {connections}"


def winners(figures: Figures, peers: Sequence[Peer], row: Row) -> list[Peer]:
    """Return the best peer, then those that are behind it by less than TIE."""

    def behind(peer: Peer) -> float:
        found = ratio(figures, row, peer, best)
        return found if row[1] == ONE else 1 / found

    choose = min if row[1] == ONE else max
    best = choose(peers, key=lambda peer: statistics.median(of(figures, peer, row)))
    return [best, *(peer for peer in peers if peer != best and behind(peer) < TIE)]


def cell(figures: Figures, peer: Peer, row: Row) -> str:
    """Return the median of a peer's figures, and PCF's divided by it."""
    found = statistics.median(of(figures, peer, row))
    text = f"{found * 1000:.2f}" if row[1] == ONE else f"{found:,.0f}"
    return text if peer == PCF else f"{text} ({ratio(figures, row, PCF, peer):.2f})"


def table(figures: Figures, versions: Mapping[Peer, str]) -> str:
    """Return the comparison as Markdown; ``versions`` has the peers in their order."""
    peers = list(versions)
    heads = [f"{peer.name} {version}".strip() for peer, version in versions.items()]
    lines = [f"| | {' | '.join(heads)} | first |", "|---" * (len(peers) + 2) + "|"]
    for case in (GRAPH, NOTE, PAGE):
        for connections in CONNECTIONS:
            row = (case, connections)
            cells = [label(row), *(cell(figures, peer, row) for peer in peers)]
            cells.append(", ".join(peer.name for peer in winners(figures, peers, row)))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def notes(rounds: int, seconds: float, workers: str, left_out: Sequence[str]) -> str:
    """Return the conditions of the comparison."""
    threads = os.environ.get("THREADS") or "8"
    python = f"gunicorn with {threads} threads, Python {platform.python_version()}"
    node = f"; Node {node_version()}" if node_version() else ""
    processes = "One process" if workers == "1" else f"{workers} processes"
    sentences = [
        f"Medians of {rounds} rounds of {seconds:g} s a figure, in turns.",
        "The ratio in brackets is PCF's figure divided by the peer's of the same round.",
        "PCF is faster where the ratio is below 1 for durations and above 1 for answers/s.",
        f"A peer that is behind the first by less than {TIE - 1:.0%} stands beside it.",
        f"{processes} each ({python}{node}).",
        f"PostgreSQL and the client share {os.cpu_count()} processors with them.",
        *(f"{reason}." for reason in left_out),
    ]
    return "\n".join(sentences)


def goals(figures: Figures, peers: Sequence[Peer]) -> list[str]:
    """Return a line for each goal whose peer was measured."""
    lines = []
    for goal in GOALS:
        if goal.peer in peers:
            found = ratio(figures, (goal.case, ONE), PCF, goal.peer)
            verdict = "reached" if found <= goal.most else "not reached"
            what = f"{goal.case}: {found:.2f} of {goal.peer.name}'s time"
            lines.append(f"{what}, goal {goal.most:.2f}: {verdict}")
    few, some, many = (
        statistics.median(of(figures, PCF, (NOTE, connections)))
        for connections in (FEW, SOME, MANY)
    )
    verdict = "reached" if some >= LEAST_RATE else "not reached"
    lines.append(f"{NOTE}: {some:,.0f}/s over {SOME}, goal {LEAST_RATE:,}: {verdict}")
    verdict = "reached" if many >= few else "not reached"
    lines.append(f"{NOTE}: {many:,.0f}/s over {MANY}, goal {few:,.0f} (over {FEW}): {verdict}")
    return lines


def put(page: str, text: str) -> str:
    """Return ``page`` with ``text`` between its markers; Failure without markers."""
    markers = re.compile(r"(<!-- bench-peers -->\n).*?(<!-- end of bench-peers -->)", re.DOTALL)
    if not markers.search(page):
        raise Failure("the page has no markers for the comparison with peers")
    return markers.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page, count=1)
