"""Every fault, injected under load: the outcomes that clients see, and no lost commit.

``make chaos`` injects the same faults for longer. These tests judge no measured time, except that
no request may exceed its deadline by far.
"""

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.ledger import OK
from tests.chaos.load import Load
from tests.chaos.servers import wait_for
from tests.chaos.verdict import inject, judge

HELD = 0.3  # seconds
RATE = 15
DEADLINE = 20.0  # seconds; the machine may be busy with something else


def succeeds(stack) -> bool:
    """Return whether a short load has no failure."""
    load = stack.load(RATE, DEADLINE)
    load.start()
    wait_for("some requests", lambda: len(load.samples) >= 8)
    samples = load.stop()
    return all(sample.outcome == OK for sample in samples)


@pytest.mark.parametrize("name", FAULTS)
def test_fault(chaos_stack, name):
    fault = FAULTS[name]
    deadline = 2.5 if name == "budget_ignored" else DEADLINE
    load: Load = chaos_stack.load(RATE, deadline)
    load.start()
    wait_for("requests in flight", lambda: len(load.samples) >= 4)
    turn = inject(chaos_stack, fault, HELD)
    seen = len(load.samples)
    wait_for("requests after the fault", lambda: len(load.samples) >= seen + 4)
    samples = load.stop()
    wait_for("everything succeeds again", lambda: succeeds(chaos_stack))

    (finding,) = judge([turn], samples, recovery=None)
    assert finding.violations == []
    assert chaos_stack.lost() == []
    if name == "gunicorn_stopped":  # every request that was begun has an answer
        assert chaos_stack.done_without_answer() == []
