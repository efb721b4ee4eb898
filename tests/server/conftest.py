"""Fixtures of the tests of the server."""

from tests.cache.redis_server import redis_server
from tests.http.conftest import commands
from tests.server.asgi import django_handler, service, serving

__all__ = ["commands", "django_handler", "redis_server", "service", "serving"]
