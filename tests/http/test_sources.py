"""Where queries read from, where nothing but time decides; with real replicas in tests/faults."""

from dataclasses import replace

import pytest

from pcf.cache.positions import Positions
from pcf.http import sources
from pcf.http.sources import Sources
from pcf.timeouts import TimeoutContext
from pcf.viewer import Viewer


class Behind:
    """Replicas that never catch up."""

    members = ("a",)

    def all_have(self, _position):
        return False


class Forgetful(Positions):
    """Redis took nothing of it."""

    def remember(self, _viewer, _position):
        return False


@pytest.mark.blocks("replicas, after a write that Redis cannot remember")
@pytest.mark.parametrize(("left", "max_lag"), [(0.2, 600.0), (600.0, 0.1)])
def test_a_mutation_waits_for_replicas_within_its_deadline(settings, monkeypatch, left, max_lag):
    monkeypatch.setattr(sources, "primary_position", lambda: 5)
    replicas = replace(
        settings.PCF.replicas, max_lag=max_lag, check_interval=0.01, check_timeout=0.01
    )
    settings.PCF = replace(settings.PCF, replicas=replicas)
    timeout = TimeoutContext.start("http", left, reserve=left / 10)
    Sources(Behind(), Forgetful(None)).wrote(Viewer(1), timeout)
    assert timeout.remaining() > (300 if left > max_lag else 0)
