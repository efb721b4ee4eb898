"""A connection to Redis for an event loop: the fast path reads hits over it.

All reads of one turn of the loop travel in one message. The busier a process is, the more hits
share a round trip.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

import hiredis
from django_redis import get_redis_connection
from redis import ConnectionError as RedisConnectionError
from redis import RedisError
from redis import TimeoutError as RedisTimeoutError
from redis.exceptions import InvalidResponse

from pcf._compat import redis as redis_compat
from pcf.cache.entries import DirectRead
from pcf.cache.redis_client import run_id_of
from pcf.cache.redis_gateway import RedisGateway
from pcf.conf import config

logger = logging.getLogger("pcf.cache")

_Push = hiredis.PushNotification

Callback = Callable[[bytes, list[Any] | None], None]
"""It gets the server's ``run_id`` and the replies; None for the replies after a failure."""


class _PendingRead(NamedTuple):
    reply_count: int
    callback: Callback
    sent_at: float  # monotonic


class AsyncRedis(asyncio.Protocol):
    """One connection of one event loop; not safe for threads.

    The loop never waits. While there is no connection, and when Redis fails or is silent for
    ``timeouts.cache`` seconds, a read gets None: then a thread answers the request. The next read
    replaces a broken connection. The gateway learns of each failure and admits no reads for a while
    (``RedisGateway.admits_read``).
    """

    def __init__(
        self, gateway: RedisGateway, loop: asyncio.AbstractEventLoop, alias: str = "default"
    ) -> None:
        self._gateway = gateway
        self._loop = loop
        self._pool = get_redis_connection(alias).connection_pool
        self._can_connect = redis_compat.can_connect(self._pool)
        self._transport: asyncio.Transport | None = None
        self._owner: Any = None  # of the transport, see pcf._compat.redis
        self._run_id = b""
        self._connecting: asyncio.Task[None] | None = None
        self._pending: deque[_PendingRead] = deque()
        self._unsent: list[bytes] = []
        self._replies: list[Any] = []  # to the first pending read
        self._reader = hiredis.Reader()
        self._timer: asyncio.TimerHandle | None = None

    def replies(self, direct_read: DirectRead) -> "asyncio.Future[tuple[bytes, list[Any] | None]]":
        """Return a future of the arguments that ``read`` gives its callback."""
        future: asyncio.Future[tuple[bytes, list[Any] | None]] = self._loop.create_future()
        resolve = partial(_resolve, future)
        self.read(direct_read.packed, direct_read.reply_count, resolve)
        return future

    def read(self, packed: bytes, reply_count: int, callback: Callback) -> None:
        """Send commands that only read; call ``callback`` with their replies."""
        transport = self._transport
        if transport is None or not self._gateway.admits_read():
            if transport is None:
                self._connect()
            callback(b"", None)
            return
        self._pending.append(_PendingRead(reply_count, callback, monotonic()))
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(packed)
        if self._timer is None:
            self._timer = self._loop.call_later(config().timeouts.cache, self._check_timeout)

    def close(self) -> None:
        """Close the connection; pending reads get None."""
        if self._connecting is not None:
            self._connecting.cancel()
        self._drop()

    # --- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Take replies."""
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if type(reply) is not _Push:
                    self._take(reply)
        except (hiredis.HiredisError, RedisError) as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the connection; it is a failure only if reads are pending."""
        if self._pending:
            self._fail(RedisConnectionError(str(exc or "Redis closed the connection")))
        else:
            self._drop()

    # --- sending and receiving

    def _send(self) -> None:
        """Send the commands of this turn of the loop."""
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None:
            self._transport.write(b"".join(unsent))

    def _take(self, reply: Any) -> None:
        if not self._pending:
            raise InvalidResponse("Redis sent a reply to no command")
        replies = self._replies
        replies.append(reply)
        read = self._pending[0]
        if len(replies) < read.reply_count:
            return
        self._pending.popleft()
        self._replies = []
        error = next((each for each in replies if isinstance(each, Exception)), None)
        if error is None:
            self._gateway.read_succeeded(monotonic() - read.sent_at)
        else:
            self._gateway.read_failed(error)
        _call(read, self._run_id, replies if error is None else None)

    def _check_timeout(self) -> None:
        """Give up a server that is silent for too long."""
        self._timer = None
        if not self._pending:
            return
        left = self._pending[0].sent_at + config().timeouts.cache - monotonic()
        if left <= 0:
            self._fail(RedisTimeoutError("Redis did not answer in time"))
        else:
            self._timer = self._loop.call_later(left, self._check_timeout)

    def _fail(self, error: Exception) -> None:
        self._gateway.read_failed(error)
        self._drop()

    def _drop(self) -> None:
        """Close the connection, since a late reply would be taken for that to another read."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._owner = None
        self._reader, self._replies = hiredis.Reader(), []
        self._unsent = []
        pending, self._pending = self._pending, deque()
        for read in pending:
            _call(read, b"", None)

    # --- connecting

    def _connect(self) -> None:
        if self._connecting is None and self._can_connect and self._gateway.admits_read():
            self._connecting = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(2 * config().timeouts.cache):
                transport, info, self._owner = await redis_compat.connect(self._pool)
            self._run_id = run_id_of(info)
            transport.set_protocol(self)
            self._transport = transport
        except (RedisError, OSError, TimeoutError) as error:
            self._gateway.read_failed(error)
        finally:
            self._connecting = None


def _call(read: _PendingRead, run_id: bytes, replies: list[Any] | None) -> None:
    """Call the callback of one read. Its failure must not end the other reads."""
    try:
        read.callback(run_id, replies)
    except Exception:
        logger.exception("unexpected error after a read on the event loop")


def _resolve(
    future: "asyncio.Future[tuple[bytes, list[Any] | None]]",
    run_id: bytes,
    replies: list[Any] | None,
) -> None:
    if not future.done():
        future.set_result((run_id, replies))
