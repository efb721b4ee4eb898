"""A lock that many threads share, or one thread holds alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class SharedLock:
    """A shared and exclusive lock; a thread that waits for the exclusive lock goes first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._sharing = 0
        self._exclusive = False
        self._waiting = 0  # for the exclusive lock

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other threads."""
        with self._changed:
            self._changed.wait_for(lambda: not self._exclusive and not self._waiting)
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._exclusive and not self._sharing)
            self._waiting -= 1
            self._exclusive = True
        try:
            yield
        finally:
            with self._changed:
                self._exclusive = False
                self._changed.notify_all()
