"""Where a GraphQL query reads from: a replica that knows what its viewer wrote, or the primary."""

from dataclasses import dataclass, field
from time import monotonic, sleep

import psycopg
from django.db import Error
from graphql import ExecutionResult, GraphQLError

from pcf import metrics
from pcf.apps import config
from pcf.cache.positions import Positions
from pcf.cache.responses import Lookup
from pcf.compute import slot_released
from pcf.database.errors import DatabaseUnavailable
from pcf.database.replicas import Replica, Replicas, primary_position, replayed_position
from pcf.database.routing import PRIMARY
from pcf.timeouts import TimeoutContext
from pcf.viewer import Viewer

_PAUSE = 0.01  # seconds between two looks at whether the replicas have caught up


@dataclass(frozen=True, slots=True)
class Source:
    """A database to read from; ``replayed`` is how far a replica was before the reading began."""

    alias: str = PRIMARY
    replica: Replica | None = field(default=None, repr=False)
    replayed: int = 0

    @property
    def is_primary(self) -> bool:
        """Whether it is the primary, which always knows everything."""
        return self.replica is None


PRIMARY_SOURCE = Source()


class Sources:
    """Chooses where queries read from, and gives up on a replica that fails in the middle of one.

    Replica dead, frozen, lagging or promoted: the primary serves, inside the same request. Redis
    away: nobody knows what viewers wrote, so all queries read from the primary. Primary away: the
    replicas go on serving what needs no newer state.
    """

    def __init__(self, replicas: Replicas, positions: Positions) -> None:
        self._replicas = replicas
        self._positions = positions

    def choose(self, viewer: Viewer) -> Source:
        """From where a query of ``viewer`` reads."""
        if not self._replicas.members:
            return PRIMARY_SOURCE
        source, reason = self._choose(viewer)
        metrics.db_reads.labels("primary" if source.is_primary else "replica", reason).inc()
        return source

    def _choose(self, viewer: Viewer) -> tuple[Source, str]:
        replica = self._replicas.pick()
        if replica is None:
            return PRIMARY_SOURCE, "none"
        needed = self._positions.needed(viewer)
        if needed is None:
            return PRIMARY_SOURCE, "unknown"
        replayed: int | None = replica.position
        if replica.position < needed.newest:  # as of the last look; it is further by now
            try:
                replayed = replayed_position(replica.alias)
            except Error as error:
                self._give_up(replica, error)
                return PRIMARY_SOURCE, "failed"
        if replayed is None or replayed < needed.least:
            return PRIMARY_SOURCE, "behind"
        return Source(replica.alias, replica, replayed), "replica"

    def failed(self, source: Source, result: ExecutionResult) -> bool:
        """Whether ``result`` has errors that reading from the primary instead may not have."""
        if source.replica is None:
            return False
        error = next(filter(None, map(_database_error, result.errors or ())), None)
        if error is None:
            return False
        self._give_up(source.replica, error)
        metrics.db_reads.labels("primary", "failed").inc()
        return True

    def fence(self, lookup: Lookup, source: Source) -> Lookup | None:
        """``lookup`` as the cache's fence must see it for what was read from ``source``; None when
        it must not be stored.
        """
        if source.is_primary:
            return lookup
        return self._positions.clock_of(lookup, source.replayed)

    def wrote(self, viewer: Viewer, timeout: TimeoutContext) -> None:
        """``viewer`` may have written: its next query reads from what has that.

        When Redis cannot remember it, the answer waits until the replicas in use have caught up,
        at most ``replicas.max_lag`` seconds: one that takes longer is no longer in use.
        """
        if not self._replicas.members:
            return
        try:
            position = primary_position()
        except psycopg.Error:
            return  # the primary is gone; what it had committed was delivered, or is owed
        if not self._positions.remember(viewer, position):
            self._wait(position, timeout)

    def _wait(self, position: int, timeout: TimeoutContext) -> None:
        seconds = min(config().replicas.max_lag, timeout.remaining() - timeout.reserve)
        deadline = monotonic() + seconds
        while monotonic() < deadline and not self._replicas.all_have(position):
            with slot_released():
                sleep(_PAUSE)

    @staticmethod
    def _give_up(replica: Replica, error: BaseException) -> None:
        """Leave the replica out if it is broken; a conflict with recovery (40001) is not that."""
        if isinstance(error, DatabaseUnavailable):
            replica.failed()


def _database_error(error: GraphQLError) -> Error | None:
    """The database's error behind ``error``; a deadline is none: it is no later elsewhere."""
    original: BaseException | None = error.original_error
    while isinstance(original, GraphQLError):
        original = original.original_error
    return original if isinstance(original, Error) else None
