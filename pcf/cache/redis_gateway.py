"""The gateway to Redis: every command of the response cache goes through it.

When Redis fails, commands raise ``CacheUnavailable`` and requests are served from PostgreSQL. After
a failure nothing is read or stored before the pending writes have been delivered: those that Redis
may lack, which stand in PostgreSQL (``pcf.cache.outbox``).
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from time import monotonic, perf_counter
from typing import Any, TypeVar

import psycopg
from django_redis import get_redis_connection
from redis import RedisError
from redis.exceptions import OutOfMemoryError

from pcf.cache import scripts
from pcf.cache.availability import (
    CacheUnavailable,
    CircuitBreaker,
    Deliver,
    DisabledReasons,
    EpochStarter,
    PendingWrites,
    RelayLease,
    ServerStarts,
    StorageSpace,
)
from pcf.cache.keys import kinds_of, write_names
from pcf.cache.redis_client import RedisClient, redis_client
from pcf.cache.scripts import Script
from pcf.conf import config
from pcf.database.replicas import primary_position, replicas
from pcf.execution.dependencies import Dependencies
from pcf.greenlets import in_thread
from pcf.observability import metrics
from pcf.observability.tracing import record
from pcf.timeouts import current_timeout

__all__ = ["CacheUnavailable", "RedisGateway", "redis_gateway"]

A = TypeVar("A", bound=tuple[Any, ...])

_MEASURED = (
    scripts.LOOKUP, scripts.STORE, scripts.COMPLETE, scripts.RENEW, scripts.OVERVIEW,
    scripts.BLOCK, scripts.RELEASE, scripts.INVALIDATE, scripts.PING,
)  # fmt: skip
_durations: dict[Script[Any], Any] = {
    script: metrics.cache_commands.labels(script.name) for script in _MEASURED
}
_other = metrics.cache_commands.labels("other")
_reads = metrics.cache_commands.labels("read")
_waits = metrics.cache_commands.labels("wait")
_BATCH = 1_000  # keys that one command removes


class RedisGateway:
    """Runs scripts on Redis; one for all threads of a process.

    When Redis fails, every method raises CacheUnavailable, ``admits_read`` returns False, and
    ``breaker`` decides when the next command is sent. Methods that deliver writes ignore the
    deadline of the request: their write is committed, or is about to be.
    """

    def __init__(self, alias: str = "default") -> None:
        """``alias`` names a cache in Django's ``CACHES``."""
        self.alias = alias
        self.breaker = CircuitBreaker()
        self.lease = RelayLease()
        self.disabled = DisabledReasons()
        self.space = StorageSpace()
        self._pending = PendingWrites()
        self._deliver: Deliver | None = None
        self.epochs = EpochStarter(self._send)
        self.starts = ServerStarts(self._command, self.flush_entries, self.disabled)

    # --- whether the cache can be used

    def deliver_with(self, deliver: Deliver) -> None:
        """Deliver pending writes by ``deliver``, which raises CacheUnavailable when it fails."""
        self._deliver = deliver

    def add_pending(self) -> None:
        """Note that the outbox has a write: nothing is read or stored before it is delivered."""
        self._pending.add()

    @property
    def has_pending(self) -> bool:
        """Whether Redis may lack a write."""
        return self._pending.count > 0

    def watch(self, aliases: Sequence[str]) -> None:
        """Note that each of these databases has a relay, which delivers its pending writes."""
        self._pending.aliases = tuple(aliases)

    def flush_pending(self, deliver: Deliver | None = None, alias: str | None = None) -> None:
        """Deliver the pending writes of all databases.

        With ``deliver`` and ``alias``, deliver those of the database ``alias`` by ``deliver``.
        Raises CacheUnavailable when that is not possible now.
        """
        deliver = deliver or self._deliver
        if deliver is None or self.breaker.is_open:
            raise CacheUnavailable
        self._pending.flush(deliver, alias)

    def admits_read(self) -> bool:
        """Return whether an event loop may read from Redis now; never wait.

        It may not while writes are pending, as they are after a failure: threads deliver those.
        """
        if self._pending.count or self.disabled.reasons or not self.breaker.is_closed:
            return False
        return not self.lease.is_over

    def problem(self) -> str | None:
        """Return why nothing is served from the cache now, for operators; None when all is well."""
        if self.disabled.reasons:
            return "; ".join(self.disabled.reasons.values())
        if self.breaker.is_open:
            return "Redis fails: the circuit breaker is open"
        if self.has_pending:
            return "Redis lacks committed writes: they are pending"
        if self.space.is_exhausted:
            return "Redis is out of memory: nothing is stored"
        if self.epochs.writers:
            return "Redis has lost its data: it is used when the writes of before have ended"
        return "the outbox relay is late" if self.lease.is_over else None

    def _admit(self) -> None:
        """Raise CacheUnavailable where nothing may be read or stored now.

        Deliver pending writes first.
        """
        self._check_time()
        if self.disabled.reasons or self.lease.is_over:
            raise CacheUnavailable
        if self._pending.count:
            in_thread(self.flush_pending)

    @staticmethod
    def _check_time() -> None:
        """Raise CacheUnavailable where the response needs the rest of the request's time."""
        timeout = current_timeout()
        if timeout is not None and timeout.remaining() < config().timeouts.cache:
            raise CacheUnavailable

    # --- reading and storing

    def run(self, script: Script[A], arguments: A, *more: str | bytes | int) -> Any:
        """Return what ``script`` returns, within ``timeouts.cache`` seconds.

        What clients have used up is counted also where nothing may be read or stored.
        """
        if script is scripts.CHARGE:
            self._check_time()
        else:
            self._admit()
        return self._send(script, arguments, *more)

    def memory(self) -> int | None:
        """Return the bytes that Redis may use, None where it does not tell.

        Without ``maxmemory`` these are the bytes of its machine. Raises CacheUnavailable.
        """
        if not self.space.is_known:
            in_thread(self._read_memory)
        return self.space.memory

    def run_in_epoch(self, script: Script[A], arguments: A) -> Any:
        """Run ``script``. If its first result is None, begin an epoch and run the script again."""
        for _ in range(2):
            reply = self.run(script, arguments)
            if reply[0] is not None:
                return reply
            in_thread(self.epochs.begin)
        raise CacheUnavailable

    def wait(self, key: str, seconds: float) -> bytes | None:
        """Return the first element of the list ``key`` as soon as there is one; leave it there.

        Return None after ``seconds``. One command waits for ``timeouts.cache`` seconds at most, so
        the gateway notices a server that hangs.
        """
        deadline = monotonic() + seconds
        limit = config().timeouts.cache
        while (left := deadline - monotonic()) > 0:
            # the command puts the element back in the same step: every client that waits gets it
            move = ("BLMOVE", key, key, "LEFT", "LEFT", max(0.001, min(left, limit)))
            found: bytes | None = self._guarded(
                _waits, RedisClient.command, *move, seconds=2 * limit
            )
            if found is not None:
                return found
        return None

    def read_succeeded(self, seconds: float) -> None:
        """Note that an event loop got replies after ``seconds``."""
        _reads.observe(seconds)
        self.breaker.record_success()

    def read_failed(self, error: Exception) -> None:
        """Note that an event loop got no reply, or an error."""
        self._record_failure(error)

    def ping(self) -> None:
        """Raise CacheUnavailable unless Redis answers."""
        self._send(scripts.PING, scripts.NoArguments())

    def eviction_policy(self) -> str | None:
        """Return the policy by which Redis removes keys of its own accord; None for none."""
        memory = self._read_memory()
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        return policy if memory.get("maxmemory") and policy != "noeviction" else None

    def _read_memory(self) -> dict[str, Any]:
        try:
            memory: dict[str, Any] = get_redis_connection(self.alias).info("memory")
        except (RedisError, OSError) as error:
            self._record_failure(error)
            raise CacheUnavailable from error
        self.space.measure(memory.get("maxmemory") or memory.get("total_system_memory"))
        return memory

    # --- delivering writes

    def block(self, transaction: str, names: Sequence[str]) -> int:
        """Before a COMMIT: remove what depends on ``names``, and block them until ``release``.

        The fence refuses every entry that depends on a blocked name. Return the number of entries
        removed.
        """
        _count(names)
        settings = config().cache
        arguments = scripts.BlockArguments(settings.prefix, settings.generation_ttl, transaction)
        removed: int = self._send(scripts.BLOCK, arguments, *names)
        return removed

    def release(self, transaction: str) -> bool:
        """After the COMMIT: release the names that ``transaction`` blocks.

        Return whether it still blocked them.
        """
        settings = config().cache
        self._record_position()
        arguments = scripts.ReleaseArguments(settings.prefix, settings.generation_ttl, transaction)
        return bool(self._send(scripts.RELEASE, arguments))

    def blocking_transactions(self, seconds: int) -> list[str]:
        """Return the transactions that have blocked names for at least ``seconds``."""
        arguments = scripts.BlockedArguments(config().cache.prefix, seconds)
        return [name.decode() for name in self._send(scripts.BLOCKED, arguments)]

    def invalidate(self, dependencies: Dependencies) -> int:
        """Remove what depends on ``dependencies``, and advance their generations.

        Return the number of entries removed.
        """
        return self.invalidate_names(write_names(dependencies, config().cache.max_dependencies))

    def invalidate_names(self, names: Sequence[str]) -> int:
        """Remove the entries that depend on ``names``, and advance the generations of the names.

        ``names`` are as ``pcf.cache.keys`` writes them. Return the number of entries removed.
        """
        _count(names)
        return self._invalidate(names)

    def flush_entries(self) -> int:
        """Remove every entry; return their number. For operators: it walks through all keys."""
        prefix = config().cache.prefix
        removed = self._invalidate(["!"])
        try:
            keys = get_redis_connection(self.alias).scan_iter(
                match=f"{prefix}:[ed]:*", count=_BATCH
            )
            while batch := list(islice(keys, _BATCH)):
                removed += self._send(scripts.DROP, scripts.DropArguments(prefix), *batch)
        except (RedisError, OSError) as error:
            self._record_failure(error)
            raise CacheUnavailable from error
        return removed

    def _command(self, *parts: str | int) -> Any:
        return self._guarded(_other, RedisClient.command, *parts)

    def _invalidate(self, names: Sequence[str]) -> int:
        settings = config().cache
        self._record_position()
        arguments = scripts.InvalidateArguments(settings.prefix, settings.generation_ttl)
        removed: int = self._send(scripts.INVALIDATE, arguments, *names)
        return removed

    def _record_position(self) -> None:
        """Where there are replicas: record the position that a replica needs to have the write.

        Raises CacheUnavailable when the primary does not tell it: then the delivery has to wait.
        """
        if not replicas().members:
            return
        settings = config().cache
        try:
            position = primary_position()
        except psycopg.Error as error:
            raise CacheUnavailable from error
        arguments = scripts.RecordPositionArguments(
            settings.prefix, settings.generation_ttl, position, scripts.POSITIONS_KEPT
        )
        self._send(scripts.RECORD_POSITION, arguments)

    # --- commands

    def _send(self, script: Script[A], arguments: A, *more: str | bytes | int) -> Any:
        duration = _durations.get(script, _other)
        result = self._guarded(duration, RedisClient.run, script, *arguments, *more)
        if self.space.is_exhausted and script is scripts.STORE and result:
            self.space.note(exhausted=False)
        return result

    def _guarded(
        self, duration: Any, call: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Return what ``call`` returns on the process's client; measure it and note its failure."""
        if not self.breaker.allows_command():
            raise CacheUnavailable
        started = perf_counter()
        try:
            result = call(redis_client(self.alias), *arguments, **options)
        except OutOfMemoryError as error:  # Redis works: it serves hits and refuses stores
            metrics.cache_failures.inc()
            self.space.note(exhausted=True)
            raise CacheUnavailable from error
        except (RedisError, OSError) as error:
            self._record_failure(error)
            raise CacheUnavailable from error
        finally:
            seconds = perf_counter() - started
            duration.observe(seconds)
            record("Redis", seconds)
        self.breaker.record_success()
        return result

    def _record_failure(self, error: Exception) -> None:
        """Count a failure. The command may have delivered a write, so that is pending now."""
        metrics.cache_failures.inc()
        self._pending.add()
        self.breaker.record_failure(error)


def _count(names: Sequence[str]) -> None:
    for kind in kinds_of(names):
        metrics.cache_invalidations.labels(kind).inc()


@cache
def redis_gateway() -> RedisGateway:
    """Return the gateway of the process."""
    return RedisGateway()
