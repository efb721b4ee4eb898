"""Commands to Redis with little between the gate and the socket.

redis-py's client spends more time on a command (pool, retries, packing) than the command itself
takes. Here every thread keeps a connection of redis-py's, and commands are packed by hiredis:
less than half of the time, and the same handshakes, time-outs and errors.

When Redis fails the command raises what redis-py raises and the connection is closed; the next
command opens another. A connection that the server had closed meanwhile is replaced once at once.
"""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha1
from threading import local
from typing import Any

import hiredis
from django_redis import get_redis_connection
from redis import ConnectionError as BrokenConnection
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError

_RUN = re.compile(rb"^run_id:(\w{8})", re.MULTILINE)  # of 40 digits, enough to tell runs apart


class Wire:
    """Runs commands and scripts on the Redis called ``alias`` in Django's ``CACHES``."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._own = local()

    def run(self, script: str, *arguments: str | bytes | int) -> Any:
        """What ``script`` returns; its KEYS[1] is the server's run. Raises RedisError; every wait
        has the connection's limit.
        """
        try:
            return self._exchange(lambda run: ("EVALSHA", _sha(script), 1, run, *arguments))
        except NoScriptError:  # EVAL also remembers it
            return self._exchange(lambda run: ("EVAL", script, 1, run, *arguments))

    def command(self, *parts: str | bytes | float, seconds: float | None = None) -> Any:
        """The reply to one command; ``seconds`` is for commands that wait by their own nature.

        Raises RedisError.
        """
        return self._exchange(lambda _run: parts, seconds)

    def _exchange(self, parts: Callable[[bytes], tuple[Any, ...]], seconds: Any = None) -> Any:
        limit = {} if seconds is None else {"timeout": seconds}
        connection = self._connection()
        try:
            return self._once(connection, parts, limit)
        except BrokenConnection:
            # scripts may be run twice: a look-up changes nothing, the others are idempotent
            return self._once(connection, parts, limit)
        except ReadOnlyError:  # it has become a replica: look for the primary next time
            connection.disconnect()
            raise

    @staticmethod
    def _once(connection: Any, parts: Callable[[bytes], tuple[Any, ...]], limit: Any) -> Any:
        connection.connect()  # before the parts are made: they name the run of this very server
        packed = (hiredis.pack_command(parts(connection.run)),)
        connection.send_packed_command(packed, check_health=False)
        return connection.read_response(**limit)

    def _connection(self) -> Any:
        """The thread's own connection; a process that was forked has none of its parent's."""
        own = self._own
        if getattr(own, "process", None) != os.getpid():
            pool = get_redis_connection(self._alias).connection_pool
            connection = pool.connection_class(**pool.connection_kwargs)
            connection.redis_connect_func = _on_connect
            own.connection = connection
            own.process = os.getpid()
        return own.connection


def _on_connect(connection: Any) -> None:
    """Greet the server and learn which run of it this is: another after each start."""
    connection.on_connect()
    connection.send_command("INFO", "server", check_health=False)
    found = _RUN.search(connection.read_response())
    if found is None:
        raise InvalidResponse("INFO server names no run_id")
    connection.run = found[1]


@lru_cache(maxsize=64)
def _sha(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=64)
def wire(alias: str) -> Wire:
    """The process's wire to ``alias``."""
    return Wire(alias)
