"""The verdict of a chaos run: faults are injected, and every failure is judged by its fault."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from tests.chaos.faults import Fault
from tests.chaos.ledger import LATE, OK, WRONG, Sample, outcomes
from tests.chaos.stack import Stack

RECOVERY = 2.0  # seconds after a fault's end within which every request has to succeed again


@dataclass(frozen=True)
class Turn:
    """The time of a fault in a run, in monotonic seconds."""

    fault: Fault
    begun: float
    ended: float


@dataclass(frozen=True)
class Finding:
    """The failures that clients saw during a fault, and for how many seconds after its end."""

    turn: Turn
    asked: int
    seen: dict[str, int]  # failures by outcome
    slowest: float
    recovery: float
    violations: list[str]


def inject(stack: Stack, fault: Fault, seconds: float) -> Turn:
    """Inject a fault for ``seconds``."""
    begun = time.monotonic()
    with fault.during(stack):
        time.sleep(seconds)
    return Turn(fault, begun, time.monotonic())


def judge(
    turns: Sequence[Turn], samples: Sequence[Sample], recovery: float | None = RECOVERY
) -> list[Finding]:
    """Return a finding for every turn. A turn lasts until the next one begins.

    A failure more than ``recovery`` seconds after a fault's end is a violation, unless ``recovery``
    is None.
    """
    ends = [turn.begun for turn in turns[1:]] + [inf]
    return [
        # a request that was in flight when a fault began belongs to the fault
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
