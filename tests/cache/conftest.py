"""A Redis of a test's own in the place of everybody's."""

from dataclasses import replace
from itertools import count

import pytest
from django.db import connection

from pcf.cache.gate import gate
from tests.cache.redis_server import RedisServer

_numbers = count(1)


@pytest.fixture
def redis_server(transactional_db, tmp_path, settings):
    """The Redis of everything in this test; nothing is owed to it yet."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM pcf_touch")
    server = RedisServer(tmp_path)
    server.start()
    alias = f"own-{next(_numbers)}"
    own = {**settings.CACHES["default"], "LOCATION": server.url}
    settings.CACHES = {**settings.CACHES, alias: own}
    # shut for an instant only, so that no test waits for the breaker
    cache = replace(
        settings.PCF.cache, breaker_seconds=0.0, watch_seconds=0.001, lease_seconds=0.002
    )
    settings.PCF = replace(settings.PCF, cache=cache)
    usual = gate()._alias
    gate()._alias = alias
    server.alias = alias
    yield server
    server.kill()
    gate()._alias = usual
    gate()._failures = gate()._debts = 0
    gate()._shut_until = 0.0
