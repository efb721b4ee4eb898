"""The report of a chaos run: durations, a table of the faults, violations."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path

from tests.chaos.ledger import OK, Sample
from tests.chaos.load import Load
from tests.chaos.verdict import Finding

BEGIN = "<!-- table of faults: written by make chaos REPORT=docs/operations.md -->"
END = "<!-- end of the table of faults -->"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of all values do not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0


def durations(samples: Sequence[Sample]) -> str:
    """Return the latencies of all requests and the generator's own delays as text."""
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
    """Print the findings; return whether there is no violation."""
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
    print(f"\n{total} requests, {good} succeeded ({good / max(total, 1):.2%});")
    created = sum(load.ledger.created.values())
    changed = sum(note.acknowledged for note in load.ledger.notes)
    print(f"{created} notes created, {changed} changes made;")
    print(
        f"{load.connections} connections opened, {load.resent} requests sent again because the "
        "service had not read them."
    )
    print(durations(load.samples))
    for text in violations[:50]:
        print(f"VIOLATION  {text}")
    print(f"{len(violations)} violations" if violations else "no violation")
    return not violations


def table(findings: Sequence[Finding], lost: Sequence[str]) -> str:
    """Return the findings as a table for docs/operations.md."""
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
    """Replace the text between the markers in ``path``."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
