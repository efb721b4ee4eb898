"""A bounded in-process cache for values that are costly to make and never change."""

from collections.abc import Callable, Hashable
from functools import lru_cache
from threading import Lock
from typing import Generic, TypeVar

MAX_CLASSES = 1_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """A cache that evicts the entries that were not used lately. Safe for all threads.

    Two dictionaries hold the entries. Each use puts an entry into the young dictionary. When that
    dictionary holds half of ``size``, the young dictionary replaces the old one. So the cache
    always holds the ``size // 2`` entries that were used last. The cache never holds more than
    ``size`` entries (2 for a ``size`` of 1).

    With ``weigh``, the weights of the entries count instead of their number. A value heavier than
    half of ``size`` is not kept.

    Two dictionaries instead of an ordered list by age: a lookup takes no lock, and an entry takes
    a third of the memory.
    """

    def __init__(self, size: int, weigh: Callable[[V], int] | None = None) -> None:
        self._half = max(1, size // 2)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._weigh = weigh
        self._weights: dict[K, int] = {}  # of the young entries
        self._young_weight = 0
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """Return the value of ``key``, or None when the cache does not hold it."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.set(key, value)
        return value

    def get_or_set(self, key: K, default: Callable[[], V]) -> V:
        """Return the value of ``key``; when the cache does not hold it, call ``default`` and keep
        the result.

        Two threads that miss the same key at the same time may both call ``default``.
        """
        value = self.get(key)
        if value is None:
            value = default()
            self.set(key, value)
        return value

    def set(self, key: K, value: V) -> None:
        """Keep ``value``, which must not be None."""
        if self._weigh is not None:
            self._set_weighed(key, value, self._weigh(value))
            return
        with self._lock:
            if len(self._young) >= self._half and key not in self._young:
                self._old, self._young = self._young, {}
            self._young[key] = value

    def _set_weighed(self, key: K, value: V, weight: int) -> None:
        with self._lock:
            replaced = self._weights.get(key, 0) if key in self._young else 0
            if self._young_weight - replaced + weight > self._half:
                self._old, self._young = self._young, {}
                self._weights, self._young_weight, replaced = {}, 0, 0
            if weight > self._half:
                self._old.pop(key, None)
                return
            self._young[key] = value
            self._young_weight += weight - replaced
            self._weights[key] = weight

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())


def for_each_class(question: Callable[[type], bool]) -> Callable[[type], bool]:
    """Decorate a question about a class: the process remembers the last MAX_CLASSES answers."""
    return lru_cache(maxsize=MAX_CLASSES)(question)
