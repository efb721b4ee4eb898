"""Statistics of the cache for people: hits and misses of all processes, and what Redis holds.

A process counts its own hits and misses. It reports them with a look-up every few seconds, so they
cost no round trip.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any

from django_redis import get_redis_connection
from redis import RedisError

from pcf.cache import scripts
from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway
from pcf.conf import config

INTERVAL = 5.0  # seconds between two reports of a process

# --- hits and misses


class HitStatistics:
    """Counts hits and misses of a process since its last report; safe for threads.

    When Redis fails, the counts of the report are lost.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._hits = self._misses = 0
        self._due = 0.0

    def add_hit(self) -> None:
        """Count a response that was served from the cache."""
        with self._lock:
            self._hits += 1

    def add_miss(self) -> None:
        """Count a response that was not in the cache."""
        with self._lock:
            self._misses += 1

    @property
    def is_due(self) -> bool:
        """Whether the next look-up has to report."""
        return monotonic() >= self._due

    def report(self) -> tuple[int, int]:
        """Return the hits and misses to report now: (0, 0) unless a report is due."""
        if not self.is_due:
            return 0, 0
        with self._lock:
            counted, self._hits, self._misses = (self._hits, self._misses), 0, 0
            self._due = monotonic() + INTERVAL
        return counted


@dataclass(frozen=True, slots=True)
class HitRate:
    """Hits and misses of a period."""

    hits: int
    misses: int

    @property
    def percent(self) -> float | None:
        """The share of hits; None where nothing was counted."""
        total = self.hits + self.misses
        return 100 * self.hits / total if total else None


@dataclass(frozen=True, slots=True)
class CacheOverview:
    """The cache at a glance.

    ``keys`` is the number of all keys in the database of Redis. ``memory`` and ``max_memory`` (0
    for no limit) are bytes of the whole server; ``policy`` is its maxmemory-policy.
    """

    last_hour: HitRate
    last_day: HitRate
    keys: int
    memory: int
    max_memory: int
    policy: str


def overview(gateway: RedisGateway) -> CacheOverview:
    """Ask Redis for the overview in one round trip. Raises CacheUnavailable.

    The last hour is the current hour and the one before it.
    """
    arguments = scripts.OverviewArguments(config().cache.prefix)
    keys, info, *hours = gateway.run(scripts.OVERVIEW, arguments)
    lines = (line.partition(":") for line in info.decode().splitlines())
    memory = {name: value for name, _, value in lines}
    counted = [(int(hits or 0), int(misses or 0)) for hits, misses in hours]
    return CacheOverview(
        last_hour=_sum_of_hours(counted[:2]),
        last_day=_sum_of_hours(counted),
        keys=int(keys),
        memory=int(memory["used_memory"]),
        max_memory=int(memory["maxmemory"]),
        policy=memory["maxmemory_policy"],
    )


def _sum_of_hours(hours: list[tuple[int, int]]) -> HitRate:
    return HitRate(sum(hits for hits, _ in hours), sum(misses for _, misses in hours))


# --- keys

_BATCH = 1_000  # keys in one round trip
_NOBODYS = ("anonymous", "shared")  # the viewers of responses that are no user's
_KINDS = {"g": "generations", "d": "lists of dependents", "f": "flights", "s": "statistics"}


@dataclass
class KeyStatistics:
    """Numbers of keys, and their bytes in Redis, by what the keys hold."""

    keys: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)


def key_statistics(alias: str = "default") -> KeyStatistics:
    """Count every key under the prefix of the cache, one by one. Raises CacheUnavailable."""
    found = KeyStatistics()
    try:
        client = get_redis_connection(alias)
        for names in _batches(client):
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.memory_usage(name, samples=0)
            for name, size in zip(names, pipeline.execute(), strict=True):
                kind = _kind(name.decode())
                found.keys[kind] += 1
                found.bytes[kind] += size or 0
    except (RedisError, OSError) as error:
        raise CacheUnavailable from error
    return found


def _batches(client: Any) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for name in client.scan_iter(match=f"{config().cache.prefix}:*", count=_BATCH):
        batch.append(name)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _kind(name: str) -> str:
    letter, _, rest = name.removeprefix(f"{config().cache.prefix}:").partition(":")
    if letter != "e":
        return _KINDS.get(letter, "other")
    viewer = rest.partition(":")[0]
    if viewer == "token":
        return "credentials"
    return f"responses, {viewer}" if viewer in _NOBODYS else "responses, one viewer's"
