"""Compare PCF with its peers and print the table of the README.

    make bench-peers                     5 rounds, two workers each
    make bench-peers ROUNDS=9 WORKERS=1

Everything runs on one machine. Within a round every peer gets a slice of every case, so that other
work of the machine affects all of them. Before the first round, every peer has to give the same
data for the same queries.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.load.service import own_database
from benchmarks.peers.cases import CASES, CHECKED, Case
from benchmarks.peers.measure import CONNECTIONS, PeerError, ask, connect, one_by_one, side_by_side
from benchmarks.peers.servers import PEERS, Peer, Programs, Running, node_version
from scripts.project import ROOT
from scripts.supervise import Failure, Say, Stop, Supervisor

SLICE = 0.6  # seconds of each of the two measures

Figures = dict[
    tuple[str, str], list[tuple[float, float]]
]  # (peer, case) -> (seconds, answers a second)


def plain(value: Any) -> Any:
    """Return an answer with all ids as texts, because the ids of some peers are numbers."""
    if isinstance(value, dict):
        return {
            key: str(inner) if key == "id" else plain(inner) for key, inner in sorted(value.items())
        }
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def compare(running: Running) -> None:
    """Raise Failure unless every peer gives the data that PCF gives."""
    first = next(iter(running.ports))
    for question in CHECKED:
        wanted = None
        for peer, port in running.ports.items():
            if peer.kind == "wsgi" and question not in CHECKED[:11]:
                continue  # the WSGI applications answer two queries only
            with connect(port) as sock:
                found = plain(
                    json.loads(ask(sock, question.encode(no_store=True, integers=peer.integers)))
                )
            if wanted is None:
                wanted = found
                if "errors" in found:
                    raise Failure(f"{peer.name}: {str(found)[:500]}")
            elif found != wanted:
                raise Failure(
                    f"{peer.name} and {first.name} differ for {question}:\n"
                    f"{str(found)[:500]}\n{str(wanted)[:500]}"
                )


def encoded(case: Case, peer: Peer) -> Iterator[bytes]:
    """Yield the requests of a case as bytes."""
    return (
        question.encode(no_store=not case.cached, integers=peer.integers)
        for question in case.asks()
    )


def measure(running: Running, rounds: int, say: Say, supervisor: Supervisor) -> Figures:
    """Measure every peer and case in every round. A short first round warms up.

    Raises Failure when a figure is not above 0.
    """
    figures: Figures = defaultdict(list)
    for number in range(rounds + 1):
        for case in CASES:
            for peer, port in running.ports.items():
                if case.name not in peer.cases:
                    continue
                supervisor.check()
                seconds = SLICE if number else SLICE / 3
                pair = (
                    one_by_one(port, encoded(case, peer), seconds),
                    side_by_side(port, encoded(case, peer), seconds),
                )
                if min(pair) <= 0:
                    raise Failure(f"{peer.name}, {case.name}: no answers were measured: {pair}")
                if number:
                    figures[peer.name, case.name].append(pair)
        say(f"round {number} of {rounds}" if number else "warmed up")
    return figures


def cell(figures: Figures, peer: Peer, case: Case) -> str:
    """Return the median duration, its ratio to PCF's, and the answers a second.

    Raises Failure when PCF was not measured.
    """
    mine = figures.get((peer.name, case.name))
    base = _of_pcf(figures, case.name)
    if not mine:
        return "-"
    duration = statistics.median(seconds for seconds, _ in mine) * 1000
    rate = statistics.median(rate for _, rate in mine)
    # the ratio within each round, because the state of the machine differs between rounds
    ratio = statistics.median(a[0] / b[0] for a, b in zip(mine, base, strict=True))
    times = "" if peer == PEERS[0] else f" ({ratio:.2f}x)"
    return f"{duration:.2f} ms{times}, {rate:,.0f}/s"


def table(figures: Figures, running: Running, programs: Programs) -> str:
    """Return the comparison as Markdown."""
    peers = list(running.ports)
    lines = [
        "| | " + " | ".join(case.name for case in CASES) + " |",
        "|---" * (len(CASES) + 1) + "|",
    ]
    for peer in peers:
        version = programs.version(peer)
        name = f"{peer.name} {version}".strip()
        lines.append(f"| {name} | " + " | ".join(cell(figures, peer, c) for c in CASES) + " |")
    return "\n".join(lines)


def notes(running: Running, rounds: int) -> str:
    """Return the conditions of the comparison."""
    return (
        f"Median of {rounds} rounds: one request after another (ms, and how many times PCF's), and "
        f"answers a second over {CONNECTIONS} connections. {running.workers} processes each "
        f"(gunicorn with 8 threads, or Node {node_version()}), {os.cpu_count()} processors shared "
        f"with the client and PostgreSQL, Python {platform.python_version()}."
    )


def goals(figures: Figures) -> list[str]:
    """Return a line for each goal of the nested query: the ratio of durations and the goal.

    Raises Failure when PCF was not measured.
    """

    def ratio(name: str) -> float | None:
        peer = next(peer for peer in PEERS if peer.name.startswith(name))
        mine = _of_pcf(figures, "graph, uncached")
        theirs = figures.get((peer.name, "graph, uncached"))
        if not theirs:
            return None
        return statistics.median(a[0] / b[0] for a, b in zip(mine, theirs, strict=True))

    lines = []
    for name, most in (
        ("Mercurius", 0.8),
        ("graphene", 1 / 8),
        ("strawberry", 1 / 8),
        ("Undine", 1 / 8),
    ):
        found = ratio(name)
        if found is not None:
            word = "reached" if found <= most else "not reached"
            lines.append(f"graph, uncached: {found:.3f} of {name}'s time, goal {most:.3f}: {word}")
    return lines


def _of_pcf(figures: Figures, case: str) -> list[tuple[float, float]]:
    """Return PCF's figures of a case. Raises Failure when there are none, or one is 0."""
    found = figures.get((PEERS[0].name, case), [])
    if not found or min(min(pair) for pair in found) <= 0:
        raise Failure(f"{PEERS[0].name}, {case}: no answers were measured: {found}")
    return found


def run(supervisor: Supervisor, rounds: int) -> None:
    """Install and start the peers, compare their answers, measure them, print the table."""
    programs = Programs(supervisor)
    programs.install()
    with tempfile.TemporaryDirectory(prefix="pcf-peers-") as folder, own_database() as database:
        env = database.environment(dict(os.environ))
        database.prepare(supervisor, env, Path(folder), tokens=1)
        try:
            running = Running(supervisor, programs, env)
            for peer in PEERS:
                if peer.kind != "node" or programs.has_node:
                    running.start(peer, Path(folder))
            compare(running)
            supervisor.say("all peers give the same data")
            figures = measure(running, rounds, supervisor.say, supervisor)
        finally:
            supervisor.stop()
    print(table(figures, running, programs))
    print()
    print(notes(running, rounds))
    for line in goals(figures):
        supervisor.say(line)


def main() -> int:
    """Run the comparison; return 0 after a complete one."""
    text = os.environ.get("ROUNDS") or "5"
    if not text.isdigit() or not 0 < int(text) <= 100:
        print(f"ROUNDS is {text!r}; it must be a number from 1 to 100", file=sys.stderr)
        return 2
    with Supervisor(Say(sys.stderr, "[peers] ")) as supervisor:
        try:
            run(supervisor, int(text))
        except Stop as stop:
            return 128 + stop.signum
        except (Failure, PeerError, OSError) as error:
            supervisor.say(str(error))
            return 1
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
