"""Hits and misses of all processes together, for people: an hour at a time, in Redis.

A process counts for itself and reports with a look-up it makes anyway, every few seconds: the
figures are that old at most, and cost no round trip. When Redis fails they are lost.
"""

from dataclasses import dataclass
from threading import Lock
from time import monotonic

from pcf.apps import config
from pcf.cache import scripts
from pcf.cache.gate import Gate

INTERVAL = 5.0  # seconds between two reports of a process


class Tally:
    """What a process has counted since its last report."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._hits = self._misses = 0
        self._due = 0.0

    def hit(self) -> None:
        """One response was served from the cache."""
        with self._lock:
            self._hits += 1

    def miss(self) -> None:
        """One was not there."""
        with self._lock:
            self._misses += 1

    @property
    def is_due(self) -> bool:
        """Whether there is something to report with the next look-up."""
        return monotonic() >= self._due

    def report(self) -> tuple[int, int]:
        """Hits and misses to report now; mostly (0, 0), since nothing is due."""
        if not self.is_due:
            return 0, 0
        with self._lock:
            counted, self._hits, self._misses = (self._hits, self._misses), 0, 0
            self._due = monotonic() + INTERVAL
        return counted


@dataclass(frozen=True, slots=True)
class Rate:
    """Hits and misses of some time."""

    hits: int
    misses: int

    @property
    def percent(self) -> float | None:
        """The share of hits; None while nothing was counted."""
        total = self.hits + self.misses
        return 100 * self.hits / total if total else None


@dataclass(frozen=True, slots=True)
class Overview:
    """The cache at a glance, without looking at its keys one by one.

    ``memory`` and ``max_memory`` (0 for no limit) are bytes of the whole Redis, ``keys`` the number
    in its database, whoever they belong to. ``policy`` is its maxmemory-policy.
    """

    last_hour: Rate
    last_day: Rate
    keys: int
    memory: int
    max_memory: int
    policy: str


def overview(gate: Gate) -> Overview:
    """Ask Redis, in one round trip; the last hour is this one and the one before it.

    Raises CacheUnavailable.
    """
    keys, info, *hours = gate.run(scripts.OVERVIEW, config().cache.prefix)
    lines = (line.partition(":") for line in info.decode().splitlines())
    memory = {name: value for name, _, value in lines}
    counted = [(int(hits or 0), int(misses or 0)) for hits, misses in hours]
    return Overview(
        last_hour=_sum(counted[:2]),
        last_day=_sum(counted),
        keys=int(keys),
        memory=int(memory["used_memory"]),
        max_memory=int(memory["maxmemory"]),
        policy=memory["maxmemory_policy"],
    )


def _sum(hours: list[tuple[int, int]]) -> Rate:
    return Rate(sum(hits for hits, _ in hours), sum(misses for _, misses in hours))
