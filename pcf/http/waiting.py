"""Connections that wait for their clients, and the threads that take whichever can be read.

All threads wait on one poll of the kernel, which wakes one of them for one connection. So a request
is begun by the thread that was woken for it: nobody hands it on, and a thread that has answered
finds the next request without sleeping where there is one already.
"""

import os
import select
from collections import deque
from selectors import EVENT_READ, DefaultSelector
from threading import Lock
from time import monotonic
from typing import Any, Protocol


class Poll(Protocol):
    """What tells the readable of many file descriptors."""

    def arm(self, fd: int, *, known: bool) -> None:
        """Have ``wait`` return ``fd`` once when it is readable or its other end has hung up.

        ``known`` when it has been armed before. Raises OSError or ValueError for what is closed.
        """

    def wait(self) -> int:
        """Wait, without a bound, for one that is armed and readable; then it is armed no more."""

    def wake(self, fd: int) -> None:
        """Have every call of ``wait``, now and later, return ``fd``, which is readable."""

    def close(self) -> None:
        """Free the kernel's part."""


class EpollPoll:
    """Linux's epoll, on which many threads may wait at once: each event wakes one of them."""

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def arm(self, fd: int, *, known: bool) -> None:
        """See ``Poll``. What is closed leaves the poll by itself."""
        change = self._epoll.modify if known else self._epoll.register
        change(fd, select.EPOLLIN | select.EPOLLONESHOT)

    def wait(self) -> int:
        """See ``Poll``."""
        while True:
            for fd, _ in self._epoll.poll(maxevents=1):
                return fd

    def wake(self, fd: int) -> None:
        """See ``Poll``: without ONESHOT it is told again and again."""
        self._epoll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """See ``Poll``."""
        self._epoll.close()


class SelectorPoll:
    """The same where there is no epoll: one thread waits for all, and the next one takes over."""

    def __init__(self) -> None:
        self._selector = DefaultSelector()
        self._lock = Lock()
        self._readable: deque[int] = deque()
        self._waker: int | None = None

    def arm(self, fd: int, *, known: bool) -> None:  # noqa: ARG002 - the selector forgets them
        """See ``Poll``."""
        try:
            self._selector.register(fd, EVENT_READ)
        except KeyError:  # its number is of one that was closed
            self._selector.unregister(fd)
            self._selector.register(fd, EVENT_READ)

    def wait(self) -> int:
        """See ``Poll``."""
        with self._lock:
            while not self._readable:
                for key, _ in self._selector.select():
                    if key.fd == self._waker:
                        return key.fd
                    self._selector.unregister(key.fd)
                    self._readable.append(key.fd)
            return self._readable.popleft()

    def wake(self, fd: int) -> None:
        """See ``Poll``."""
        self._waker = fd
        self._selector.register(fd, EVENT_READ)

    def close(self) -> None:
        """See ``Poll``."""
        self._selector.close()


def make_poll() -> Poll:
    """The best that this system has."""
    return EpollPoll() if hasattr(select, "epoll") else SelectorPoll()


class WaitingConnections:
    """The connections of a worker that nobody works on.

    ``len()`` says how many. Only the thread that calls ``expire`` may close connections or accept
    new ones, so that no number of a file descriptor comes to stand for another connection
    unnoticed.
    """

    def __init__(self, poll: Poll | None = None) -> None:
        self._poll = poll or make_poll()
        self._waiting: dict[int, Any] = {}  # in the order in which they began to wait
        self._stop, self._stopped = os.pipe()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, conn: Any, seconds: float) -> None:
        """Let ``conn`` wait for its client, ``seconds`` at most.

        Raises OSError or ValueError when its socket is closed.
        """
        fd = conn.sock.fileno()
        conn.timeout = monotonic() + seconds
        known = getattr(conn, "armed", False)
        # both first: another thread may take it, and add it again, before ``arm`` returns here
        conn.armed = True
        self._waiting[fd] = conn
        try:
            self._poll.arm(fd, known=known)
        except (OSError, ValueError):
            self._waiting.pop(fd, None)
            raise

    def take(self) -> Any | None:
        """Wait for a connection that has something to read, or whose client has hung up; None when
        ``stop`` was called.
        """
        while True:
            fd = self._poll.wait()
            if fd == self._stop:
                return None
            conn = self._waiting.pop(fd, None)
            if conn is not None:
                return conn

    def expire(self, now: float) -> list[Any]:
        """Take out those whose time was over at ``now``, by the clock ``monotonic``."""
        expired = []
        for fd, conn in self._waiting.copy().items():
            if conn.timeout <= now and self._waiting.pop(fd, None) is not None:
                if conn.timeout <= now:
                    expired.append(conn)
                else:  # it was used just now
                    self.add(conn, conn.timeout - monotonic())
        return expired

    def stop(self) -> None:
        """Have all calls of ``take`` return; may be called twice."""
        if self._stopped >= 0:
            self._poll.wake(self._stop)
            os.close(self._stopped)  # from now on the other end is readable
            self._stopped = -1
