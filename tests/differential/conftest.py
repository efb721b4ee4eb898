from collections.abc import Iterator

import pytest

from tests.differential.servers import Pair, both, database


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """Both servers."""
    with database() as address, both(address) as servers:
        yield servers
