"""A Redis client for threads: one connection a thread, with little between it and the socket.

redis-py opens and greets the connections. hiredis packs the commands and reads the replies,
straight from the socket: a command of redis-py (pool, retries, packing) takes more time than Redis
needs for it. Errors are those of redis-py.

When Redis fails, a command raises RedisError and the client closes the connection. The next
command opens another one. The client sends a command twice when the server had closed the
connection meanwhile.
"""

import os
import re
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import hiredis
from django_redis import get_redis_connection
from redis import ConnectionError as RedisConnectionError
from redis import TimeoutError as RedisTimeoutError
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError, ResponseError

from pcf._compat import redis as redis_compat
from pcf.cache.scripts import Script
from pcf.concurrency import slot_released
from pcf.greenlets import READ, WRITE, TaskLocal, in_greenlet, in_thread, wait_for_socket

_process = os.getpid()  # kept, since os.getpid() is a system call


def _after_fork() -> None:
    global _process  # noqa: PLW0603 - the child does it before anything else
    _process = os.getpid()


os.register_at_fork(after_in_child=_after_fork)

_Push = hiredis.PushNotification
_CHUNK = 65_536  # bytes
_RUN_ID = re.compile(rb"^run_id:(\w{8})", re.MULTILINE)  # 8 of 40 digits tell runs apart


class RedisClient:
    """Runs commands and scripts on the Redis called ``alias`` in Django's ``CACHES``.

    Safe for threads. Methods raise RedisError when Redis fails; no wait is longer than the
    connection's time-out.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._connections: TaskLocal[_Connection] = TaskLocal()

    def run(self, script: Script[Any], *arguments: str | bytes | float) -> Any:
        """Return what ``script`` returns. KEYS[1] is the ``run_id`` of the server."""
        sha, text = script.sha, script.text
        try:
            return self._exchange(lambda run_id: ("EVALSHA", sha, 1, run_id, *arguments))
        except NoScriptError:  # EVAL makes the server know the script
            return self._exchange(lambda run_id: ("EVAL", text, 1, run_id, *arguments))

    def command(self, *parts: str | bytes | float, seconds: float | None = None) -> Any:
        """Return the reply to one command.

        ``seconds`` is the time-out of a command that waits in the server.
        """
        return self._exchange(lambda _run_id: parts, seconds)

    def _exchange(
        self, parts: Callable[[bytes], tuple[Any, ...]], seconds: float | None = None
    ) -> Any:
        """Return the reply to the command that ``parts`` makes of the server's ``run_id``."""
        try:
            return self._exchange_once(parts, seconds)
        except RedisConnectionError:
            # A script may run twice: a look-up changes nothing, the others are idempotent.
            return self._exchange_once(parts, seconds)

    def _exchange_once(
        self, parts: Callable[[bytes], tuple[Any, ...]], seconds: float | None
    ) -> Any:
        connection = self._connection()
        try:
            packed = hiredis.pack_command(parts(connection.run_id))
            if seconds is None:
                return connection.exchange(packed)
            return connection.exchange_within(packed, seconds)
        except BaseException as error:
            # The reply to a command that was cut short would be taken for that of the next one.
            # A server that has become a replica takes no writes: the primary is elsewhere.
            if isinstance(error, ReadOnlyError) or not isinstance(error, ResponseError):
                self._connections.set(None)
            raise

    def _connection(self) -> "_Connection":
        """Return the thread's connection; a forked process uses none of its parent's."""
        connection = self._connections.get()
        if connection is None or connection.process != _process:
            connection = in_thread(_Connection, self._alias)
            self._connections.set(connection)
        return connection


class _Connection:
    """A connection of one thread or greenlet.

    The kernel bounds the waits of a thread (SO_RCVTIMEO). A time-out of Python's would poll before
    each wait and let go of the interpreter once more. TLS needs Python's time-outs, and threads.
    """

    def __init__(self, alias: str) -> None:
        """Connect. Raises RedisError."""
        self.process = _process
        opened = redis_compat.open_connection(get_redis_connection(alias).connection_pool)
        self._owner = opened.owner  # closes the socket when it is collected
        self._socket = opened.socket
        self._seconds = opened.seconds
        self.run_id = run_id_of(opened.info)
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=redis_compat.parse_error
        )
        self._kernel_bounds = type(self._socket) is socket.socket
        if self._kernel_bounds:
            self._socket.settimeout(None)
        self._set_timeout(self._seconds)

    def exchange(self, packed: bytes) -> Any:
        """Send a command and return its reply. Raises RedisError."""
        if not in_greenlet():
            return self._exchange(packed, self._socket.sendall, self._receive)
        if not self._kernel_bounds:
            return in_thread(self.exchange, packed)
        return self._exchange(packed, self._send_in_greenlet, self._receive_in_greenlet)

    def _exchange(
        self, packed: bytes, send: Callable[[bytes], object], receive: Callable[[], bytes]
    ) -> Any:
        reader = self._reader
        try:
            send(packed)
            while (reply := reader.gets()) is False or type(reply) is _Push:
                if reply is False:
                    received = receive()
                    if not received:
                        raise RedisConnectionError("Redis closed the connection")
                    reader.feed(received)
        except (TimeoutError, BlockingIOError) as error:  # of Python's time-out, of the kernel's
            raise RedisTimeoutError("Redis did not answer in time") from error
        except OSError as error:
            raise RedisConnectionError(str(error)) from error
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _receive(self) -> bytes:
        with slot_released():
            return self._socket.recv(_CHUNK)

    def _send_in_greenlet(self, packed: bytes) -> None:
        while packed:
            try:
                packed = packed[self._socket.send(packed, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait_for(WRITE)

    def _receive_in_greenlet(self) -> bytes:
        while True:
            try:
                return self._socket.recv(_CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait_for(READ)

    def _wait_for(self, event: int) -> None:
        if not wait_for_socket(self._socket.fileno(), event, self._limit):
            raise TimeoutError

    def exchange_within(self, packed: bytes, seconds: float) -> Any:
        """Do the same for a command that waits in the server, ``seconds`` at most."""
        self._set_timeout(seconds)
        try:
            return self.exchange(packed)
        finally:
            self._set_timeout(self._seconds)

    def _set_timeout(self, seconds: float | None) -> None:
        self._limit = seconds
        if not self._kernel_bounds:
            self._socket.settimeout(seconds)
            return
        whole = int(seconds or 0)  # 0 means no time-out
        limit = struct.pack("@ll", whole, int(((seconds or 0) - whole) * 1_000_000))
        for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, direction, limit)


def run_id_of(info: bytes) -> bytes:
    """Return the ``run_id`` in a reply to ``INFO server``; a server has another after each start.

    Raises InvalidResponse.
    """
    found = _RUN_ID.search(info)
    if found is None:
        raise InvalidResponse("INFO server names no run_id")
    return found[1]


@lru_cache(maxsize=64)
def redis_client(alias: str) -> RedisClient:
    """Return the process's client for ``alias``."""
    return RedisClient(alias)
