"""A Redis server, tables, and the names that commits touch, for one test."""

import pytest

from pcf.cache.redis_gateway import RedisGateway
from tests.cache.hostile_models import tables
from tests.cache.redis_server import redis_server

__all__ = ["redis_server", "tables"]


@pytest.fixture
def delivered(live_world, monkeypatch):
    """The names that each commit blocks in Redis, as ``kind:key`` and ``kind!``.

    Those of columns of lists (``notes.title_folded``) have a test of their own.
    """
    names = []
    mark = RedisGateway.block

    def spy(self, transaction, marked):
        names.append({name for name in marked if not name.endswith(":*") and "." not in name})
        return mark(self, transaction, marked)

    monkeypatch.setattr(RedisGateway, "block", spy)
    return names
