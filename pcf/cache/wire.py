"""Commands to Redis with little between the gate and the socket.

redis-py's client spends more time on a command (pool, retries, packing) than the command itself
takes. Here every thread keeps a connection that redis-py opened and greeted; commands are packed
and replies read by hiredis, straight from the socket. Time-outs and errors are redis-py's.

When Redis fails the command raises what redis-py raises and the connection is closed; the next
command opens another. A connection that the server had closed meanwhile is replaced once at once.
"""

import os
import re
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha1
from threading import local
from typing import Any

import hiredis
from django_redis import get_redis_connection
from redis import ConnectionError as BrokenConnection
from redis import TimeoutError as LateReply
from redis._parsers import BaseParser
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError, ResponseError

from pcf.compute import slot_released

_process = os.getpid()  # asked for once: it is a system call


def _forked() -> None:
    global _process  # noqa: PLW0603 - set in a child before it does anything else
    _process = os.getpid()


os.register_at_fork(after_in_child=_forked)

_Push = hiredis.PushNotification
_CHUNK = 65_536  # bytes
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
        def exchange(line: "_Line") -> Any:
            packed = hiredis.pack_command(parts(line.run))
            if seconds is None:
                return line.exchange(packed)
            return line.patient_exchange(packed, seconds)

        return self._talk(exchange)

    def _talk(self, how: Callable[["_Line"], Any]) -> Any:
        try:
            return self._once(how)
        except BrokenConnection:
            # scripts may be run twice: a look-up changes nothing, the others are idempotent
            return self._once(how)

    def _once(self, how: Callable[["_Line"], Any]) -> Any:
        line = self._line()
        try:
            return how(line)
        except BaseException as error:
            # A reply may still come, and would be taken for the next one's; and where there is a
            # replica now, the primary has to be looked for.
            if isinstance(error, ReadOnlyError) or not isinstance(error, ResponseError):
                self._own.line = None
            raise

    def _line(self) -> "_Line":
        """The thread's own connection; a process that was forked has none of its parent's."""
        line: _Line | None = getattr(self._own, "line", None)
        if line is None or line.process != _process:
            line = self._own.line = _Line(self._alias)
        return line


class _Line:
    """A connection that redis-py opened and greeted. Its waits are bounded by the kernel rather
    than by Python, which would poll before each of them and let go of the interpreter once more.
    """

    def __init__(self, alias: str) -> None:
        """Connect. Raises RedisError."""
        self.process = _process
        pool = get_redis_connection(alias).connection_pool
        # kept: it closes the socket when it goes
        self._connection = connection = pool.connection_class(**pool.connection_kwargs)
        connection.redis_connect_func = _on_connect
        connection.connect()
        self.run: bytes = connection.run
        self._socket: socket.socket = connection._sock  # noqa: SLF001 - handed over by redis-py
        self._seconds = connection.socket_timeout
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=_reply_error)
        self._bounded = type(self._socket) is socket.socket  # TLS needs Python's own way
        if self._bounded:
            self._socket.settimeout(None)
        self._bound(self._seconds)

    def exchange(self, packed: bytes) -> Any:
        """The reply to a command. Raises RedisError."""
        reader = self._reader
        try:
            self._socket.sendall(packed)
            while (reply := reader.gets()) is False or type(reply) is _Push:
                if reply is False:
                    with slot_released():
                        received = self._socket.recv(_CHUNK)
                    if not received:
                        raise BrokenConnection("Redis closed the connection")
                    reader.feed(received)
        except (TimeoutError, BlockingIOError) as error:  # of Python's own way, of the kernel
            raise LateReply("Redis did not answer in time") from error
        except OSError as error:
            raise BrokenConnection(str(error)) from error
        if isinstance(reply, Exception):
            raise reply
        return reply

    def patient_exchange(self, packed: bytes, seconds: float) -> Any:
        """The same for a command that waits by its own nature, ``seconds`` at most."""
        self._bound(seconds)
        try:
            return self.exchange(packed)
        finally:
            self._bound(self._seconds)

    def _bound(self, seconds: float | None) -> None:
        if not self._bounded:
            self._socket.settimeout(seconds)
            return
        whole = int(seconds or 0)  # 0 stands for no limit
        limit = struct.pack("@ll", whole, int(((seconds or 0) - whole) * 1_000_000))
        for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, direction, limit)


def _reply_error(text: str) -> Exception:
    error: Exception = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
    return error


def _on_connect(connection: Any) -> None:
    """Greet the server and learn which run of it this is: another after each start."""
    connection.on_connect()
    connection.send_command("INFO", "server", check_health=False)
    connection.run = run_of(connection.read_response())


def run_of(info: bytes) -> bytes:
    """Return which run of the server replied with ``info`` to ``INFO server``.

    Raises InvalidResponse.
    """
    found = _RUN.search(info)
    if found is None:
        raise InvalidResponse("INFO server names no run_id")
    return found[1]


@lru_cache(maxsize=64)
def _sha(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=64)
def wire(alias: str) -> Wire:
    """The process's wire to ``alias``."""
    return Wire(alias)
