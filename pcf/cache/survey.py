"""A look at every key of the cache, for operators: it takes a while, requests never do it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django_redis import get_redis_connection
from redis import RedisError

from pcf.apps import config
from pcf.cache.gate import CacheUnavailable

_BATCH = 1_000  # keys in one round trip
_KINDS = {"g": "generations", "d": "lists of dependents", "f": "flights", "s": "figures"}


@dataclass
class Survey:
    """Numbers of keys by what they are, and their bytes in Redis."""

    keys: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)


def survey(alias: str = "default") -> Survey:
    """Count everything under the cache's prefix. Raises CacheUnavailable."""
    found = Survey()
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
    whose = rest.partition(":")[0]
    if whose == "token":
        return "credentials"
    return "responses, one viewer's" if whose[:1].isdigit() else f"responses, {whose}"
