"""How many threads of a process compute at once, however many of them wait.

Threads that compute fight for Python's interpreter, threads that wait do not. So a thread that
works for a request needs a *slot* while it computes. A thread that waits for PostgreSQL, for Redis,
for a connection of the pool or for another request lends its slot to whoever wants one, once it has
waited for ``REST``: most waits are shorter, and to wake another thread costs as much as they do.

A thread that keeps its slot for longer than ``OVERDUE`` (it computes without end, or it waits
where the engine cannot see that) forfeits the slot, so that it never keeps others from working.

Threads that belong to no pool (commands, tests, another server's threads) need no slots.
"""

import logging
from collections import deque
from collections.abc import Callable
from threading import Lock, Thread, local
from time import monotonic

REST = 0.001  # seconds of waiting after which a slot is lent, if another thread wants one
PATIENCE = 0.02  # seconds between two looks for a slot by a thread that is not the next
OVERDUE = 0.1  # seconds of computing after which a slot is forfeited, if another thread wants one

Job = Callable[[], None]

logger = logging.getLogger("pcf.server")


class _Worker(local):
    """What a thread knows of itself: its pool, and whether it has a slot."""

    seat: "_Seat | None" = None


_worker = _Worker()


class _Seat:
    """One thread of a pool: where it waits for a job or for a slot.

    ``since`` is the time (monotonic) since when the thread has a slot, None while it has none;
    ``waiting`` since when it waits with the slot, None while it does not.
    """

    __slots__ = ("forfeited", "job", "pool", "since", "waiting", "wake")

    def __init__(self, pool: "ComputePool") -> None:
        self.pool = pool
        self.wake = Lock()
        self.wake.acquire()
        self.job: Job | None = None
        self.since: float | None = None
        self.waiting: float | None = None
        self.forfeited = False


class slot_released:  # noqa: N801 - reads as the function that it stands for
    """For the block: the thread waits, so another one may compute.

    It costs a microsecond. Blocks may be nested. Threads without slots pass through.
    """

    __slots__ = ("_seat",)

    def __enter__(self) -> None:
        seat = _worker.seat
        if seat is not None and seat.waiting is None:
            self._seat: _Seat | None = seat
            seat.waiting = monotonic()
        else:
            self._seat = None

    def __exit__(self, *_: object) -> None:
        seat = self._seat
        if seat is not None:
            seat.pool.take(seat)


class ComputePool:
    """Threads that do jobs in the order in which they came; ``slots`` of them compute at once.

    A thread that has waited goes on before a new job begins. Of idle threads the one that worked
    last takes the next job: what it needs is still in the processor's caches.

    Jobs report their own errors; what a job raises is logged.
    """

    def __init__(self, threads: int, slots: int, *, most: int) -> None:
        """``threads`` and ``slots`` are numbers of threads; ``most`` is how many jobs may wait."""
        self._lock = Lock()
        self._free = slots
        self._jobs: deque[Job] = deque()
        self._idle: list[_Seat] = []
        self._resuming: deque[_Seat] = deque()
        self._seats = [_Seat(self) for _ in range(threads)]
        self._most = most
        self._closed = False
        for number, seat in enumerate(self._seats):
            Thread(target=self._work, args=(seat,), name=f"pcf-{number}", daemon=True).start()

    @property
    def queued(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._jobs)

    def submit(self, job: Job) -> bool:
        """Have a thread do ``job``; False, and nothing done, when too many wait already."""
        with self._lock:
            if self._free and self._idle:
                self._free -= 1
                self._begin(self._idle.pop(), job)
            elif len(self._jobs) >= self._most:
                return False
            else:
                self._jobs.append(job)
                self._borrow(monotonic())
        return True

    def take(self, seat: _Seat) -> None:
        """The thread of ``seat`` has waited; it needs a slot to go on."""
        with self._lock:
            seat.waiting, now = None, monotonic()
            if seat.forfeited:  # another thread has the slot
                seat.since, seat.forfeited = None, False
            if seat.since is not None or self._free:
                self._free -= seat.since is None
                seat.since = now
                return
            self._resuming.append(seat)
            self._borrow(now)
        while not seat.wake.acquire(timeout=REST if self._is_first(seat) else PATIENCE):
            with self._lock:
                self._borrow(monotonic())

    def _is_first(self, seat: _Seat) -> bool:
        """Whether the next slot is for ``seat``; one thread that looks for a slot is enough."""
        return bool(self._resuming) and self._resuming[0] is seat

    def look(self) -> None:
        """Lend the slots of threads that wait, and replace those that are overdue.

        To be called every ``REST`` or so while jobs are queued, and every ``OVERDUE`` otherwise.
        """
        if not (self._jobs or self._resuming):
            return
        with self._lock:
            now = monotonic()
            self._borrow(now)
            for seat in self._seats:
                if seat.since is None or seat.waiting is not None or seat.forfeited:
                    continue
                if seat.since < now - OVERDUE:
                    seat.forfeited = True
                    self._pass_on()

    def _borrow(self, now: float) -> None:
        """Give the slots of threads that have waited for long enough to those who want them."""
        for seat in self._seats:
            if not (self._resuming or (self._jobs and self._idle)):
                return
            since, waiting = seat.since, seat.waiting
            if since is not None and waiting is not None and waiting <= now - REST:
                self._release(seat)

    def close(self) -> None:
        """End the threads: the idle ones now, the others after their jobs."""
        with self._lock:
            self._closed = True
            self._jobs.clear()
            for seat in self._idle:
                seat.wake.release()
            self._idle.clear()

    def _begin(self, seat: _Seat, job: Job) -> None:
        seat.job = job
        seat.since = monotonic()
        seat.wake.release()

    def _release(self, seat: _Seat) -> None:
        seat.since = None
        if seat.forfeited:  # another thread has it
            seat.forfeited = False
        else:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give a slot to the thread that has waited longest, or to a new job, or to nobody."""
        if self._resuming:
            seat = self._resuming.popleft()
            seat.since = monotonic()
            seat.wake.release()
        elif self._jobs and self._idle:
            self._begin(self._idle.pop(), self._jobs.popleft())
        else:
            self._free += 1

    def _next(self, seat: _Seat) -> Job | None:
        """The next job of a thread that has ended one, None when the pool was closed."""
        with self._lock:
            if self._closed:
                if seat.since is not None:  # threads that have waited still go on
                    self._release(seat)
                return None
            if seat.since is not None:
                kept = not seat.forfeited
                if kept and self._jobs and not self._resuming:
                    seat.since = monotonic()
                    return self._jobs.popleft()
                self._idle.append(seat)
                self._release(seat)
            else:
                self._idle.append(seat)
            if self._free and self._idle and self._jobs:
                self._free -= 1
                self._pass_on()
        seat.wake.acquire()
        job, seat.job = seat.job, None
        return job

    def _work(self, seat: _Seat) -> None:
        _worker.seat = seat
        while (job := self._next(seat)) is not None:
            try:
                job()
            except BaseException:
                logger.exception("a job has failed without reporting it")
