"""Greenlets: requests that run on the event loop, and wait beside each other.

A thread that waits for PostgreSQL has to be woken, and needs the interpreter lock that another
thread holds. For a small query both together cost more than the query. So the event loop runs short
requests itself, each in a greenlet (https://greenlet.readthedocs.io). They run the code that
threads run, and differ only where they wait: a greenlet gives the event loop back until its socket
is ready.

===================  ===========================================================================
in a greenlet        does
===================  ===========================================================================
``wait_for_socket``  wait for a socket; all other requests continue meanwhile
``pause``            wait for some time
``in_thread``        have a thread call a function that waits for anything else, and wait for it
``TaskLocal``        keep a value for this greenlet, as ``threading.local`` does for a thread
===================  ===========================================================================

In a thread, ``pause``, ``in_thread`` and ``TaskLocal`` do what a thread does.

A greenlet has context variables of its own, and variables of the thread (``ThreadVariables``). So
it has database connections of its own. Its code sees no running event loop, so Django lets it use
them.
"""

import logging
import select
import sys
from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import get_ident, local
from time import monotonic, sleep
from types import FrameType
from typing import Any, Generic, TypeVar, TypeVarTuple

from greenlet import getcurrent, greenlet

from pcf._compat.thread_variables import ThreadVariables
from pcf.concurrency import IDLE_AFTER, ComputePool, Job, slot_released

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STUCK_AFTER = 0.05  # seconds of a greenlet's job after which the jobs behind it need threads

READ, WRITE = 1, 2  # what a socket is ready for; psycopg's numbers, too

Work = Callable[[], Job | None]
"""A job, which may return a function for the event loop."""
Resume = Callable[[Any], object]

logger = logging.getLogger("pcf.server")


class _SocketWaits:
    """The sockets that greenlets of one event loop wait for.

    An event loop makes a handle for each call of ``add_reader``, and several system calls. So it
    watches one epoll object instead, which watches the sockets.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        once, read, write = select.EPOLLONESHOT, select.EPOLLIN, select.EPOLLOUT
        self._masks = {READ: once | read, WRITE: once | write, READ | WRITE: once | read | write}
        self._resumes: dict[int, Resume] = {}  # by the descriptor of the socket
        loop.add_reader(self._epoll.fileno(), self._on_ready)

    def add(self, fd: int, events: int, resume: Resume) -> None:
        """Call ``resume`` once when the socket is ready, with what it is ready for."""
        try:
            self._epoll.modify(fd, self._masks[events])
        except FileNotFoundError:  # the first wait for this socket
            self._epoll.register(fd, self._masks[events])
        self._resumes[fd] = resume

    def remove(self, fd: int) -> None:
        """Call no function for the socket."""
        self._resumes.pop(fd, None)

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _on_ready(self) -> None:
        for fd, mask in self._epoll.poll(0):
            resume = self._resumes.pop(fd, None)
            if resume is not None:
                writable = WRITE if mask & select.EPOLLOUT else 0
                readable = READ if mask & ~select.EPOLLOUT else 0  # the end is read, too
                resume(readable | writable)


class RequestGreenlet(greenlet):
    """One greenlet of a pool, which runs one job after another."""

    def __init__(self, pool: "GreenletPool") -> None:
        super().__init__(self._run_jobs)
        self._pool = pool
        self._variables = ThreadVariables()
        self._job: Work | None = None
        self.values: dict[Any, Any] = {}  # of TaskLocal
        self.began: float | None = None  # when its job began (monotonic); None without a job
        self.timer: TimerHandle | None = None  # of the call of ``on_idle``
        self.is_tidying = False  # whether its job is the call of ``on_idle``

    def begin(self, job: Work) -> None:
        """Begin a job; called on the event loop."""
        if self.timer is not None:
            self.timer.cancel()
        self.began, self._job = monotonic(), job
        self._resume()

    def _resume(self, value: Any = None) -> None:
        """Run the job to its next wait, or to its end; called on the event loop."""
        variables = self._variables
        variables.exchange()
        try:
            function = self.switch(value)
        finally:
            variables.exchange()
        if self._job is None:
            self.began = None
            self._pool.release(self)
        if function is not None:
            self._call(function)

    @staticmethod
    def _call(function: Job) -> None:
        """Call a function that came out of the greenlet.

        Its error must not reach the greenlets that the event loop resumes next.
        """
        try:
            function()
        except Exception:
            logger.exception("unexpected error behind a greenlet")

    # --- in the greenlet

    def _run_jobs(self, _: Any) -> None:
        finish = None
        while True:
            if self._job is not None:
                finish, self._job = self._job(), None
            self._suspend(finish)

    def wait_for_socket(self, fd: int, events: int, seconds: float | None) -> int:
        """Return what the socket is ready for; 0 after ``seconds``."""
        pool = self._pool
        pool.sockets.add(fd, events, self._resume)
        timer = None
        if seconds is not None:
            timer = pool.loop.call_later(max(0.0, seconds), self._resume, 0)
        found: int = 0
        try:
            found = self._suspend()
        finally:
            if timer is not None:
                timer.cancel()
            if not found:
                pool.sockets.remove(fd)
        return found

    def pause(self, seconds: float) -> None:
        """Return after ``seconds``."""
        self._pool.loop.call_later(max(0.0, seconds), self._resume)
        self._suspend()

    def call_in_thread(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns in a thread, with the variables of the job."""
        outcome: Future[T] = Future()
        run, loop, resume = copy_context().run, self._pool.loop, self._resume
        variables = self._variables

        def call() -> None:
            try:
                outcome.set_result(variables.call(lambda: run(function)))
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                outcome.set_exception(error)
            loop.call_soon_threadsafe(resume)

        # not before the greenlet has given back the variables, which the thread needs
        self._suspend(lambda: self._pool.helpers.submit(call))
        return outcome.result()

    def _suspend(self, function: Job | None = None) -> Any:
        """Go back to the event loop, which calls ``function`` before anything else."""
        return self.parent.switch(function)


class GreenletPool:
    """Greenlets of one event loop, for jobs that wait for PostgreSQL and Redis alone.

    Its public methods are called on the event loop. A job begins at once when a greenlet is idle.
    Otherwise it waits, in the order of the submissions. Jobs report their own errors. A job may
    return a function, which the event loop then calls.
    """

    def __init__(
        self, loop: AbstractEventLoop, count: int, *, max_queued: int, on_idle: Job
    ) -> None:
        """Run ``count`` jobs beside each other. At most ``max_queued`` jobs wait.

        A greenlet calls ``on_idle`` after IDLE_AFTER seconds without a job, and at its end.
        """
        self.loop = loop
        self.sockets = _SocketWaits(loop)
        self.helpers = ComputePool(count, count, max_queued=count, on_idle=on_idle)
        """The threads of ``in_thread``: one for each greenlet."""
        self._on_idle = on_idle
        self._max_queued = max_queued
        self._greenlets = [RequestGreenlet(self) for _ in range(count)]
        self._idle = self._greenlets.copy()  # the one that worked last is the last
        self._queue: deque[tuple[float, Work]] = deque()  # jobs with their submission (monotonic)

    @property
    def queued(self) -> int:
        """The number of jobs that wait for a greenlet."""
        return len(self._queue)

    def submit(self, job: Work) -> bool:
        """Have a greenlet run ``job``. Return False, and drop the job, when the queue is full."""
        if self._idle and not self._queue:
            self._idle.pop().begin(job)
        elif len(self._queue) < self._max_queued:
            self._queue.append((monotonic(), job))
        else:
            return False
        return True

    def move_stuck(self, submit: Callable[[Work], bool]) -> None:
        """Pass jobs on to ``submit`` that have waited for STUCK_AFTER seconds behind a stuck one.

        A job is stuck after STUCK_AFTER seconds. ``submit`` returns whether it has taken the job.
        The owner of the pool calls this method every few milliseconds while jobs are queued.
        """
        before = monotonic() - STUCK_AFTER
        if any(each.began is not None and each.began < before for each in self._greenlets):
            while self._queue and self._queue[0][0] < before and submit(self._queue[0][1]):
                self._queue.popleft()

    def close(self) -> None:
        """Drop the queue, and have the idle greenlets call ``on_idle``."""
        self._queue.clear()
        for one in self._idle.copy():
            self._tidy(one)
        self.helpers.close()
        if len(self._idle) == len(self._greenlets):
            self.sockets.close()

    # --- for the greenlets

    def release(self, one: RequestGreenlet) -> None:
        """Take back a greenlet whose job has ended."""
        self._idle.append(one)
        if self._queue:  # between two jobs the event loop looks after everything else
            self.loop.call_soon(self._begin_next)
        if one.is_tidying:
            one.is_tidying = False
        else:
            one.timer = self.loop.call_later(IDLE_AFTER, self._tidy, one)

    def _begin_next(self) -> None:
        while self._queue and self._idle:
            self._idle.pop().begin(self._queue.popleft()[1])

    def _tidy(self, one: RequestGreenlet) -> None:
        """Have an idle greenlet call ``on_idle``."""
        self._idle.remove(one)
        one.is_tidying = True
        one.begin(self._call_on_idle)

    def _call_on_idle(self) -> None:
        try:
            self._on_idle()
        except BaseException:
            logger.exception("a greenlet could not give back what it keeps")


def current_greenlet() -> RequestGreenlet | None:
    """Return the greenlet of a pool that the caller runs in; None in a thread."""
    current = getcurrent()
    return current if type(current) is RequestGreenlet else None


def in_greenlet() -> bool:
    """Return whether the caller runs in a greenlet of a pool."""
    return type(getcurrent()) is RequestGreenlet


def frame_reader() -> Callable[[], FrameType | None]:
    """Return a function for other threads that returns where this thread or greenlet is now."""
    current = getcurrent()
    if type(current) is RequestGreenlet:
        return lambda: current.gr_frame
    thread = get_ident()
    # Python documents this function; its name has an underscore as a warning.
    return lambda: sys._current_frames().get(thread)  # noqa: SLF001


def wait_for_socket(fd: int, events: int, seconds: float | None) -> int:
    """Wait in a greenlet until the socket is ready for one of ``events``, READ and WRITE.

    Returns what it is ready for, and 0 after ``seconds``. Raises RuntimeError in a thread.
    """
    current = getcurrent()
    if type(current) is not RequestGreenlet:
        raise RuntimeError("wait_for_socket() was called outside of a greenlet")
    return current.wait_for_socket(fd, events, seconds)


def pause(seconds: float) -> None:
    """Return after ``seconds``; meanwhile other requests compute."""
    current = getcurrent()
    if type(current) is RequestGreenlet:
        current.pause(seconds)
    else:
        with slot_released():
            sleep(seconds)


def in_thread(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Return what ``function`` returns, which may wait for anything.

    A greenlet has a thread call it, with a copy of its context variables. The thread uses the
    greenlet's database connections. It begins no snapshot, and ends none.
    """
    current = getcurrent()
    if type(current) is RequestGreenlet:
        return current.call_in_thread(lambda: function(*arguments))
    return function(*arguments)


class TaskLocal(Generic[T]):
    """A value for each greenlet, and for each thread outside of greenlets."""

    def __init__(self) -> None:
        self._thread = local()

    def get(self) -> T | None:
        """Return the value; None before ``set``."""
        current = getcurrent()
        if type(current) is RequestGreenlet:
            return current.values.get(self)
        return getattr(self._thread, "value", None)

    def set(self, value: T | None) -> None:
        """Set the value."""
        current = getcurrent()
        if type(current) is RequestGreenlet:
            current.values[self] = value
        else:
            self._thread.value = value
