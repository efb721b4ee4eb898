"""Whether the response cache may be used: what Redis lacks, and what PostgreSQL may have lost.

``RedisGateway`` asks the classes of this module before it reads or stores.

An epoch of Redis reaches from the moment that it has all blocks to the moment that it loses data.
Redis loses its data when it restarts, and when an operator empties it. The blocks of writers are
lost with the data: a writer may be between its block and the end of its COMMIT. A reader must not
store what it reads before that COMMIT, because nothing would remove it. So nothing is stored before
a new epoch has begun, and an epoch begins when all transactions that were in progress after the
loss have ended.

PostgreSQL loses its last commits when it crashes (``synchronous_commit = off``), and when another
server takes its place. Entries may show those commits. So the first process that gets a session of
another start removes all entries before it uses the session.
"""

import logging
from collections.abc import Callable
from secrets import token_hex
from threading import Lock
from time import monotonic, sleep
from typing import Any

from pcf.cache.scripts import (
    ANNOUNCE_EPOCH,
    EPOCH_TTL,
    OPEN_EPOCH,
    AnnounceEpochArguments,
    OpenEpochArguments,
)
from pcf.concurrency import slot_released
from pcf.conf import config
from pcf.timeouts import current_timeout

logger = logging.getLogger("pcf.cache")

Deliver = Callable[[], None]
FindWriters = Callable[[], set[str]]
"""Returns the names of the transactions in progress that may write; raises CacheUnavailable."""

RETRY_AFTER = 0.05  # seconds between two attempts of a process to begin an epoch


class CacheUnavailable(Exception):
    """Redis did not answer, or the cache may not be used now."""


class CircuitBreaker:
    """Lets commands through until too many of them have failed in a row; safe for threads.

    After ``cache.breaker_failures`` failures in a row the breaker opens for
    ``cache.breaker_seconds``, so a dead Redis costs no request its time-out. Then one command at a
    time may try: a success closes the breaker, a failure leaves it open for as long again.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures = 0
        self._open_until = 0.0  # monotonic; 0 while the breaker is closed

    @property
    def is_closed(self) -> bool:
        """Whether every command may go through."""
        return not self._open_until

    @property
    def is_open(self) -> bool:
        """Whether no command may go through now."""
        return bool(self._open_until) and monotonic() < self._open_until

    def allows_command(self) -> bool:
        """Return whether the caller may send a command; the caller then reports its result."""
        if not self._open_until:  # the usual case needs no lock
            return True
        with self._lock:
            if self.is_open:
                return False
            if self._open_until:  # the caller tries, the others do not wait with it
                self._open_until = monotonic() + config().cache.breaker_seconds
            return True

    def record_failure(self, error: Exception) -> None:
        """Count a command that failed with ``error``."""
        settings = config().cache
        with self._lock:
            self._failures += 1
            if self._failures < settings.breaker_failures:
                return
            if self._failures == settings.breaker_failures:
                logger.warning("Redis fails, responses are no longer cached: %s", error)
            self._open_until = monotonic() + settings.breaker_seconds

    def record_success(self) -> None:
        """Close the breaker: Redis answered a command."""
        if not self._failures:
            return
        with self._lock:
            if self._failures >= config().cache.breaker_failures:
                logger.warning("Redis answers again, responses are cached")
            self._failures = 0
            self._open_until = 0.0


class PendingWrites:
    """Tells whether Redis may lack writes that PostgreSQL has committed; safe for threads.

    Such writes stand in the outboxes (``pcf.cache.outbox``). Nothing is read from the cache and
    nothing is stored before they are delivered: by a thread for all databases, or by one for each
    of ``aliases``.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._delivering = Lock()
        self.aliases: tuple[str, ...] = ()  # of the databases with a relay
        self.count = 0  # of events after which Redis may lack a write; 0 while it lacks none
        self._last_event = 0
        self._delivered: dict[str, int] = {}  # the last event that a relay has delivered

    def add(self) -> None:
        """Note that Redis may lack a write from now on."""
        with self._lock:
            self.count += 1
            self._last_event += 1

    def flush(self, deliver: Deliver, alias: str | None = None) -> None:
        """Deliver the writes of all databases by ``deliver``, or those of the database ``alias``.

        One thread delivers, the others are refused meanwhile. Raises CacheUnavailable for a thread
        that is refused, when ``deliver`` does, and when another write became pending meanwhile.
        """
        if not self._delivering.acquire(blocking=False):
            raise CacheUnavailable
        try:
            before = self._last_event
            deliver()
            with self._lock:
                if alias is not None:
                    self._delivered[alias] = before
                if self._last_event != before:
                    raise CacheUnavailable
                others = () if alias is None else self.aliases
                if all(self._delivered.get(other, 0) >= before for other in others):
                    self.count = 0
        finally:
            self._delivering.release()


class RelayLease:
    """How long the outbox relays' last looks at the outboxes may be relied on.

    When a relay is stuck the lease ends, and the process serves nothing from the cache: other
    processes may have committed writes that this one does not know of.
    """

    def __init__(self) -> None:
        self.until: float | None = None  # monotonic; None where no relay has looked
        self._lock = Lock()
        self._until_of: dict[str, float] = {}  # by the alias of the database

    def hold(self, until: float | None, alias: str = "default") -> None:
        """Rely on the last look ``until`` this time (monotonic); None where no relay looks.

        ``alias`` names the database. The lease is over when that of one database is.
        """
        with self._lock:
            if until is None:
                self._until_of.pop(alias, None)
            else:
                self._until_of[alias] = until
            self.until = min(self._until_of.values(), default=None)

    @property
    def is_over(self) -> bool:
        """Whether the outbox relay is late."""
        return self.until is not None and monotonic() > self.until


class DisabledReasons:
    """Why the configuration of PostgreSQL or Redis forbids caching, by what was examined.

    While there is a reason nothing is read from the cache and nothing is stored. Writes are still
    delivered. Safe for threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.reasons: dict[str, str] = {}

    def set(self, subject: str, reason: str | None) -> None:
        """Disable the cache because of ``subject``.

        A ``reason`` of None removes the reason of ``subject``. The cache is enabled again when no
        reason remains.
        """
        with self._lock:
            if self.reasons.get(subject) == reason:
                return
            others = {key: text for key, text in self.reasons.items() if key != subject}
            self.reasons = others if reason is None else {**others, subject: reason}
            if reason is not None:
                logger.warning("responses are not cached: %s", reason)
            elif not others:
                logger.warning("responses are cached again")


class StorageSpace:
    """Whether Redis has memory for more entries.

    While it has none, Redis refuses stores. Hits are served, and writes remove what they touch.
    """

    def __init__(self) -> None:
        self.is_exhausted = False
        self.is_known = False  # whether Redis was asked for its memory
        self.memory: int | None = None  # the bytes that Redis may use; None where it does not tell

    def measure(self, memory: int | None) -> None:
        """Note the bytes that Redis may use."""
        self.memory = memory
        self.is_known = True

    def note(self, *, exhausted: bool) -> None:
        """Note whether Redis refused a command for lack of memory; the log has each change."""
        if self.is_exhausted == exhausted:
            return
        self.is_exhausted = exhausted
        logger.warning(
            "Redis is out of memory, responses are not stored"
            if exhausted
            else "Redis has memory again, responses are stored"
        )


class EpochStarter:
    """Begins epochs for one gateway; safe for threads.

    While the transactions of before have not ended, responses are executed and not stored.
    """

    def __init__(self, send: Callable[..., Any]) -> None:
        """``send`` runs a script on Redis."""
        self._send = send
        self._lock = Lock()
        self._nonce: str | None = None
        self._next_attempt = 0.0  # monotonic
        self.find_writers: FindWriters = set
        self.writers: set[str] = set()  # that the next epoch waits for

    def begin(self) -> None:
        """Begin an epoch. Raises CacheUnavailable when that is not possible now."""
        if not self._lock.acquire(blocking=False):
            raise CacheUnavailable
        try:
            if self._nonce is None or monotonic() >= self._next_attempt:
                self._next_attempt = monotonic() + RETRY_AFTER
                self._try()
            else:
                raise CacheUnavailable
        finally:
            self._lock.release()

    def _try(self) -> None:
        if self._nonce is None:
            nonce = token_hex(8)
            prefix = config().cache.prefix
            self._send(ANNOUNCE_EPOCH, AnnounceEpochArguments(prefix, nonce, EPOCH_TTL))
            self.writers = self.find_writers()
            self._nonce = nonce
        elif self.writers:
            self.writers &= self.find_writers()
        if self.writers:
            raise CacheUnavailable
        settings, nonce, self._nonce = config().cache, self._nonce, None
        arguments = OpenEpochArguments(settings.prefix, settings.generation_ttl, nonce, EPOCH_TTL)
        if not self._send(OPEN_EPOCH, arguments):
            raise CacheUnavailable  # Redis has lost its data again


class ServerStarts:
    """The starts of the PostgreSQL servers whose data is cached; safe for threads.

    When Redis fails, a process uses a session of another start after ``cache.lease_seconds``. By
    then the relay of every other process has seen the start, or the other process reads nothing
    from the cache. This process reads nothing from the cache before it has removed the entries.
    """

    def __init__(
        self, command: Callable[..., Any], flush: Callable[[], int], disabled: DisabledReasons
    ) -> None:
        """``command`` sends a command to Redis, ``flush`` removes all entries."""
        self._command = command
        self._flush = flush
        self._disabled = disabled
        self._lock = Lock()
        self._adopted: dict[str, str] = {}  # starts by the alias of the database
        self._refused: dict[str, tuple[str, float]] = {}  # starts, and until when (monotonic)

    def admit_session(self, alias: str, started: str) -> None:
        """Return when a new session of the database ``alias`` may be used."""
        try:
            self.adopt(alias, started)
        except CacheUnavailable:
            self._wait_for_relays(alias, started)

    def adopt(self, alias: str, started: str) -> None:
        """Remove every entry unless this start is known. Raises CacheUnavailable."""
        if self._adopted.get(alias) != started:
            self.confirm(alias, started)

    def confirm(self, alias: str, started: str) -> None:
        """Remove every entry unless Redis knows this start. Raises CacheUnavailable."""
        prefix, subject = config().cache.prefix, f"start of {alias}"
        key = f"{prefix}:db:{alias}"
        with slot_released(), self._lock:
            try:
                known = self._command("GET", key)
                if known != started.encode():
                    changed = self._adopted.pop(alias, known)
                    if changed is not None:
                        self._disable(subject)
                    self._flush()
                self._command("SET", key, started, "EX", EPOCH_TTL)
                self._command("EXPIRE", f"{prefix}:epoch", EPOCH_TTL)
            except CacheUnavailable:
                if self._adopted.get(alias) != started:
                    self._disable(subject)
                raise
            self._adopted[alias] = started
            self._refused.pop(alias, None)
            self._disabled.set(subject, None)

    def _disable(self, subject: str) -> None:
        self._disabled.set(subject, "PostgreSQL has started anew: all entries are removed")

    def _wait_for_relays(self, alias: str, started: str) -> None:
        with self._lock:
            refused, until = self._refused.get(alias, ("", 0.0))
            if refused != started:
                until = monotonic() + config().cache.lease_seconds
                self._refused[alias] = started, until
        timeout = current_timeout()
        left = until - monotonic()
        if timeout is not None:
            left = min(left, timeout.remaining())
        with slot_released():
            sleep(max(0.0, left))
