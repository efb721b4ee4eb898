"""Fixtures of the tests over HTTP."""

from contextlib import ExitStack
from threading import get_ident

import pytest

from pcf.cache.wire import Wire
from tests.cache.redis_server import redis_server
from tests.http.looped import Looped
from tests.http.worker import serving

__all__ = ["commands", "looped", "redis_server", "serve"]


@pytest.fixture
def commands(monkeypatch):
    """The commands that this thread sent to Redis; others renew leases that a test left behind."""
    sent = []
    own = get_ident()
    exchange = Wire._exchange

    def spy(wire, parts, *how):
        def noted(prefix):
            command = parts(prefix)
            if get_ident() == own:
                sent.append(command[0])
            return command

        return exchange(wire, noted, *how)

    read = Wire.read

    def spy_on_read(wire, packed, replies):
        if get_ident() == own:
            sent.append("read")
        return read(wire, packed, replies)

    monkeypatch.setattr(Wire, "_exchange", spy)
    monkeypatch.setattr(Wire, "read", spy_on_read)
    return sent


@pytest.fixture
def serve():
    """``serve(application)`` returns a worker, its connection and the client's end of it."""
    with serving() as make:
        yield make


@pytest.fixture
def looped():
    """``looped(application)``: a worker with its loop, and the client of its first connection."""
    with ExitStack() as stack:
        make = stack.enter_context(serving())

        def begin(application, answerer=None, **given):
            worker, conn, client = make(application, **given)
            return Looped(worker, conn, client, answerer or application, stack)

        yield begin
