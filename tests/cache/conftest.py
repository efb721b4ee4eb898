"""A Redis of a test's own in the place of everybody's."""

from tests.cache.redis_server import redis_server

__all__ = ["redis_server"]
