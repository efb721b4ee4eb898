"""The fixtures of the tests of scripts/."""

import sys
from collections.abc import Iterator

import pytest

from scripts.supervise import Say, Supervisor


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """A supervisor that does not replace pytest's signal handlers."""
    it = Supervisor(Say(sys.stderr))
    yield it
    it.stop()
