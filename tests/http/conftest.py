"""Fixtures of the tests over HTTP."""

import pytest

from pcf.cache.wire import Wire


@pytest.fixture
def commands(monkeypatch):
    """The commands that were sent to Redis."""
    sent = []
    exchange = Wire._exchange

    def spy(wire, parts, *how):
        def noted(prefix):
            command = parts(prefix)
            sent.append(command[0])
            return command

        return exchange(wire, noted, *how)

    read = Wire.read

    def spy_on_read(wire, packed, replies):
        sent.append("read")
        return read(wire, packed, replies)

    monkeypatch.setattr(Wire, "_exchange", spy)
    monkeypatch.setattr(Wire, "read", spy_on_read)
    return sent
