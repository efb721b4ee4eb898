"""What the tests of scripts/ share."""

import sys
from collections.abc import Iterator

import pytest

from scripts.supervise import Say, Supervisor


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """A supervisor that leaves pytest's signal handlers alone."""
    it = Supervisor(Say(sys.stderr))
    yield it
    it.stop()
