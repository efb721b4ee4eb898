from collections.abc import Iterator

import pytest

from tests.databases import seeded_database
from tests.differential.servers import Pair, both


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """Both servers, for all tests."""
    with seeded_database("differential") as address, both(address) as servers:
        yield servers
