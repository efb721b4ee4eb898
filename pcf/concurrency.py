"""Compute slots: a limit for the threads that compute at the same time.

Threads that compute compete for the interpreter lock. Threads that wait do not. A thread of a
``ComputePool`` therefore needs a *compute slot* while it computes.

A thread that waits for PostgreSQL, Redis, the connection pool or another request lends its slot to
a thread that wants one. It does so after ``LEND_AFTER`` seconds: most waits are shorter, and waking
another thread costs as much as such a wait.

A thread that keeps its slot for ``FORFEIT_AFTER`` seconds forfeits it. Such a thread computes
without end, or it waits in a place that the engine cannot see. Other threads go on all the same.

Threads outside of a pool need no slot: management commands, tests, threads of another server.
"""

import logging
from collections import deque
from collections.abc import Callable
from threading import Lock, Thread, local
from time import monotonic

LEND_AFTER = 0.001  # seconds of waiting after which a thread lends its slot
POLL_INTERVAL = 0.02  # seconds between two attempts of a thread that is not the next in line
FORFEIT_AFTER = 0.1  # seconds of computing after which a thread forfeits its slot
IDLE_AFTER = 0.05  # seconds without a job after which a thread gives back what it keeps

Job = Callable[[], object]

logger = logging.getLogger("pcf.server")


class _PoolThread:
    """One thread of a pool: its job, its slot, and the lock on which it sleeps.

    ``slot_since`` is the monotonic time at which the thread got its slot, None without a slot.
    ``waiting_since`` is the time at which a wait with a slot began, None outside of such a wait.
    """

    __slots__ = ("has_forfeited", "job", "pool", "slot_since", "waiting_since", "wake")

    def __init__(self, pool: "ComputePool") -> None:
        self.pool = pool
        self.wake = Lock()
        self.wake.acquire()
        self.job: Job | None = None
        self.slot_since: float | None = None
        self.waiting_since: float | None = None
        self.has_forfeited = False


class _Current(local):
    """The pool's entry for the running thread; None in a thread outside of a pool."""

    thread: _PoolThread | None = None


_current = _Current()


def in_pool_thread() -> bool:
    """Return whether the running thread belongs to a pool, which calls its ``on_idle``."""
    return _current.thread is not None


class slot_released:  # noqa: N801 - a context manager, used like a function
    """Context manager for a block in which the thread waits and another thread may compute.

    Blocks may be nested. Threads outside of a pool pass through. A block costs a microsecond.
    """

    __slots__ = ("_thread",)

    def __enter__(self) -> None:
        thread = _current.thread
        if thread is not None and thread.waiting_since is None:
            self._thread: _PoolThread | None = thread
            thread.waiting_since = monotonic()
        else:
            self._thread = None

    def __exit__(self, *_: object) -> None:
        thread = self._thread
        if thread is not None:
            thread.pool.resume(thread)


class ComputePool:
    """Threads that run jobs in the order of their submission; ``slots`` of them compute at once.

    A thread that returns from a wait has precedence over a new job. The idle thread that worked
    last takes the next job, because the processor's caches still hold its data.

    Jobs report their own errors. The pool logs an exception that a job raises and keeps the thread.
    A job that never returns costs its thread; its slot goes to another thread after
    ``FORFEIT_AFTER`` seconds.
    """

    def __init__(
        self, threads: int, slots: int, *, max_queued: int, on_idle: Job = lambda: None
    ) -> None:
        """Start ``threads`` threads. At most ``max_queued`` jobs wait for a thread.

        A thread calls ``on_idle`` after ``IDLE_AFTER`` seconds without a job, and at its end.
        """
        self._on_idle = on_idle
        self._lock = Lock()
        self._free_slots = slots
        self._queue: deque[Job] = deque()
        self._idle: list[_PoolThread] = []
        self._resuming: deque[_PoolThread] = deque()
        self._threads = [_PoolThread(self) for _ in range(threads)]
        self._max_queued = max_queued
        self._closed = False
        for number, thread in enumerate(self._threads):
            Thread(target=self._run, args=(thread,), name=f"pcf-{number}", daemon=True).start()

    @property
    def queued(self) -> int:
        """The number of jobs that wait for a thread."""
        return len(self._queue)

    def submit(self, job: Job) -> bool:
        """Have a thread run ``job``. Return False, and drop the job, when the queue is full."""
        with self._lock:
            if self._free_slots and self._idle:
                self._free_slots -= 1
                self._start(self._idle.pop(), job)
            elif len(self._queue) >= self._max_queued:
                return False
            else:
                self._queue.append(job)
                self._lend_slots(monotonic())
        return True

    def resume(self, thread: _PoolThread) -> None:
        """Return once ``thread``, whose wait is over, has a slot; called in that thread."""
        with self._lock:
            thread.waiting_since, now = None, monotonic()
            if thread.has_forfeited:  # another thread has the slot
                thread.slot_since, thread.has_forfeited = None, False
            if thread.slot_since is not None or self._free_slots:
                self._free_slots -= thread.slot_since is None
                thread.slot_since = now
                return
            self._resuming.append(thread)
            self._lend_slots(now)
            seconds = self._poll_interval(thread)
        while not thread.wake.acquire(timeout=seconds):
            with self._lock:
                self._lend_slots(monotonic())
                seconds = self._poll_interval(thread)

    def reassign_slots(self) -> None:
        """Lend the slots of waiting threads, and replace the slots of overdue threads.

        The owner of the pool calls this every ``LEND_AFTER`` seconds or so while jobs are queued,
        and every ``FORFEIT_AFTER`` seconds otherwise.
        """
        if not (self._queue or self._resuming):
            return
        with self._lock:
            now = monotonic()
            self._lend_slots(now)
            for thread in self._threads:
                if thread.slot_since is None or thread.waiting_since is not None:
                    continue
                if not thread.has_forfeited and thread.slot_since < now - FORFEIT_AFTER:
                    thread.has_forfeited = True
                    self._assign_slot()

    def close(self) -> None:
        """End the threads and drop the queue: idle threads now, the others after their jobs."""
        with self._lock:
            self._closed = True
            self._queue.clear()
            for thread in self._idle:
                thread.wake.release()
            self._idle.clear()

    # --- called with the lock held

    def _poll_interval(self, thread: _PoolThread) -> float:
        """Return the seconds until ``thread`` looks for a slot; the first in line looks often."""
        is_first = self._resuming and self._resuming[0] is thread
        return LEND_AFTER if is_first else POLL_INTERVAL

    def _lend_slots(self, now: float) -> None:
        """Give the slots of threads that have waited for long enough to threads that want one."""
        for thread in self._threads:
            if not (self._resuming or (self._queue and self._idle)):
                return
            waiting_since = thread.waiting_since
            if thread.slot_since is None or waiting_since is None:
                continue
            if waiting_since <= now - LEND_AFTER:
                self._release_slot(thread)

    def _start(self, thread: _PoolThread, job: Job) -> None:
        thread.job = job
        thread.slot_since = monotonic()
        thread.wake.release()

    def _release_slot(self, thread: _PoolThread) -> None:
        thread.slot_since = None
        if thread.has_forfeited:  # another thread has the slot
            thread.has_forfeited = False
        else:
            self._assign_slot()

    def _assign_slot(self) -> None:
        """Give a slot to the first thread in line, else to a new job, else keep it free."""
        if self._resuming:
            thread = self._resuming.popleft()
            thread.slot_since = monotonic()
            thread.wake.release()
        elif self._queue and self._idle:
            self._start(self._idle.pop(), self._queue.popleft())
        else:
            self._free_slots += 1

    # --- the threads

    def _run(self, thread: _PoolThread) -> None:
        _current.thread = thread
        while (job := self._next_job(thread)) is not None:
            self._call(job)
        self._call(self._on_idle)

    @staticmethod
    def _call(job: Job) -> None:
        try:
            job()
        except BaseException:
            logger.exception("a job raised an exception that it did not report")

    def _next_job(self, thread: _PoolThread) -> Job | None:
        """Return the next job of an idle thread, once there is one; None when the pool closes."""
        with self._lock:
            if self._closed:
                if thread.slot_since is not None:  # for a thread whose wait is over
                    self._release_slot(thread)
                return None
            if thread.slot_since is not None:
                if not thread.has_forfeited and self._queue and not self._resuming:
                    thread.slot_since = monotonic()
                    return self._queue.popleft()
                self._idle.append(thread)
                self._release_slot(thread)
            else:
                self._idle.append(thread)
            if self._free_slots and self._idle and self._queue:
                self._free_slots -= 1
                self._assign_slot()
        if not thread.wake.acquire(timeout=IDLE_AFTER):
            self._call(self._on_idle)
            thread.wake.acquire()
        job, thread.job = thread.job, None
        return job
