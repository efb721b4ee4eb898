"""A connection to Redis for an event loop: the fast path's look-ups go out, replies come in order.

An event loop asks here for hits. It never waits: while there is no connection, and when Redis
fails or is silent for ``timeouts.cache`` seconds, the answer is None: a thread has to tell.

What is asked in one turn of the loop travels in one message: the busier a process is, the more hits
share a round trip.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

import hiredis
from django_redis import get_redis_connection
from redis import ConnectionError as BrokenConnection
from redis import RedisError
from redis import TimeoutError as LateReply
from redis.exceptions import InvalidResponse

from pcf._compat import redis as redis_compat
from pcf.apps import config
from pcf.cache.entries import Entry
from pcf.cache.gate import Gate
from pcf.cache.shortcuts import Shortcut
from pcf.cache.wire import run_of

_Push = hiredis.PushNotification


Callback = Callable[[bytes, list[Any] | None], None]
"""It gets the server's run, and the replies or None."""


class _Question(NamedTuple):
    replies: int
    callback: Callback
    asked_at: float  # monotonic


class RedisStream(asyncio.Protocol):
    """One connection of one event loop; not for threads.

    A broken connection is replaced at the next question. Failures are told to the gate, which
    leaves Redis alone for a while after some (``Gate``).
    """

    def __init__(self, gate: Gate, loop: asyncio.AbstractEventLoop, alias: str = "default") -> None:
        self._gate = gate
        self._loop = loop
        self._pool = get_redis_connection(alias).connection_pool
        self._usable = redis_compat.can_connect(self._pool)
        self._transport: asyncio.Transport | None = None
        self._owner: Any = None
        self._run = b""
        self._connecting: asyncio.Task[None] | None = None
        self._questions: deque[_Question] = deque()
        self._unsent: list[bytes] = []
        self._told: list[Any] = []
        self._reader = hiredis.Reader()
        self._timer: asyncio.TimerHandle | None = None

    def entry(self, shortcut: Shortcut) -> "asyncio.Future[Entry | None]":
        """Return a future of the entry to which ``shortcut`` leads; None when it is no hit."""
        answer: asyncio.Future[Entry | None] = self._loop.create_future()
        self.read(shortcut.packed, shortcut.replies, partial(_tell, shortcut, answer))
        return answer

    def read(self, packed: bytes, replies: int, callback: Callback) -> None:
        """Send commands that only read; ``callback`` gets their ``replies``."""
        transport = self._transport
        if transport is None or not self._gate.admits_read():
            if transport is None:
                self._connect()
            callback(b"", None)
            return
        self._questions.append(_Question(replies, callback, monotonic()))
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(packed)
        if self._timer is None:
            self._timer = self._loop.call_later(config().timeouts.cache, self._check)

    def _send(self) -> None:
        """Send what was asked in this turn of the loop."""
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None:
            self._transport.write(b"".join(unsent))

    def close(self) -> None:
        """Close the connection; questions under way are answered with None."""
        if self._connecting is not None:
            self._connecting.cancel()
        self._drop()

    def data_received(self, data: bytes) -> None:
        """Take replies; the event loop calls this."""
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if type(reply) is not _Push:
                    self._take(reply)
        except (hiredis.HiredisError, RedisError) as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone; the event loop calls this."""
        if self._questions:
            self._fail(BrokenConnection(str(exc or "Redis closed the connection")))
        else:
            self._drop()

    def _take(self, reply: Any) -> None:
        if not self._questions:
            raise InvalidResponse("Redis sent a reply that nobody asked for")
        told = self._told
        told.append(reply)
        question = self._questions[0]
        if len(told) < question.replies:
            return
        self._questions.popleft()
        self._told = []
        failed = next((each for each in told if isinstance(each, Exception)), None)
        if failed is None:
            self._gate.read_succeeded(monotonic() - question.asked_at)
        else:
            self._gate.read_failed(failed)
        question.callback(self._run, told if failed is None else None)

    def _check(self) -> None:
        """Give up on a server that has been silent for too long."""
        self._timer = None
        if not self._questions:
            return
        left = self._questions[0].asked_at + config().timeouts.cache - monotonic()
        if left <= 0:
            self._fail(LateReply("Redis did not answer in time"))
        else:
            self._timer = self._loop.call_later(left, self._check)

    def _fail(self, error: Exception) -> None:
        self._gate.read_failed(error)
        self._drop()

    def _drop(self) -> None:
        """Close the connection: a late reply would be taken for that to another question."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._owner = None
        self._reader, self._told = hiredis.Reader(), []
        self._unsent = []
        questions, self._questions = self._questions, deque()
        for question in questions:
            question.callback(b"", None)

    def _connect(self) -> None:
        if self._connecting is None and self._usable and self._gate.admits_read():
            self._connecting = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(2 * config().timeouts.cache):
                transport, info, self._owner = await redis_compat.connect(self._pool)
            self._run = run_of(info)
            transport.set_protocol(self)
            self._transport = transport
        except (RedisError, OSError, TimeoutError) as error:
            self._gate.read_failed(error)
        finally:
            self._connecting = None


def _tell(
    shortcut: Shortcut,
    answer: "asyncio.Future[Entry | None]",
    run: bytes,
    replies: list[Any] | None,
) -> None:
    """Answer who asks for an entry."""
    if not answer.done():
        answer.set_result(None if replies is None else shortcut.read(run, replies))
