"""Connections that wait for their clients, and what tells which of them can be read.

One thread waits for all of them and takes whatever has come (``pcf.http.hit_loop``); any thread may
let a connection wait again.
"""

import os
import select
from selectors import EVENT_READ, DefaultSelector
from time import monotonic
from typing import Any, Protocol

AT_ONCE = 64  # connections that are taken together at most


class Poll(Protocol):
    """What tells the readable of many file descriptors."""

    def arm(self, fd: int, *, known: bool) -> None:
        """Have ``wait`` return ``fd`` when it is readable or its other end has hung up, and again
        whenever more has come.

        ``known`` when it has been armed before. Raises OSError or ValueError for what is closed.
        """

    def keep(self, fd: int) -> None:
        """``fd``, which ``wait`` returned, was read to its end: tell when more comes."""

    def wait(self) -> list[tuple[int, bool]]:
        """Wait, without a bound, for some that are armed and readable; and whether the other end
        is known to have hung up, so that nothing more will be told of it.
        """

    def wake(self, fd: int) -> None:
        """Have every call of ``wait``, now and later, return ``fd``, which is readable."""

    def close(self) -> None:
        """Free the kernel's part."""


class EpollPoll:
    """Linux's epoll, edge-triggered: a connection that is read to its end needs no system call to
    wait again.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def arm(self, fd: int, *, known: bool) -> None:
        """See ``Poll``. What is closed leaves the poll by itself; what is armed again is told again
        if there is anything to read.
        """
        change = self._epoll.modify if known else self._epoll.register
        change(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def keep(self, fd: int) -> None:
        """See ``Poll``."""

    def wait(self) -> list[tuple[int, bool]]:
        """See ``Poll``."""
        while True:
            found = self._epoll.poll(maxevents=AT_ONCE)
            if found:
                return [(fd, events != select.EPOLLIN) for fd, events in found]

    def wake(self, fd: int) -> None:
        """See ``Poll``: told again and again."""
        self._epoll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """See ``Poll``."""
        self._epoll.close()


class SelectorPoll:
    """The same where there is no epoll."""

    def __init__(self) -> None:
        self._selector = DefaultSelector()
        self._waker: int | None = None

    def arm(self, fd: int, *, known: bool) -> None:  # noqa: ARG002 - the selector forgets them
        """See ``Poll``."""
        try:
            self._selector.register(fd, EVENT_READ)
        except KeyError:  # its number is of one that was closed
            self._selector.unregister(fd)
            self._selector.register(fd, EVENT_READ)

    def keep(self, fd: int) -> None:
        """See ``Poll``."""
        self.arm(fd, known=True)

    def wait(self) -> list[tuple[int, bool]]:
        """See ``Poll``."""
        while True:
            found = [key.fd for key, _ in self._selector.select()][:AT_ONCE]
            for fd in found:
                if fd != self._waker:
                    self._selector.unregister(fd)
            if found:
                return [(fd, False) for fd in found]

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

    def keep(self, conn: Any, seconds: float) -> None:
        """Let ``conn``, which ``take`` returned and which was read to its end, wait again."""
        conn.timeout = monotonic() + seconds
        fd = conn.sock.fileno()
        self._waiting[fd] = conn
        self._poll.keep(fd)

    def take(self) -> list[tuple[Any, bool]]:
        """Wait for connections that have something to read, or whose clients have hung up; with
        each, whether it is to be armed again (``add``) before more is told of it. None when
        ``stop`` was called.
        """
        while True:
            taken = []
            for fd, ended in self._poll.wait():
                if fd == self._stop:
                    return []
                conn = self._waiting.pop(fd, None)
                if conn is not None:
                    taken.append((conn, ended))
            if taken:
                return taken

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
