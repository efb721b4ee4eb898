"""The database that a query reads from: the primary, or a replica that is current enough.

Redis keeps the positions in the WAL up to which writes reach. Two guarantees need them where there
are replicas:

* A viewer reads its own writes, over all workers: ``needed`` returns the position that a replica
  must have replayed for the viewer.
* The cache stores no response that lacks a delivered write: ``clock_of`` turns the position of a
  replica into a clock for the fence, as if the reading had begun before the first write that the
  replica has not replayed.
"""

from dataclasses import dataclass, field
from time import monotonic, sleep

import psycopg
from django.db import Error
from graphql import ExecutionResult, GraphQLError

from pcf.cache import scripts
from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway
from pcf.cache.response_cache import LookupResult
from pcf.concurrency import slot_released
from pcf.conf import config
from pcf.database.replicas import PRIMARY, Replica, Replicas, primary_position, replayed_position
from pcf.errors import DatabaseUnavailable
from pcf.observability import metrics
from pcf.timeouts import TimeoutContext
from pcf.viewer import Viewer

_POLL_INTERVAL = 0.01  # seconds between two checks of the replicas after a write


@dataclass(frozen=True, slots=True)
class ReadSource:
    """A database to read from.

    ``replica`` is None for the primary. ``replayed`` is the WAL position (bytes) that the replica
    had replayed before the query began.
    """

    alias: str = PRIMARY
    replica: Replica | None = field(default=None, repr=False)
    replayed: int = 0

    @property
    def is_primary(self) -> bool:
        """Whether the query reads from the primary, which has every write."""
        return self.replica is None


PRIMARY_SOURCE = ReadSource()


@dataclass(frozen=True, slots=True)
class NeededPosition:
    """Positions in bytes of WAL.

    A replica may serve the viewer from ``least`` on. ``newest`` is the end of the last write that
    was delivered.
    """

    least: int
    newest: int


class WalPositions:
    """The ends of writes, by viewer and over all; see the docstring of the module.

    When Redis fails, or has lost its memory, it knows no positions: queries read from the primary.
    """

    def __init__(self, gateway: RedisGateway) -> None:
        self._gateway = gateway

    def needed(self, viewer: Viewer) -> NeededPosition | None:
        """Return the position that a replica needs to serve ``viewer``.

        None means that only the primary can serve it.
        """
        arguments = scripts.NeededPositionArguments(config().cache.prefix, viewer.id_name)
        try:
            floor, own, newest = self._gateway.run(scripts.NEEDED_POSITION, arguments)
            if floor is None:
                self._set_floor()
                return None
        except CacheUnavailable:
            return None
        least = max(int(floor), int(own or 0))
        return NeededPosition(least, max(least, int(float(newest or 0))))

    def remember(self, viewer: Viewer, position: int) -> bool:
        """Remember a write of ``viewer`` that ends before ``position``.

        Return False when Redis fails.
        """
        settings = config().cache
        arguments = scripts.RememberPositionArguments(
            settings.prefix, settings.generation_ttl, viewer.id_name, position
        )
        try:
            self._gateway.run(scripts.REMEMBER_POSITION, arguments)
        except CacheUnavailable:
            return False
        return True

    def clock_of(self, lookup: LookupResult, replayed: int) -> LookupResult | None:
        """Return ``lookup`` with a clock for what was read from a replica.

        ``replayed`` is the position of the replica before the reading began. None means that the
        response must not be stored.
        """
        arguments = scripts.ClockOfArguments(
            config().cache.prefix, replayed, scripts.POSITIONS_KEPT
        )
        try:
            found = self._gateway.run(scripts.CLOCK_OF, arguments)
        except CacheUnavailable:
            return None
        if found is None:
            return None
        if not found or int(found) >= int(lookup.clock):
            return lookup
        return lookup._replace(clock=found)

    def _set_floor(self) -> None:
        """Have replicas replay all that is committed now: Redis knows no position before it."""
        try:
            position = primary_position()
        except psycopg.Error:
            return
        settings = config().cache
        arguments = scripts.SetFloorArguments(settings.prefix, settings.generation_ttl, position)
        self._gateway.run(scripts.SET_FLOOR, arguments)


class ReadSources:
    """Chooses the database of each query; shared by all threads of a process.

    When a replica is down, frozen, behind or promoted, the primary serves the same request. When
    Redis fails, the positions of writes are unknown, so all queries read from the primary. When the
    primary fails, replicas serve the queries that need no newer state.
    """

    def __init__(self, replicas: Replicas, positions: WalPositions) -> None:
        self._replicas = replicas
        self._positions = positions

    def choose(self, viewer: Viewer) -> ReadSource:
        """Return the database that a query of ``viewer`` reads from, and count the choice."""
        if not self._replicas.members:
            return PRIMARY_SOURCE
        source, reason = self._choose(viewer)
        metrics.db_reads.labels("primary" if source.is_primary else "replica", reason).inc()
        return source

    def _choose(self, viewer: Viewer) -> tuple[ReadSource, str]:
        """Return the source, and the reason as one of ``metrics.READ_REASONS``."""
        replica = self._replicas.pick()
        if replica is None:
            return PRIMARY_SOURCE, "none"
        needed = self._positions.needed(viewer)
        if needed is None:
            return PRIMARY_SOURCE, "unknown"
        replayed: int | None = replica.position
        if replica.position < needed.newest:  # the position may have advanced since the last check
            try:
                replayed = replayed_position(replica.alias)
            except Error as error:
                self._report_failure(replica, error)
                return PRIMARY_SOURCE, "failed"
        if replayed is None or replayed < needed.least:
            return PRIMARY_SOURCE, "behind"
        return ReadSource(replica.alias, replica, replayed), "replica"

    def failed(self, source: ReadSource, result: ExecutionResult) -> bool:
        """Return whether ``result`` has database errors that the primary may not have."""
        if source.replica is None:
            return False
        error = next(filter(None, map(_database_error, result.errors or ())), None)
        if error is None:
            return False
        self._report_failure(source.replica, error)
        metrics.db_reads.labels("primary", "failed").inc()
        return True

    def fence(self, lookup: LookupResult, source: ReadSource) -> LookupResult | None:
        """Return ``lookup`` with the clock that the fence compares for a read from ``source``.

        None means that the response must not be stored.
        """
        if source.is_primary:
            return lookup
        return self._positions.clock_of(lookup, source.replayed)

    def wrote(self, viewer: Viewer, timeout: TimeoutContext) -> None:
        """Make the next queries of ``viewer`` read what a mutation of ``viewer`` wrote.

        When Redis cannot store the position, the call waits until the replicas in use have
        replayed the write. The wait takes at most ``replicas.max_lag`` seconds, because a slower
        replica is no longer in use.
        """
        if not self._replicas.members:
            return
        try:
            position = primary_position()
        except psycopg.Error:
            return  # the primary is down; invalidations of its commits are delivered or pending
        if not self._positions.remember(viewer, position):
            self._wait(position, timeout)

    def _wait(self, position: int, timeout: TimeoutContext) -> None:
        seconds = min(config().replicas.max_lag, timeout.remaining() - timeout.reserve)
        deadline = monotonic() + seconds
        while monotonic() < deadline and not self._replicas.have_replayed(position):
            with slot_released():
                sleep(_POLL_INTERVAL)

    @staticmethod
    def _report_failure(replica: Replica, error: BaseException) -> None:
        """Take the replica out of use if it is broken.

        A conflict with recovery (SQLSTATE 40001) does not mean that the replica is broken.
        """
        if isinstance(error, DatabaseUnavailable):
            replica.report_failure()


def _database_error(error: GraphQLError) -> Error | None:
    """Return the database's error behind ``error``.

    Returns None for an exceeded deadline, because the primary has no more time either.
    """
    original: BaseException | None = error.original_error
    while isinstance(original, GraphQLError):
        original = original.original_error
    return original if isinstance(original, Error) else None
