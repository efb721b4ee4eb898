"""The database that queries read from, as far as time decides; tests/chaos has real replicas."""

from dataclasses import replace

import pytest

from pcf.http import read_sources
from pcf.http.read_sources import ReadSources, WalPositions
from pcf.timeouts import TimeoutContext
from pcf.viewer import Viewer


class Behind:
    """Replicas that never catch up."""

    members = ("a",)

    def have_replayed(self, _position):
        return False


class Forgetful(WalPositions):
    """Redis fails, so no position is remembered."""

    def remember(self, _viewer, _position):
        return False


@pytest.mark.blocks("replicas, after a write that Redis cannot remember", at_least=0.05, within=5)
@pytest.mark.parametrize(("left", "max_lag"), [(0.2, 600.0), (600.0, 0.1)])
def test_a_mutation_waits_for_replicas_within_its_deadline(settings, monkeypatch, left, max_lag):
    monkeypatch.setattr(read_sources, "primary_position", lambda: 5)
    replicas = replace(
        settings.PCF.replicas, max_lag=max_lag, check_interval=0.01, check_timeout=0.01
    )
    settings.PCF = replace(settings.PCF, replicas=replicas)
    timeout = TimeoutContext.start("http", left, reserve=left / 10)
    ReadSources(Behind(), Forgetful(None)).wrote(Viewer(1), timeout)
    assert timeout.remaining() > (300 if left > max_lag else 0)
