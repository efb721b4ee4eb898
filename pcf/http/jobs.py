"""Work that is handed to threads; of those that are idle, the one that worked last takes it.

What it needs is still in the processor's caches, and where there is little to do, few threads have
memory and connections of their own.
"""

from collections import deque
from threading import Lock
from typing import Generic, TypeVar

J = TypeVar("J")


class _Seat(Generic[J]):
    """Where an idle thread waits for a job."""

    __slots__ = ("job", "taken")

    def __init__(self) -> None:
        self.job: J | None = None
        self.taken = Lock()
        self.taken.acquire()


class Jobs(Generic[J]):
    """Jobs for any number of threads, first come, first served."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._jobs: deque[J] = deque()
        self._idle: list[_Seat[J]] = []
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: J) -> None:
        """Wake a thread for ``job``, or let it wait for one."""
        self._hand(job, keep=True)

    def give(self, job: J) -> bool:
        """The same if a thread is idle; whether there was one."""
        return self._hand(job, keep=False)

    def _hand(self, job: J, *, keep: bool) -> bool:
        with self._lock:
            if not self._idle:
                if keep:
                    self._jobs.append(job)
                return False
            seat = self._idle.pop()
        seat.job = job
        seat.taken.release()
        return True

    def get(self) -> J | None:
        """The next job, as soon as there is one; None when there is none left and ``close`` was
        called.
        """
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
            if self._closed:
                return None
            seat: _Seat[J] = _Seat()
            self._idle.append(seat)
        seat.taken.acquire()
        return seat.job

    def close(self) -> None:
        """Have all calls of ``get``, now and later, return None once there is no job left."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for seat in idle:
            seat.taken.release()
