"""Load the service steadily while one fault after another is injected; print a report.

    make chaos
    make chaos MINUTES=1 FAULTS="redis_killed replica_lagging"

The environment holds the options:

* MINUTES: the length of the run (10).
* RATE: requests a second (20).
* DEADLINE: seconds that a request has (2.5).
* FAULTS: names of functions of ``faults``, between spaces; all of them by default.
* REPORT: a file whose table of faults is replaced (docs/operations.md).
* CHAOS_LOG: a file for a copy of gunicorn's log.
* POOLER: ``pgbouncer`` puts PgBouncer in transaction mode before PostgreSQL.

The service has more threads than RATE x DEADLINE, so that waiting requests do not use up the
threads. The exit status is 1 after any violation: a request exceeded its deadline, an answer was
wrong, a committed change was lost, or a request failed more than two seconds after a fault's end.

A request's time begins when the generator sends the request and ends when the last byte of the
answer arrives. The report names the generator's own delays separately.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.folders import server_account, throwaway
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.ledger import OK
from tests.chaos.load import Load
from tests.chaos.report import report, table, write_table
from tests.chaos.stack import Stack, running_stack
from tests.chaos.verdict import RECOVERY, Finding, Turn, inject, judge

SHARE = 0.4  # share of a fault's turn in which the fault lasts
LONGEST = 12.0  # seconds that a fault lasts at most


def chaos(
    stack: Stack, load: Load, faults: Sequence[Fault], seconds: float
) -> tuple[list[Finding], list[str]]:
    """Inject the faults in turn within ``seconds``; return the findings and the lost changes."""
    each = seconds / (len(faults) + 1)
    load.start()
    time.sleep(each / 2)  # a time without faults
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


def main() -> int:
    """Run the faults that the environment selects; return the exit status."""
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
