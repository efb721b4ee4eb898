"""The watchdog of a worker rests between its looks."""

import socket

from pcf.http.watchdog import Watchdog
from scripts.chaos.servers import wait_for


def test_it_rests_between_two_looks_at_a_request():
    """What woke it is over as soon as it is awake; otherwise it would never rest again."""
    dog = Watchdog()
    wait_for("the first rest", lambda: dog._idle)
    ours, theirs = socket.socketpair()
    with ours, theirs, dog.over(lambda: ours, 60):
        wait_for("the rest between two looks", lambda: not dog._wake.is_set())
        assert not dog._idle
