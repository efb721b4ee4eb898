"""The gate to Redis: every command of the response cache goes through it.

When Redis fails, commands raise ``CacheUnavailable`` and requests are served from PostgreSQL.
After ``cache.breaker_failures`` failures in a row the gate stays shut for
``cache.breaker_seconds``, so that a dead Redis costs no request its time-out. A write whose
invalidation could not be delivered is owed: nothing is read or stored through this gate until it
has been delivered.
"""

import logging
from collections.abc import Callable
from functools import cache
from threading import Lock
from time import monotonic
from typing import Any

from django_redis import get_redis_connection
from redis import RedisError

from pcf import metrics
from pcf.apps import config
from pcf.cache import scripts
from pcf.cache.names import write_names
from pcf.cache.wire import Wire, wire
from pcf.execution.dependencies import Dependencies
from pcf.timeouts import current_timeout

logger = logging.getLogger("pcf.cache")


class CacheUnavailable(Exception):
    """Redis did not answer, or is being left alone."""


class Gate:
    """Runs scripts on Redis; shared by the threads of a process."""

    def __init__(self, alias: str = "default") -> None:
        self._alias = alias
        self._lock = Lock()
        self._failures = 0
        self._shut_until = 0.0
        self._owed: Dependencies | None = None

    def run(self, script: str, *arguments: Any) -> Any:
        """What ``script`` returns. Raises CacheUnavailable; takes ``timeouts.cache`` at most."""
        timeout = current_timeout()
        if timeout is not None and timeout.remaining() < config().timeouts.cache:
            raise CacheUnavailable  # the rest of the time belongs to the answer
        self._deliver_owed()
        return self._send(script, *arguments)

    def wait(self, latch: str, seconds: float) -> bytes | None:
        """The first element of the list ``latch``, which stays there, as soon as it has one; None
        after ``seconds``. Does not ask the server for longer than ``timeouts.cache`` at a time, so
        one that hangs is noticed. Raises CacheUnavailable.
        """
        deadline = monotonic() + seconds
        limit = config().timeouts.cache
        while (left := deadline - monotonic()) > 0:
            # taken and put back in one step: everyone who waits gets it
            move = ("BLMOVE", latch, latch, "LEFT", "LEFT", max(0.001, min(left, limit)))
            found: bytes | None = self._guarded(Wire.command, *move, seconds=2 * limit)
            if found is not None:
                return found
        return None

    def ping(self) -> None:
        """Whether Redis answers. Raises CacheUnavailable."""
        self._send("return redis.call('PING')")

    def invalidate(self, dependencies: Dependencies) -> int:
        """Advance the generations of ``dependencies`` and remove what depends on them.

        Returns the number of entries removed. When Redis fails the invalidation is owed and
        CacheUnavailable is raised. The request's deadline does not count: the write is committed.
        """
        settings = config().cache
        names = write_names(dependencies, settings.max_dependencies)
        for kind in {name.partition(":")[0].rstrip("!") for name in names}:
            metrics.cache_invalidations.labels(kind).inc()
        try:
            self._deliver_owed()
            return self._invalidate(names)
        except CacheUnavailable:
            self._owe(dependencies)
            raise

    def flush(self) -> int:
        """Remove every entry; returns how many. For operators: it walks through all keys.

        Raises CacheUnavailable.
        """
        prefix = config().cache.prefix
        removed = self._invalidate(["!"])
        try:
            client = get_redis_connection(self._alias)
            batch: list[bytes] = []
            for name in client.scan_iter(match=f"{prefix}:[ed]:*", count=1_000):
                batch.append(name)
                if len(batch) == 1_000:  # noqa: PLR2004 (names in one command)
                    removed += self._unlink(client, batch)
                    batch = []
            removed += self._unlink(client, batch)
        except (RedisError, OSError) as error:
            self._failed(error)
            raise CacheUnavailable from error
        return removed

    @staticmethod
    def _unlink(client: Any, names: list[bytes]) -> int:
        if names:
            client.unlink(*names)
        return sum(b":e:" in name for name in names)

    def _invalidate(self, names: list[str]) -> int:
        settings = config().cache
        sent: int = self._send(scripts.INVALIDATE, settings.prefix, settings.generation_ttl, *names)
        return sent

    def _send(self, script: str, *arguments: Any) -> Any:
        return self._guarded(Wire.run, script, *arguments)

    def _guarded(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if self._shut_until and monotonic() < self._shut_until:
            raise CacheUnavailable
        try:
            result = call(wire(self._alias), *arguments, **options)
        except (RedisError, OSError) as error:
            self._failed(error)
            raise CacheUnavailable from error
        if self._failures:
            self._recovered()
        return result

    def _failed(self, error: Exception) -> None:
        metrics.cache_failures.inc()
        settings = config().cache
        with self._lock:
            self._failures += 1
            if self._failures < settings.breaker_failures:
                return
            if self._failures == settings.breaker_failures:
                logger.warning("Redis fails, responses are no longer cached: %s", error)
            self._shut_until = monotonic() + settings.breaker_seconds

    def _recovered(self) -> None:
        with self._lock:
            if self._failures >= config().cache.breaker_failures:
                logger.warning("Redis answers again, responses are cached")
            self._failures = 0
            self._shut_until = 0.0

    def _owe(self, dependencies: Dependencies) -> None:
        with self._lock:
            if self._owed is None:
                self._owed = Dependencies()
            self._owed.update(dependencies)

    def _deliver_owed(self) -> None:
        if self._owed is None:  # the usual case needs no lock
            return
        with self._lock:
            owed, self._owed = self._owed, None
        if not owed:
            return
        try:
            self._invalidate(write_names(owed, config().cache.max_dependencies))
        except CacheUnavailable:
            self._owe(owed)
            raise


@cache
def gate() -> Gate:
    """The process's gate."""
    return Gate()
