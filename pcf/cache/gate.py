"""The gate to Redis: every command of the response cache goes through it.

When Redis fails, commands raise ``CacheUnavailable`` and requests are served from PostgreSQL.
After ``cache.breaker_failures`` failures in a row the gate stays shut for
``cache.breaker_seconds``, so that a dead Redis costs no request its time-out. After a failure
nothing is read or stored before everything that is owed to Redis has been delivered; what is owed
stands in PostgreSQL (``pcf.cache.outbox``).
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from threading import Lock
from time import monotonic, perf_counter
from typing import Any

import psycopg
from django_redis import get_redis_connection
from redis import RedisError
from redis.exceptions import OutOfMemoryError

from pcf import metrics
from pcf.apps import config
from pcf.cache import position_scripts, scripts
from pcf.cache.names import kinds_of, write_names
from pcf.cache.wire import Wire, wire
from pcf.database.replicas import primary_position, replicas
from pcf.execution.dependencies import Dependencies
from pcf.timeouts import current_timeout
from pcf.tracing import record

logger = logging.getLogger("pcf.cache")

_PING = "return redis.call('PING')"
_NAMES = {
    scripts.LOOKUP: "lookup",
    scripts.STORE: "store",
    scripts.LAND: "land",
    scripts.RENEW: "renew",
    scripts.INVALIDATE: "invalidate",
    scripts.MARK: "mark",
    scripts.CLEAR: "clear",
    scripts.OVERVIEW: "overview",
    _PING: "ping",
}
_durations = {script: metrics.cache_commands.labels(name) for script, name in _NAMES.items()}
_other = metrics.cache_commands.labels("other")
_reads = metrics.cache_commands.labels("read")
_waits = metrics.cache_commands.labels("wait")


class CacheUnavailable(Exception):
    """Redis did not answer, or is being left alone."""


Settle = Callable[[], None]


class Gate:
    """Runs scripts on Redis; shared by the threads of a process."""

    def __init__(self, alias: str = "default") -> None:
        self._alias = alias
        self._lock = Lock()
        self._failures = 0
        self._shut_until = 0.0
        self._settling = Lock()
        self._settler: Settle | None = None
        self._debts = 0  # how often something may have been owed; 0 while nothing is
        self._lease: float | None = None  # until when what the watch saw holds; None without one
        self._full = False  # Redis has no memory: hits are served, nothing is stored
        self._closed: dict[str, str] = {}  # why nothing may be cached as things are set up

    def settle_with(self, settler: Settle) -> None:
        """Deliver what is owed by ``settler``, which raises CacheUnavailable when it fails."""
        self._settler = settler

    def run(self, script: str, *arguments: Any) -> Any:
        """What ``script`` returns. Raises CacheUnavailable; takes ``timeouts.cache`` at most."""
        self._admit()
        return self._send(script, *arguments)

    def admits_read(self) -> bool:
        """Return whether an event loop may ask Redis for hits now; waits for nothing.

        It may not while anything is owed, as is the case after a failure: what is owed is
        delivered by threads.
        """
        if self._debts or self._closed or self._shut_until:
            return False
        return self._lease is None or monotonic() <= self._lease

    def read_succeeded(self, seconds: float) -> None:
        """Note that an event loop got replies, after ``seconds``."""
        _reads.observe(seconds)
        if self._failures:
            self._recovered()

    def read_failed(self, error: Exception) -> None:
        """Note that an event loop got no reply, or an error."""
        self._failed(error)

    def _admit(self) -> None:
        """Raise CacheUnavailable where nothing may be read or stored now, and what is owed cannot
        be delivered.
        """
        timeout = current_timeout()
        if timeout is not None and timeout.remaining() < config().timeouts.cache:
            raise CacheUnavailable  # the rest of the time belongs to the answer
        if self._closed or (self._lease is not None and monotonic() > self._lease):
            raise CacheUnavailable
        if self._debts:
            self.settle()

    def owe(self) -> None:
        """Something is in the outbox: nothing is read or stored before it has been delivered."""
        with self._lock:
            self._debts += 1

    def hold_lease(self, until: float | None) -> None:
        """The outbox was looked at: others may owe something from ``until`` (monotonic) on."""
        self._lease = until

    @property
    def is_owing(self) -> bool:
        """Whether something may be owed to Redis."""
        return self._debts > 0

    def evicts(self) -> str | None:
        """The policy by which Redis may remove keys of its own accord, or None. Raises
        CacheUnavailable.
        """
        try:
            memory = get_redis_connection(self._alias).info("memory")
        except (RedisError, OSError) as error:
            self._failed(error)
            raise CacheUnavailable from error
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        return policy if memory.get("maxmemory") and policy != "noeviction" else None

    def close(self, what: str, reason: str | None) -> None:
        """Serve and store nothing for ``reason``, until it is None. Writes are still delivered."""
        if self._closed.get(what) == reason:
            return
        if reason is None:
            del self._closed[what]
            logger.warning("responses are cached again")
        else:
            self._closed = {**self._closed, what: reason}
            logger.warning("responses are not cached: %s", reason)

    def is_closed(self, what: str) -> bool:
        """Whether ``close`` was called for ``what``."""
        return what in self._closed

    def trouble(self) -> str | None:
        """Why nothing is served from the cache now, for operators; None when all is well."""
        if self._closed:
            return "; ".join(self._closed.values())
        if self._left_alone():
            return "Redis fails and is left alone"
        if self._debts:
            return "writes are owed to Redis"
        if self._full:
            return "Redis is out of memory: nothing is stored"
        if self._lease is not None and monotonic() > self._lease:
            return "the watch is late"
        return None

    def settle(self, settler: Settle | None = None) -> None:
        """Deliver what is owed; one thread at a time, the others are refused meanwhile.

        Raises CacheUnavailable when that is not possible now.
        """
        settler = settler or self._settler
        if settler is None or self._left_alone() or not self._settling.acquire(blocking=False):
            raise CacheUnavailable
        try:
            debts = self._debts
            settler()
            with self._lock:
                if self._debts == debts:
                    self._debts = 0
        finally:
            self._settling.release()
        if self._debts:
            raise CacheUnavailable

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
            found: bytes | None = self._guarded(_waits, Wire.command, *move, seconds=2 * limit)
            if found is not None:
                return found
        return None

    def ping(self) -> None:
        """Whether Redis answers. Raises CacheUnavailable."""
        self._send(_PING)

    def mark(self, transaction: str, names: Sequence[str]) -> int:
        """Before a commit: remove what depends on ``names``, and let nothing be stored that does
        until ``clear``. Returns the number of entries removed; raises CacheUnavailable.

        The request's deadline does not count, here as below: the write is about to be committed.
        """
        _count(names)
        settings = config().cache
        sent: int = self._send(
            scripts.MARK, settings.prefix, settings.generation_ttl, transaction, *names
        )
        return sent

    def clear(self, transaction: str) -> bool:
        """After it: whether the marks of ``transaction`` were still there. Raises
        CacheUnavailable.
        """
        settings = config().cache
        self._note_position()
        return bool(
            self._send(scripts.CLEAR, settings.prefix, settings.generation_ttl, transaction)
        )

    def marked(self, seconds: int) -> list[str]:
        """The transactions whose marks are at least ``seconds`` old. Raises CacheUnavailable."""
        found = self._send(scripts.MARKED, config().cache.prefix, seconds)
        return [transaction.decode() for transaction in found]

    def invalidate(self, dependencies: Dependencies) -> int:
        """Advance the generations of ``dependencies`` and remove what depends on them.

        Returns the number of entries removed. Raises CacheUnavailable.
        """
        return self.invalidate_names(write_names(dependencies, config().cache.max_dependencies))

    def invalidate_names(self, names: Sequence[str]) -> int:
        """The same for names as ``pcf.cache.names`` spells them."""
        _count(names)
        return self._invalidate(names)

    def flush(self) -> int:
        """Remove every entry; returns how many. For operators: it walks through all keys.

        Raises CacheUnavailable.
        """
        prefix = config().cache.prefix
        removed = self._invalidate(["!"])
        try:
            names = get_redis_connection(self._alias).scan_iter(
                match=f"{prefix}:[ed]:*", count=1_000
            )
            while batch := list(islice(names, 1_000)):
                removed += self._send(scripts.DROP, prefix, *batch)
        except (RedisError, OSError) as error:
            self._failed(error)
            raise CacheUnavailable from error
        return removed

    def _invalidate(self, names: Sequence[str]) -> int:
        settings = config().cache
        self._note_position()
        sent: int = self._send(scripts.INVALIDATE, settings.prefix, settings.generation_ttl, *names)
        return sent

    def _note_position(self) -> None:
        """Where there are replicas: tell how far one must be to know what is delivered now.

        Raises CacheUnavailable when the primary cannot tell: then the delivery has to wait, too.
        """
        if not replicas().members:
            return
        settings = config().cache
        try:
            position = primary_position()
        except psycopg.Error as error:
            raise CacheUnavailable from error
        self._send(
            position_scripts.RECORD,
            settings.prefix,
            settings.generation_ttl,
            position,
            position_scripts.KEPT,
        )

    def _send(self, script: str, *arguments: Any) -> Any:
        result = self._guarded(_durations.get(script, _other), Wire.run, script, *arguments)
        if self._full and script is scripts.STORE and result:
            self._note_memory(full=False)
        return result

    def _note_memory(self, *, full: bool) -> None:
        if self._full != full:
            self._full = full
            logger.warning(
                "Redis is out of memory, responses are not stored"
                if full
                else "Redis has memory again, responses are stored"
            )

    def _guarded(
        self, duration: Any, call: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """What ``call`` returns of the thread's wire to Redis; timed, and noted when it fails."""
        if not self._admits():
            raise CacheUnavailable
        started = perf_counter()
        try:
            result = call(wire(self._alias), *arguments, **options)
        except OutOfMemoryError as error:  # it answers: hits are served, only stores are refused
            metrics.cache_failures.inc()
            self._note_memory(full=True)
            raise CacheUnavailable from error
        except (RedisError, OSError) as error:
            self._failed(error)
            raise CacheUnavailable from error
        finally:
            seconds = perf_counter() - started
            duration.observe(seconds)
            record("Redis", seconds)
        if self._failures:
            self._recovered()
        return result

    def _left_alone(self) -> bool:
        return bool(self._shut_until) and monotonic() < self._shut_until

    def _admits(self) -> bool:
        """Whether a command may be tried: after a pause by one of the threads that want to."""
        if not self._shut_until:  # the usual case needs no lock
            return True
        with self._lock:
            if self._left_alone():
                return False
            if self._shut_until:
                self._shut_until = monotonic() + config().cache.breaker_seconds
            return True

    def _failed(self, error: Exception) -> None:
        metrics.cache_failures.inc()
        settings = config().cache
        with self._lock:
            self._failures += 1
            self._debts += 1
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


def _count(names: Sequence[str]) -> None:
    for kind in kinds_of(names):
        metrics.cache_invalidations.labels(kind).inc()


@cache
def gate() -> Gate:
    """The process's gate."""
    return Gate()
