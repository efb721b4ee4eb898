"""Fixtures of the tests over HTTP."""

from threading import current_thread, get_ident

import pytest

from pcf.cache.stream import RedisStream
from pcf.cache.wire import Wire
from tests.cache.redis_server import redis_server
from tests.server.asgi import pages, service, serving

__all__ = ["commands", "pages", "redis_server", "service", "serving"]


@pytest.fixture
def commands(monkeypatch):
    """The commands that this thread, and those that work for requests, sent to Redis; others renew
    leases that a test left behind. What an event loop asks for is "read".
    """
    sent = []
    own = get_ident()
    exchange, read = Wire._exchange, RedisStream.read

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
        questions = len(stream._questions)
        read(stream, packed, replies, callback)
        if len(stream._questions) > questions:
            sent.append("read")

    monkeypatch.setattr(Wire, "_exchange", spy)
    monkeypatch.setattr(RedisStream, "read", spy_on_read)
    return sent
