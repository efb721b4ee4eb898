"""What was written up to which position of the WAL: remembered in Redis, for reading from replicas.

Two promises need it where there are replicas:

* A viewer reads what it wrote, over all workers: ``needed`` tells how far a replica must be for it.
* No response that lacks a delivered write is stored: ``clock_of`` turns the position of a replica
  into a clock for the fence, as if reading had begun before the first write it has not replayed.

When Redis fails, or has lost its memory, positions are unknown and queries read from the primary.
"""

from dataclasses import dataclass

import psycopg

from pcf.apps import config
from pcf.cache import position_scripts
from pcf.cache.gate import CacheUnavailable, Gate
from pcf.cache.responses import Lookup
from pcf.database.replicas import primary_position
from pcf.viewer import ANONYMOUS, Viewer


@dataclass(frozen=True, slots=True)
class Needed:
    """Positions in bytes of WAL: ``least`` is where a replica must be for the viewer, ``newest``
    where the last write ended that was delivered.
    """

    least: int
    newest: int


class Positions:
    """Where writes ended, by viewer and over all; see the module's docstring."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def needed(self, viewer: Viewer) -> Needed | None:
        """How far a replica must be to serve ``viewer``; None when only the primary will do."""
        prefix = config().cache.prefix
        try:
            floor, own, newest = self._gate.run(position_scripts.NEEDED, prefix, _name(viewer))
            if floor is None:
                self._set_floor()
                return None
        except CacheUnavailable:
            return None
        least = max(int(floor), int(own or 0))
        return Needed(least, max(least, int(float(newest or 0))))

    def remember(self, viewer: Viewer, position: int) -> bool:
        """``viewer`` has written something that ends before ``position``; False if Redis fails."""
        settings = config().cache
        try:
            self._gate.run(
                position_scripts.REMEMBER,
                settings.prefix,
                settings.generation_ttl,
                _name(viewer),
                position,
            )
        except CacheUnavailable:
            return False
        return True

    def clock_of(self, lookup: Lookup, replayed: int) -> Lookup | None:
        """``lookup`` with a clock that the fence may trust for what was read from a replica that
        had ``replayed`` so far. None when nothing of it may be stored.
        """
        try:
            found = self._gate.run(
                position_scripts.CLOCK_OF, config().cache.prefix, replayed, position_scripts.KEPT
            )
        except CacheUnavailable:
            return None
        if found is None:
            return None
        if not found or int(found) >= int(lookup.clock):
            return lookup
        return lookup._replace(clock=found)

    def _set_floor(self) -> None:
        """Redis knows nothing: from now on replicas must have what was committed until now."""
        try:
            position = primary_position()
        except psycopg.Error:
            return
        settings = config().cache
        self._gate.run(
            position_scripts.SET_FLOOR, settings.prefix, settings.generation_ttl, position
        )


def _name(viewer: Viewer) -> int | str:
    return viewer.id if viewer.id is not None else ANONYMOUS.name
