"""A bounded memory for what is costly to make and never changes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Forgets what was not used for longest; for all threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()
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
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
        return found

    def add(self, key: K, value: V) -> None:
        """Remember ``value``, which is not None."""
        with self._lock:
            self._items[key] = value
            while len(self._items) > self._size:
                self._items.popitem(last=False)

    def __len__(self) -> int:
        return len(self._items)
