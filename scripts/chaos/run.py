"""``make chaos``: a steady load while one fault after another is injected; a report; a verdict.

MINUTES (10) how long, RATE (20) requests a second, DEADLINE (2.5) seconds a request has; the
service has more threads than RATE x DEADLINE, as any has to that waits for a fault's end. Exits
with 1 when a request was over its deadline, an answer was wrong, something committed was lost, or
success was not back at 100 % within two seconds of a fault's end.

A request's time begins when it is sent and ends when the last byte of its answer arrives. What the
generator itself adds, before and after, is no part of it; the report names it.

FAULTS names some of the faults only (functions of ``faults``). With REPORT the table in that file
is written anew (docs/operations.md). With POOLER=pgbouncer the service reaches PostgreSQL through
PgBouncer in transaction mode.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path

from scripts.chaos.book import LATE, OK, WRONG, Sample, outcomes
from scripts.chaos.faults import FAULTS, Fault
from scripts.chaos.load import Load
from scripts.chaos.stack import Stack, running_stack
from scripts.folders import server_account, throwaway

RECOVERY = 2.0  # seconds within which everything has to succeed again
SHARE = 0.4  # of a fault's turn in which the fault lasts
BEGIN = "<!-- table of faults: written by make chaos REPORT=docs/operations.md -->"
END = "<!-- end of the table of faults -->"
LONGEST = 12.0  # seconds a fault lasts at most


@dataclass(frozen=True)
class Turn:
    """When a fault was there: monotonic seconds."""

    fault: Fault
    begun: float
    ended: float


@dataclass(frozen=True)
class Finding:
    """What clients saw of a fault, and how long they still saw it after its end (seconds)."""

    turn: Turn
    asked: int
    seen: dict[str, int]  # what was not a success
    slowest: float
    recovery: float
    violations: list[str]


def inject(stack: Stack, fault: Fault, seconds: float) -> Turn:
    """Have the fault for ``seconds``."""
    begun = time.monotonic()
    with fault.during(stack):
        time.sleep(seconds)
    return Turn(fault, begun, time.monotonic())


def judge(
    turns: Sequence[Turn], samples: Sequence[Sample], recovery: float | None = RECOVERY
) -> list[Finding]:
    """A finding for every turn, which reaches to the beginning of the next one.

    What fails more than ``recovery`` seconds after a fault's end is a violation; None: never.
    """
    ends = [turn.begun for turn in turns[1:]] + [inf]
    return [
        # whatever was under way when a fault began is that fault's
        _judge(turn, [it for it in samples if turn.begun <= it.sent + it.seconds < end], recovery)
        for turn, end in zip(turns, ends, strict=True)
    ]


def _judge(turn: Turn, samples: list[Sample], recovery: float | None) -> Finding:
    violations = []
    failed = [sample for sample in samples if sample.outcome != OK]
    normal = inf if recovery is None else turn.ended + recovery
    late = [sample for sample in failed if sample.sent > normal]
    for sample in failed:
        if sample.outcome in {WRONG, LATE}:
            violations.append(f"{sample.outcome}: {sample.kind}: {sample.detail}")
        elif sample.outcome not in turn.fault.seen:
            violations.append(f"unexpected {sample.outcome}: {sample.kind}: {sample.detail}")
    violations += [
        f"{it.sent - turn.ended:.1f} s after its end: {it.outcome}: {it.kind}: {it.detail}"
        for it in late
    ]
    after = [sample.sent - turn.ended for sample in failed if sample.sent > turn.ended]
    return Finding(
        turn,
        len(samples),
        dict(sorted(outcomes(failed).items())),
        max((sample.seconds for sample in samples), default=0.0),
        max(after, default=0.0),
        violations,
    )


def chaos(
    stack: Stack, load: Load, faults: Sequence[Fault], seconds: float
) -> tuple[list[Finding], list[str]]:
    """The faults in turn within ``seconds``: what was seen of each, and what was lost."""
    each = seconds / (len(faults) + 1)
    load.start()
    time.sleep(each / 2)  # nothing is wrong yet
    turns: list[Turn] = []
    for fault in faults:
        turn = inject(stack, fault, min(LONGEST, each * SHARE))
        turns.append(turn)
        print(f"{turn.ended - turn.begun:6.1f} s  {fault.name}", flush=True)
        time.sleep(max(RECOVERY + 1.0, turn.begun + each - time.monotonic()))
    samples = load.stop()
    findings = judge(turns, samples)
    before = [it for it in samples if it.sent + it.seconds < turns[0].begun and it.outcome != OK]
    lost = stack.lost()
    lost += [f"before any fault: {it.outcome}: {it.kind}: {it.detail}" for it in before]
    return findings, lost


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all values do not exceed; 0 of no values."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0


def durations(samples: Sequence[Sample]) -> str:
    """The latencies of all requests, and what the generator itself was late by."""
    measured = {
        "latency from sending to the last byte": [it.seconds for it in samples],
        "latency from the due time to the last byte": [it.since_due for it in samples],
        "the generator's own lateness in sending": [it.overdue for it in samples],
        "the generator's own lateness in reading": [it.unread for it in samples],
    }
    lines = [f"{'seconds':44} {'p50':>7} {'p99':>7} {'max':>7}"]
    for name, values in measured.items():
        columns = (percentile(values, share) for share in (0.5, 0.99, 1.0))
        lines.append(f"{name:44} " + " ".join(f"{value:7.3f}" for value in columns))
    return "\n".join(lines)


def report(findings: Sequence[Finding], lost: Sequence[str], load: Load) -> bool:
    """Print what happened; whether it was as it has to be."""
    print(f"\n{'fault':54} {'s':>5} {'asked':>6} {'slowest':>8} {'normal':>7}  seen")
    for finding in findings:
        turn = finding.turn
        seen = ", ".join(f"{count} x {name}" for name, count in finding.seen.items()) or "nothing"
        print(
            f"{turn.fault.name:54} {turn.ended - turn.begun:5.1f} {finding.asked:6}"
            f" {finding.slowest:6.2f} s {finding.recovery:5.2f} s  {seen}"
        )
    violations = [*lost]
    violations += [f"{it.turn.fault.name}: {text}" for it in findings for text in it.violations]
    total = len(load.samples)
    good = sum(sample.outcome == OK for sample in load.samples)
    print(f"\n{total} requests, {good} answered well ({good / max(total, 1):.2%});")
    created = sum(load.book.created.values())
    changed = sum(note.acknowledged for note in load.book.notes)
    print(f"{created} notes created, {changed} changes made;")
    print(f"{load.connections} connections opened, {load.resent} requests sent again unread.")
    print(durations(load.samples))
    for text in violations[:50]:
        print(f"VIOLATION  {text}")
    print(f"{len(violations)} violations" if violations else "no violation")
    return not violations


def table(findings: Sequence[Finding], lost: Sequence[str]) -> str:
    """The findings for docs/operations.md."""
    lines = [
        "| fault | lasted | what clients saw | slowest answer | normal again after | lost |",
        "|---|---|---|---|---|---|",
    ]
    for it in findings:
        seen = ", ".join(f"{count} {name}" for name, count in it.seen.items())
        lines.append(
            f"| {it.turn.fault.name} | {it.turn.ended - it.turn.begun:.1f} s"
            f" | {seen or 'nothing'} (of {it.asked}) | {it.slowest:.1f} s"
            f" | {it.recovery:.1f} s | {'nothing' if not lost else '; '.join(lost)} |"
        )
    return "\n".join(lines)


def write_table(path: Path, text: str) -> None:
    """Replace what stands between the markers in ``path``."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main() -> int:
    """Run; the exit status."""
    seconds = 60 * float(os.environ.get("MINUTES") or 10)
    rate = float(os.environ.get("RATE") or 20)
    deadline = float(os.environ.get("DEADLINE") or 2.5)
    chosen = os.environ.get("FAULTS", "").split() or list(FAULTS)
    faults = [FAULTS[name] for name in chosen]
    pooler = os.environ.get("POOLER") == "pgbouncer"
    with throwaway(server_account()) as folder, running_stack(folder, pooler=pooler) as stack:
        load = stack.load(rate, deadline)
        findings, lost = chaos(stack, load, faults, seconds)
        well = report(findings, lost, load)
        if path := os.environ.get("REPORT"):
            write_table(Path(path), table(findings, lost))
        if log := os.environ.get("CHAOS_LOG"):
            Path(log).write_bytes(stack.service.log.read_bytes())
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
