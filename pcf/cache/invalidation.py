"""From writes to invalidations, exactly once for every commit.

1. A transaction writes rows; triggers put what that touches into the outbox (``touches``).
2. Before its COMMIT the names are taken out and *marked* in Redis: entries that depend on them are
   gone, and none can be stored.
3. COMMIT. From now on readers of the database see the write; there is no hit older than it.
4. The marks are cleared: generations advance past every reader that began before.

A roll-back takes its outbox rows along and nothing ever reaches Redis. A writer that dies after 2
leaves marks, which the watch of any process clears once PostgreSQL says how the transaction ended
(``pcf.cache.watch``). When Redis fails at 2 or 4 the names stay in the outbox; a process that sees
them there neither reads nor stores until they are delivered, and the writer waits until every
process must have seen them.
"""

import logging
from collections.abc import Iterable
from functools import partial
from time import sleep
from typing import Any

import psycopg
from django.db import connections

from pcf import metrics
from pcf.apps import config
from pcf.cache import outbox
from pcf.cache.gate import CacheUnavailable, gate
from pcf.cache.names import complete, write_names
from pcf.cache.outbox import Taken
from pcf.cache.touches import declaration_of, declarations, row_sql
from pcf.compute import slot_released
from pcf.database.commits import Finish, Outcome
from pcf.execution.dependencies import Dependencies
from pcf.timeouts import current_timeout

logger = logging.getLogger("pcf.cache")

_with_outbox: set[str] = set()  # aliases of databases that were found to have one


def guard(connection: Any) -> Finish | None:
    """Before a COMMIT of Django's ``connection``: mark what the transaction touched."""
    if not _has_outbox(connection):
        return None
    taken = outbox.take(connection.connection)
    if taken is None or not config().cache.enabled:
        return None
    try:
        gate().mark(taken.transaction, _complete(taken.names))
    except CacheUnavailable:
        row = outbox.put(connection.connection, taken.names)
        return partial(_owed, connection, row)
    return partial(_finish, connection, taken)


def _finish(connection: Any, taken: Taken, outcome: Outcome) -> None:
    if outcome is Outcome.UNKNOWN:
        return  # the marks stay until the server can be asked
    try:
        lost = not gate().clear(taken.transaction)
        if lost and outcome is Outcome.COMMITTED:  # by a Redis that was restarted meanwhile
            gate().invalidate_names(_complete(taken.names))
    except CacheUnavailable:
        if outcome is Outcome.COMMITTED:
            row = outbox.put(connection.connection, taken.names)
            connection.connection.commit()
            _owed(connection, row, outcome)


def _owed(connection: Any, row: int, outcome: Outcome) -> None:
    """A committed write is in the outbox, in ``row``: wait until every process must have seen it.

    A process reads the outbox every ``cache.watch_seconds`` and serves nothing from the cache when
    its last look is older than ``cache.lease_seconds``. While a row is still there that has been
    waited for, nobody serves anything, and there is nothing to wait for.
    """
    if outcome is Outcome.ABORTED:
        return
    gate().owe()
    metrics.cache_owed.inc()
    lease = config().cache.lease_seconds
    if outcome is Outcome.COMMITTED and not _notices.has_passed(connection):
        timeout = current_timeout()
        with slot_released():
            sleep(lease if timeout is None else min(lease, max(timeout.remaining(), 0.0)))
        _notices.note(row)


class _Notices:
    """A row of the outbox that every process has had the time to see."""

    def __init__(self) -> None:
        self._row: int | None = None

    def note(self, row: int) -> None:
        self._row = row

    def has_passed(self, connection: Any) -> bool:
        """Whether the row is still there: then nobody has opened the cache meanwhile."""
        row = self._row
        if row is None:
            return False
        held = outbox.holds(connection.connection, row)
        connection.connection.commit()
        return held


_notices = _Notices()


def _complete(names: Iterable[str]) -> list[str]:
    return complete(names, config().cache.max_dependencies)


def _has_outbox(connection: Any) -> bool:
    if connection.alias in _with_outbox:
        return True
    if outbox.exists(connection.connection):
        _with_outbox.add(connection.alias)
        return True
    return False


def touch(dependencies: Dependencies, using: str = "default") -> None:
    """Invalidate ``dependencies`` when the current transaction of ``using`` has committed; at once
    outside of one. For what the triggers cannot know.
    """
    if not len(dependencies):
        return
    names = write_names(dependencies, config().cache.max_dependencies)
    with connections[using].cursor() as cursor:
        cursor.execute(outbox.PUT, [names])


def known_types() -> list[str]:
    """The names of the models whose writes are known, for ``flush_type``."""
    return sorted(declaration.model.__name__ for declaration in declarations())


def flush_type(name: str, key: int | None = None, using: str = "default") -> int:
    """Remove the entries that depend on a model called ``name``, or on its row ``key`` as it is
    stored now. Returns how many; for operators, by caution.

    Raises LookupError for a name that is not known, and CacheUnavailable.
    """
    declaration = declaration_of(name)
    names = [f"{kind}!" for kind in declaration.kinds]
    if key is not None:
        with connections[using].cursor() as cursor:
            cursor.execute(row_sql(declaration), [key])
            # a row that is gone cannot say what it touched
            names = [row[0] for row in cursor.fetchall()] or names
    return gate().invalidate_names(_complete(names))


def deliver_outbox(connection: Any) -> int:
    """Deliver what others left in the outbox; returns how many rows. ``connection`` is psycopg's,
    in autocommit mode.

    Raises CacheUnavailable and psycopg's errors; what was not delivered stays.
    """
    delivered = 0
    while True:
        ids, names = outbox.seen(connection)
        if not ids:
            return delivered
        gate().invalidate_names(_complete(names))
        outbox.forget(connection, ids)
        delivered += len(ids)


def settle(using: str = "default") -> None:
    """Deliver the outbox through Django's connection. Raises CacheUnavailable when it cannot.

    Inside a transaction it cannot: what it saw there might not be the last word.
    """
    connection = connections[using]
    if connection.in_atomic_block or not connection.autocommit:
        raise CacheUnavailable
    try:
        connection.ensure_connection()
        if _has_outbox(connection):
            deliver_outbox(connection.connection)
    except (psycopg.Error, OSError) as error:
        raise CacheUnavailable from error
    except Exception as error:
        logger.warning("what is owed to Redis could not be looked up: %s", error)
        raise CacheUnavailable from error
