"""Fixtures of the HTTP tests."""

from threading import current_thread, get_ident

import pytest

from pcf.cache.async_redis import AsyncRedis
from pcf.cache.redis_client import RedisClient
from tests.cache.redis_server import redis_server
from tests.server.asgi import django_handler, service, serving

__all__ = ["commands", "django_handler", "redis_server", "service", "serving"]


@pytest.fixture
def commands(monkeypatch):
    """The commands that the test's thread and request threads sent to Redis.

    Other threads renew leases that a test left behind. A read by the event loop is "read".
    """
    sent = []
    own = get_ident()
    exchange, read = RedisClient._exchange, AsyncRedis.read

    def is_ours():
        return get_ident() == own or current_thread().name.removeprefix("pcf-").isdigit()

    def spy(wire, parts, *how):
        def noted(prefix):
            command = parts(prefix)
            if is_ours():
                sent.append(command[0])
            return command

        return exchange(wire, noted, *how)

    def spy_on_read(stream, packed, replies, callback):
        questions = len(stream._pending)
        read(stream, packed, replies, callback)
        if len(stream._pending) > questions:
            sent.append("read")

    monkeypatch.setattr(RedisClient, "_exchange", spy)
    monkeypatch.setattr(AsyncRedis, "read", spy_on_read)
    return sent
