"""Work for a request that is done in a thread while the event loop waits for its answer.

A client is answered at its deadline whatever the thread does. A thread cannot be stopped from
outside: an exception raised in it could leave a lock of the logging or of an import held for ever.
So the thread goes on, its answer is dropped, and the log shows where the thread was.
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

from pcf.compute import OVERDUE, REST, ComputePool, slot_released
from pcf.errors import ClientError
from pcf.http.arrival import CLIENT
from pcf.timeouts import TimeoutContext

T = TypeVar("T")

_FRAMES = 12  # of a busy thread's stack, in the log

logger = logging.getLogger("pcf.http")


class Overloaded(ClientError):
    """Too many requests wait for a thread already."""

    code = "SERVICE_UNAVAILABLE"


class _Job(Generic[T]):
    """One piece of work, and the future of what comes of it."""

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
        """Work; called in a thread."""
        if self.future.done():  # its client is gone, or has been answered
            return
        self._thread = get_ident()
        try:
            result = self._context.run(self._work)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            self._tell(self._failed, _for_a_future(error))
        else:
            self._tell(self._done, result)
        self._thread = None

    def expire(self) -> None:
        """Time is up; called on the loop."""
        if self.future.done():
            return
        self.future.set_exception(self._timeout.exceeded())
        self._context.copy().run(self._log_stack)  # the thread is in the context itself

    def _tell(self, callback: Callable[[Any], None], value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, value)
        except RuntimeError:  # the loop is closed: the process ends
            logger.warning("an answer came after the end of its process")

    def _done(self, result: T) -> None:
        if not self.future.done():
            self.future.set_result(result)
        else:
            self._log_late()

    def _failed(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
        else:
            self._log_late()

    def _log_late(self) -> None:
        self._context.copy().run(
            logger.warning, "the answer came too late, the client has been told of the timeout"
        )

    def _log_stack(self) -> None:
        if self._thread is None or self._timeout.bound_by == CLIENT:
            return  # no thread was free for it, or the client has chosen so little time
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - the documented way
        stack = "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame else ""
        self._context.copy().run(
            logger.error, "a thread is busy past its request's deadline:\n%s", stack.rstrip()
        )


def _for_a_future(error: BaseException) -> Exception:
    """Return ``error``, or one in its place where a future cannot have it or would end the loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    other = RuntimeError(f"a thread's work raised {type(error).__name__}")
    other.__cause__ = error
    return other


class Threads:
    """The threads of one process, for its event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, threads: int, *, computing: int, most: int
    ) -> None:
        """``threads`` and ``computing`` are numbers of threads; ``most`` is how many requests may
        wait for one.
        """
        self._loop = loop
        self._pool = ComputePool(threads, min(threads, computing), most=most)
        self._looks_soon = False
        self._looking = loop.call_later(OVERDUE, self._look)

    async def run(self, work: Callable[[], T], deadline: TimeoutContext) -> T:
        """Return what ``work`` returns, called in a thread with the caller's context variables.

        Raises what ``work`` raises, DeadlineExceeded when it has not returned by the deadline, and
        Overloaded when too many requests wait already.
        """
        job = _Job(self._loop, work, deadline)
        if not self._pool.submit(job):
            raise Overloaded("The service is too busy now; try again")
        if self._pool.queued and not self._looks_soon:
            self._looking.cancel()
            self._look()
        timer = self._loop.call_later(deadline.remaining(), job.expire)
        try:
            return await job.future
        finally:
            timer.cancel()

    def close(self) -> None:
        """Let the threads end."""
        self._looking.cancel()
        self._pool.close()

    def _look(self) -> None:
        self._pool.look()
        self._looks_soon = self._pool.queued > 0
        pause = 2 * REST if self._looks_soon else OVERDUE
        self._looking = self._loop.call_later(pause, self._look)


class Pipe:
    """Pieces of an answer on their way from a thread to the event loop, a few at a time."""

    _ROOM = 4  # pieces

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: TimeoutContext) -> None:
        self._loop = loop
        self._timeout = timeout
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(self._ROOM)
        self._broken = False
        self._ended = False
        self.is_begun = False  # a thread works for it

    def put(self, piece: bytes | None) -> None:
        """Add a piece, None as the last; called in the thread.

        Raises BrokenPipeError when nobody takes it, or not in time.
        """
        if self._broken:
            raise BrokenPipeError
        putting = asyncio.run_coroutine_threadsafe(self._queue.put(piece), self._loop)
        try:
            with slot_released():
                putting.result(self._timeout.remaining())
        except TimeoutError as error:
            putting.cancel()
            raise BrokenPipeError from error

    async def get(self) -> bytes | None:
        """Return the next piece, None behind the last. Raises DeadlineExceeded."""
        if self._ended and self._queue.empty():
            return None
        try:
            async with asyncio.timeout(self._timeout.remaining()):
                return await self._queue.get()
        except TimeoutError:
            raise self._timeout.exceeded() from None

    def end(self) -> None:
        """Let no more pieces be waited for; called on the loop."""
        self._ended = True
        with suppress(asyncio.QueueFull):
            self._queue.put_nowait(None)

    def close(self) -> None:
        """Take no more pieces."""
        self._broken = True
        while not self._queue.empty():
            self._queue.get_nowait()
