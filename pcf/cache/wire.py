"""Commands to Redis with little between the gate and the socket.

redis-py's client spends more time on a command (pool, retries, packing) than the command itself
takes. Here every thread keeps a connection of redis-py's, and commands are packed by hiredis:
less than half of the time, and the same handshakes, time-outs and errors.

When Redis fails the command raises what redis-py raises and the connection is closed; the next
command opens another. A connection that the server had closed meanwhile is replaced once at once.
"""

import os
from functools import lru_cache
from hashlib import sha1
from threading import local
from typing import Any

import hiredis
from django_redis import get_redis_connection
from redis import ConnectionError as BrokenConnection
from redis.exceptions import NoScriptError


class Wire:
    """Runs commands and scripts on the Redis called ``alias`` in Django's ``CACHES``."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._own = local()

    def run(self, script: str, *arguments: str | bytes | int) -> Any:
        """What ``script`` returns. Raises RedisError; every wait has the connection's limit."""
        try:
            return self.command("EVALSHA", _sha(script), 0, *arguments)
        except NoScriptError:
            return self.command("EVAL", script, 0, *arguments)  # which also remembers it

    def command(self, *parts: str | bytes | float, seconds: float | None = None) -> Any:
        """The reply to one command; ``seconds`` is for commands that wait by their own nature.

        Raises RedisError.
        """
        packed = (hiredis.pack_command(parts),)  # type: ignore[arg-type]
        limit = {} if seconds is None else {"timeout": seconds}
        connection = self._connection()
        try:
            connection.send_packed_command(packed, check_health=False)
            return connection.read_response(**limit)
        except BrokenConnection:
            # scripts may be run twice: a look-up changes nothing, the others are idempotent
            connection.send_packed_command(packed, check_health=False)
            return connection.read_response(**limit)

    def _connection(self) -> Any:
        """The thread's own connection; a process that was forked has none of its parent's."""
        own = self._own
        if getattr(own, "process", None) != os.getpid():
            pool = get_redis_connection(self._alias).connection_pool
            own.connection = pool.connection_class(**pool.connection_kwargs)
            own.process = os.getpid()
        return own.connection


@lru_cache(maxsize=64)
def _sha(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=64)
def wire(alias: str) -> Wire:
    """The process's wire to ``alias``."""
    return Wire(alias)
