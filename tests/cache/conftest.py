"""A Redis server, and tables, for one test."""

from tests.cache.hostile_models import tables
from tests.cache.redis_server import redis_server

__all__ = ["redis_server", "tables"]
