"""Fixtures of the tests of logs, metrics and traces."""

from tests.server.asgi import service, serving

__all__ = ["service", "serving"]
