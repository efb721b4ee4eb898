"""Work for requests in threads, while the event loop waits for the answer.

The client gets its answer at the deadline, whatever the thread does. Nothing can stop a thread from
outside: an exception raised in it could leave a lock of logging or of an import held for ever. So
the thread continues, the server drops its result, and the log shows the thread's stack.
"""

import asyncio
import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from threading import get_ident
from typing import Any, Generic, TypeVar

from django.db import close_old_connections

from pcf.concurrency import FORFEIT_AFTER, LEND_AFTER, ComputePool, slot_released
from pcf.errors import ClientError
from pcf.http.request_state import CLIENT_LAYER
from pcf.timeouts import TimeoutContext

T = TypeVar("T")

_STACK_FRAMES = 12  # frames of a busy thread's stack that the log shows

logger = logging.getLogger("pcf.http")


class Overloaded(ClientError):
    """Too many requests wait for a thread."""

    code = "SERVICE_UNAVAILABLE"


class RequestThreads:
    """The threads of one process; its methods run on the event loop.

    When a thread fails to return in time, the caller gets DeadlineExceeded and the thread's compute
    slot goes to another thread. When all threads are busy, requests wait in a bounded queue; beyond
    it the caller gets Overloaded at once.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, threads: int, *, computing: int, max_queued: int
    ) -> None:
        """Start ``threads`` threads, of which ``computing`` compute at once.

        At most ``max_queued`` requests wait for a thread.
        """
        self._loop = loop
        self._pool = ComputePool(
            threads, min(threads, computing), max_queued=max_queued, on_idle=close_old_connections
        )
        self._is_polling = False  # while requests are queued
        self._timer = loop.call_later(FORFEIT_AFTER, self._reassign_slots)

    async def run(self, work: Callable[[], T], deadline: TimeoutContext) -> T:
        """Call ``work`` in a thread with the caller's context variables, and return its result.

        Raises what ``work`` raises. Raises DeadlineExceeded when ``work`` has not returned by the
        deadline, and Overloaded when too many requests wait for a thread.
        """
        job = _Job(self._loop, work, deadline)
        if not self._pool.submit(job):
            raise Overloaded("The service is too busy now; try again")
        if self._pool.queued and not self._is_polling:
            self._timer.cancel()
            self._reassign_slots()
        timer = self._loop.call_later(deadline.remaining(), job.expire)
        try:
            return await job.future
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the threads after their jobs."""
        self._timer.cancel()
        self._pool.close()

    def _reassign_slots(self) -> None:
        self._pool.reassign_slots()
        self._is_polling = self._pool.queued > 0
        delay = 2 * LEND_AFTER if self._is_polling else FORFEIT_AFTER
        self._timer = self._loop.call_later(delay, self._reassign_slots)


class _Job(Generic[T]):
    """One call in a thread, and the future of its result on the event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Callable[[], T], timeout: TimeoutContext
    ) -> None:
        self._loop = loop
        self._work = work
        self._context = copy_context()
        self._timeout = timeout
        self._thread: int | None = None
        self.future: asyncio.Future[T] = loop.create_future()

    def __call__(self) -> None:
        """Do the work; called in a thread."""
        if self.future.done():  # the client is gone, or has its answer
            return
        self._thread = get_ident()
        try:
            result = self._context.run(self._work)
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            self._report(self._set_exception, _for_future(error))
        else:
            self._report(self._set_result, result)
        self._thread = None

    def expire(self) -> None:
        """End the wait at the deadline; called on the event loop."""
        if self.future.done():
            return
        self.future.set_exception(self._timeout.exceeded())
        self._context.copy().run(self._log_stack)  # the thread uses the context itself

    def _report(self, callback: Callable[[Any], None], value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, value)
        except RuntimeError:  # the event loop is closed
            logger.warning("a thread finished its request after the end of the event loop")

    def _set_result(self, result: T) -> None:
        if not self.future.done():
            self.future.set_result(result)
        elif not self.future.cancelled():  # else the client is gone
            self._log_late()

    def _set_exception(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
        elif not self.future.cancelled():  # else the client is gone
            self._log_late()

    def _log_late(self) -> None:
        self._context.copy().run(
            logger.warning, "a thread finished its request after the client got the timeout"
        )

    def _log_stack(self) -> None:
        if self._thread is None or self._timeout.bound_by == CLIENT_LAYER:
            return  # no thread has begun the work, or the client chose a very short time
        # Python documents this function; its name has an underscore as a warning.
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001
        stack = "".join(traceback.format_stack(frame)[-_STACK_FRAMES:]) if frame else ""
        logger.error("a thread is busy past its request's deadline:\n%s", stack.rstrip())


def _for_future(error: BaseException) -> Exception:
    """Return ``error``, or an exception in its place that a future accepts.

    A future refuses StopIteration. SystemExit and KeyboardInterrupt would end the event loop.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    other = RuntimeError(f"a request's work in a thread raised {type(error).__name__}")
    other.__cause__ = error
    return other


class ChunkQueue:
    """A bounded queue for the chunks of a streaming response, from a thread to the event loop."""

    _SIZE = 4  # chunks

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: TimeoutContext) -> None:
        self._loop = loop
        self._timeout = timeout
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(self._SIZE)
        self._is_closed = False
        self._has_ended = False
        self.has_producer = False  # set by the thread that fills the queue

    def put(self, chunk: bytes | None) -> None:
        """Add a chunk, or None as the end; called in the thread.

        Raises BrokenPipeError when the queue is closed, or has no room by the deadline.
        """
        if self._is_closed:
            raise BrokenPipeError
        putting = asyncio.run_coroutine_threadsafe(self._queue.put(chunk), self._loop)
        try:
            with slot_released():
                putting.result(self._timeout.remaining())
        except TimeoutError as error:
            putting.cancel()
            raise BrokenPipeError from error

    async def get(self) -> bytes | None:
        """Return the next chunk, or None at the end. Raises DeadlineExceeded."""
        if self._has_ended and self._queue.empty():
            return None
        try:
            async with asyncio.timeout(self._timeout.remaining()):
                return await self._queue.get()
        except TimeoutError:
            raise self._timeout.exceeded() from None

    def end(self) -> None:
        """Have ``get`` return None behind the chunks in the queue; called on the event loop."""
        self._has_ended = True
        with suppress(asyncio.QueueFull):
            self._queue.put_nowait(None)

    def close(self) -> None:
        """Drop the chunks in the queue and refuse further ones; called on the event loop."""
        self._is_closed = True
        while not self._queue.empty():
            self._queue.get_nowait()
