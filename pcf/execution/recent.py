"""A bounded memory for what is costly to make and never changes."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Forgets what was not used lately; for all threads.

    Two dictionaries: what is used goes into the younger one, and when that has half of ``size`` the
    older one is forgotten and replaced by it. So the half of ``size`` that was used last is known,
    and more than ``size`` (but 2 at least) never; to find something takes no lock, and an item a
    third of the memory it has in a list of them by age.
    """

    def __init__(self, size: int) -> None:
        self._half = max(1, size // 2)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._lock = Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of ``key``, made now if it is new; two threads may both make it."""
        found = self.find(key)
        if found is None:
            found = make()
            self.add(key, found)
        return found

    def find(self, key: K) -> V | None:
        """The value of ``key``; None when it is not known, or no longer."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.add(key, found)
        return found

    def add(self, key: K, value: V) -> None:
        """Remember ``value``, which is not None."""
        with self._lock:
            if len(self._young) >= self._half and key not in self._young:
                self._old, self._young = self._young, {}
            self._young[key] = value

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
