"""Every fault, injected for real under load: what clients see, and that nothing committed is lost.

The same faults last longer in ``make chaos``. Here no measured time decides, except that a request
must not be far over its deadline.
"""

import pytest

from scripts.chaos.book import OK
from scripts.chaos.faults import FAULTS
from scripts.chaos.load import Load
from scripts.chaos.run import inject, judge
from scripts.chaos.servers import wait_for

HELD = 0.3  # seconds
RATE = 15
DEADLINE = 20.0  # seconds; the machine may be busy with something else


def succeeds(stack) -> bool:
    """Whether a little load is answered without any failure."""
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
    wait_for("requests under way", lambda: len(load.samples) >= 4)
    turn = inject(chaos_stack, fault, HELD)
    seen = len(load.samples)
    wait_for("requests after the fault", lambda: len(load.samples) >= seen + 4)
    samples = load.stop()
    wait_for("everything succeeds again", lambda: succeeds(chaos_stack))

    (finding,) = judge([turn], samples, recovery=None)
    assert finding.violations == []
    assert chaos_stack.lost() == []
    if name == "gunicorn_stopped":  # what was begun was answered
        assert chaos_stack.done_without_answer() == []
