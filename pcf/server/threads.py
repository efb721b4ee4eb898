"""Work for requests in threads, while the event loop waits for the answer.

The client gets its answer at the deadline, whatever the thread does. Nothing can stop a thread from
outside: an exception raised in it could leave a lock of logging or of an import held for ever. So
the thread continues, the server drops its result, and the log shows the thread's stack.
"""

import asyncio
import logging
import select
import traceback
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from types import FrameType
from typing import Any, Generic, TypeVar, cast

from django.db import close_old_connections

from pcf.concurrency import FORFEIT_AFTER, LEND_AFTER, ComputePool, Job, slot_released
from pcf.errors import ClientError
from pcf.greenlets import GreenletPool, frame_reader, in_greenlet
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
        self, loop: asyncio.AbstractEventLoop, threads: int, *, computing: int, max_queued: int,
        greenlets: int = 0,
    ) -> None:  # fmt: skip
        """Start ``threads`` threads, of which ``computing`` compute at once.

        At most ``max_queued`` requests wait for a thread. ``greenlets`` short requests run beside
        each other on the event loop.
        """
        self._loop = loop
        self._pool = ComputePool(
            threads, min(threads, computing), max_queued=max_queued, on_idle=close_old_connections
        )
        self._greenlets: GreenletPool | None = None
        if greenlets and hasattr(select, "epoll"):  # Linux
            self._greenlets = GreenletPool(
                loop, greenlets, max_queued=max_queued, on_idle=close_old_connections
            )
        self._is_polling = False  # while requests are queued
        self._timer = loop.call_later(FORFEIT_AFTER, self._reassign_slots)

    async def run(self, work: Callable[[], T], deadline: TimeoutContext) -> T:
        """Call ``work`` in a thread with the caller's context variables, and return its result.

        Raises what ``work`` raises. Raises DeadlineExceeded when ``work`` has not returned by the
        deadline, and Overloaded when too many requests wait for a thread.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        job = _Job(self._loop, work, deadline, copy_context(), partial(_settle, future))
        self._submit(self._pool, job)
        try:
            return await future
        finally:
            job.cancel()

    def start_short(
        self, work: Callable[[], T], deadline: TimeoutContext, context: Context,
        on_done: Callable[[T | None, Exception | None], object],
    ) -> "_Job[T]":  # fmt: skip
        """Call short ``work`` in ``context``, then ``on_done`` with its result or error.

        Short work computes for a few milliseconds, and waits for PostgreSQL and Redis alone. A
        greenlet calls it, or a thread where there are none. ``on_done`` gets a DeadlineExceeded
        when ``work`` has not returned by the deadline. Raises Overloaded.
        """
        job = _Job(self._loop, work, deadline, context, on_done)
        self._submit(self._greenlets or self._pool, job)
        return job

    def _submit(self, pool: ComputePool | GreenletPool, job: "_Job[Any]") -> None:
        job.timer = self._loop.call_later(job.timeout.remaining(), job.expire)
        if not pool.submit(job):
            job.cancel()
            raise Overloaded("The service is too busy now; try again")
        if pool.queued and not self._is_polling:
            self._timer.cancel()
            self._reassign_slots()

    def close(self) -> None:
        """End the threads after their jobs."""
        self._timer.cancel()
        self._pool.close()
        if self._greenlets is not None:
            self._greenlets.close()

    def _reassign_slots(self) -> None:
        self._pool.reassign_slots()
        self._is_polling = self._pool.queued > 0
        if self._greenlets is not None and self._greenlets.queued:
            self._is_polling = True
            self._greenlets.move_stuck(self._pool.submit)
        delay = 2 * LEND_AFTER if self._is_polling else FORFEIT_AFTER
        self._timer = self._loop.call_later(delay, self._reassign_slots)


def _settle(future: "asyncio.Future[T]", result: T | None, error: Exception | None) -> None:
    if future.done():  # the caller is gone
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(cast(T, result))


class _Job(Generic[T]):
    """One call in a thread or greenlet, and the time that it has."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Callable[[], T], timeout: TimeoutContext,
        context: Context, on_done: Callable[[T | None, Exception | None], object],
    ) -> None:  # fmt: skip
        self.timeout = timeout
        self.timer: asyncio.TimerHandle | None = None  # of ``expire``
        self._loop = loop
        self._work = work
        self._context = context
        self._on_done = on_done
        self._frame: Callable[[], FrameType | None] | None = None  # while the work is done
        self._has_ended = False  # the caller has the outcome, or is gone
        self._is_late = False  # the caller has got the timeout

    def __call__(self) -> Job | None:
        """Do the work; called in a thread or greenlet. A greenlet's loop has to call what it
        returns.
        """
        if self._has_ended:
            return None
        self._frame = frame_reader()
        result: T | None = None
        error: Exception | None = None
        try:
            result = self._context.run(self._work)
        except BaseException as raised:  # noqa: BLE001 - the caller gets it
            error = _for_future(raised)
        self._frame = None
        finish = partial(self._finish, result, error)
        if in_greenlet():
            return finish
        try:
            self._loop.call_soon_threadsafe(finish)
        except RuntimeError:  # the event loop is closed
            logger.warning("a thread finished its request after the end of the event loop")
        return None

    def cancel(self) -> None:
        """Forget the caller, unless the job has ended; called on the event loop."""
        self._has_ended = True
        if self.timer is not None:
            self.timer.cancel()

    def expire(self) -> None:
        """End the wait at the deadline; called on the event loop."""
        self._is_late = True
        self._context.copy().run(self._log_stack)  # the thread uses the context itself
        self._end(None, self.timeout.exceeded())

    def _finish(self, result: T | None, error: Exception | None) -> None:
        if not self._has_ended:
            self._end(result, error)
        elif self._is_late:
            self._log_late()

    def _end(self, result: T | None, error: Exception | None) -> None:
        self.cancel()
        self._on_done(result, error)

    def _log_late(self) -> None:
        self._context.copy().run(
            logger.warning, "a thread finished its request after the client got the timeout"
        )

    def _log_stack(self) -> None:
        if self._frame is None or self.timeout.bound_by == CLIENT_LAYER:
            return  # no thread has begun the work, or the client chose a very short time
        frame = self._frame()
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
