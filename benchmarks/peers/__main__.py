"""Compare PCF with its peers, uncached, and print one table that says who is first where.

    make bench-peers                       3 rounds of 0.5 s a figure, one process each
    make bench-peers ROUNDS=9 SECONDS=2    longer
    make bench-peers WRITE=1               also write the table into docs/performance.md

Before the first round, every peer has to give the same data for the same queries. Within a round
every peer gets a slice of every figure, one peer after another, so that other work of the machine
affects all of them.
"""

import itertools
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.load.service import own_database
from benchmarks.peers.cases import CHECKED, PAGE_ASKS, Ask, Case, cases
from benchmarks.peers.measure import PeerError, ask, connect, one_by_one, side_by_side
from benchmarks.peers.report import CONNECTIONS, ONE, SOME, Figures, goals, notes, put, table
from benchmarks.peers.servers import PCF, Peer, Programs, Running
from scripts.project import ROOT
from scripts.supervise import Failure, Say, Stop, Supervisor

WARM_UP = 1.5  # seconds for each peer and case: Node compiles what it often executes
PAGE = ROOT / "docs" / "performance.md"


def plain(value: Any) -> Any:
    """Return an answer with all ids as texts, because the ids of some peers are numbers."""
    if isinstance(value, dict):
        return {
            key: str(inner) if key == "id" else plain(inner) for key, inner in sorted(value.items())
        }
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def answers(peer: Peer, port: int, asks: Sequence[Ask]) -> list[Any]:
    """Return the peer's data for all questions. Raises Failure for an error among them."""
    found = []
    with connect(port) as sock:
        for question in asks:
            answer = plain(json.loads(ask(sock, question.encode(integers=peer.integers))))
            if "errors" in answer:
                raise Failure(f"{peer.name} answers {question} with {str(answer)[:500]}")
            found.append(answer["data"])
    return found


def compare(ports: dict[Peer, int]) -> None:
    """Raise Failure unless every peer gives the data that PCF gives."""
    wanted = answers(PCF, ports[PCF], CHECKED)
    if not any(wanted[0].values()) or not all(wanted[-1].values()):
        raise Failure("the database has too few notes or users for the comparison")
    for peer, port in ports.items():
        pairs = zip(CHECKED, answers(peer, port, CHECKED), wanted, strict=True)
        for question, found, right in pairs:
            if found != right:
                raise Failure(
                    f"{peer.name} and {PCF.name} differ for {question}:\n"
                    f"{str(found)[:500]}\n{str(right)[:500]}"
                )


def notes_of_pages(port: int) -> list[str]:
    """Return the ids of all notes on the pages that requests ask for."""
    pages = answers(PCF, port, PAGE_ASKS)
    return sorted({note["id"] for page in pages for note in page["notes"]}, key=int)


def measure(
    ports: dict[Peer, int],
    asked: Sequence[Case],
    rounds: int,
    seconds: float,
    supervisor: Supervisor,
) -> Figures:
    """Measure every peer and case in every round, after a load that warms all of them up.

    The order of the peers turns round with each round.
    """
    figures: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    requests = {
        (case.name, integers): [one.encode(integers=integers) for one in case.asks]
        for case in asked
        for integers in (False, True)
    }
    for case, (peer, port) in itertools.product(asked, ports.items()):
        supervisor.check()
        side_by_side(port, requests[case.name, peer.integers], WARM_UP, SOME)
    supervisor.say("warmed up")
    for number in range(1, rounds + 1):
        turn = list(ports.items())[:: 1 if number % 2 else -1]
        for case, connections, (peer, port) in itertools.product(asked, CONNECTIONS, turn):
            supervisor.check()
            found = figure(port, requests[case.name, peer.integers], seconds, connections)
            figures[peer.name, case.name, connections].append(found)
        supervisor.say(f"round {number} of {rounds}")
    return figures


def figure(port: int, requests: Sequence[bytes], seconds: float, connections: int) -> float:
    """Return seconds for one connection, answers a second for more."""
    if connections == ONE:
        return one_by_one(port, requests, seconds)
    return side_by_side(port, requests, seconds, connections)


def run(supervisor: Supervisor, rounds: int, seconds: float, *, write: bool) -> None:
    """Install and start the peers, compare their answers, measure them, print the table."""
    programs = Programs(supervisor)
    programs.install()
    with tempfile.TemporaryDirectory(prefix="pcf-peers-") as folder, own_database() as database:
        env = database.environment(dict(os.environ))
        database.prepare(supervisor, env, Path(folder), tokens=1)
        try:
            running = Running(supervisor, programs, env)
            for peer in programs.peers:
                running.start(peer, Path(folder))
            compare(running.ports)
            supervisor.say("all peers give the same data")
            asked = cases(notes_of_pages(running.ports[PCF]))
            figures = measure(running.ports, asked, rounds, seconds, supervisor)
        finally:
            supervisor.stop()
    text = "\n\n".join([
        table(figures, {peer: programs.version(peer) for peer in programs.peers}),
        notes(rounds, seconds, running.workers, programs.left_out),
    ])  # fmt: skip
    print(text)
    for line in goals(figures, programs.peers):
        supervisor.say(line)
    if write:
        PAGE.write_text(put(PAGE.read_text(), text))


def main() -> int:
    """Run the comparison; return 0 after a complete one, 2 for wrong settings."""
    rounds, seconds = os.environ.get("ROUNDS") or "3", os.environ.get("SECONDS") or "0.5"
    if not rounds.isdigit() or not 0 < int(rounds) <= 100:
        print(f"ROUNDS is {rounds!r}; it must be a number from 1 to 100", file=sys.stderr)
        return 2
    try:
        length = float(seconds)
    except ValueError:
        length = 0.0
    if not 0.1 <= length <= 60:
        print(f"SECONDS is {seconds!r}; it must be a number from 0.1 to 60", file=sys.stderr)
        return 2
    write = os.environ.get("WRITE") == "1"
    with Supervisor(Say(sys.stderr, "[peers] ")) as supervisor:
        try:
            run(supervisor, int(rounds), length, write=write)
        except Stop as stop:
            return 128 + stop.signum
        except (Failure, PeerError, OSError) as error:
            supervisor.say(str(error))
            return 1
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
