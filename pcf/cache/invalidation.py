"""Invalidation: every committed write removes the responses that depend on it.

1. A transaction writes rows. Triggers put the names that it touches into the outbox.
2. Before the COMMIT, the engine takes the names out of the outbox and *blocks* them in Redis: the
   responses that depend on them are removed, and nothing that depends on them can be stored.
3. COMMIT. Readers of the database now see the write; no hit is older than it.
4. The engine releases the names. Their generations advance past the clock of every reader that
   began before.

A roll-back takes its rows in the outbox along, and Redis never learns of it. When the writer dies
after step 2, its names stay blocked until the outbox relay of any process asks PostgreSQL how the
transaction ended (``pcf.cache.outbox_relay``). When Redis fails at step 2 or 4, the names stay in
the outbox. A process that sees them there neither reads nor stores before they are delivered. The
writer waits for ``cache.lease_seconds``; by then every process has looked at the outbox or has
stopped using the cache.
"""

import logging
from collections.abc import Iterable
from functools import partial
from time import sleep
from typing import Any, cast

import psycopg
from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.models import Model

from pcf.cache import outbox
from pcf.cache.keys import SHARED_NAME, complete, viewer_name, write_names
from pcf.cache.outbox import Outbox, TouchedNames
from pcf.cache.redis_gateway import CacheUnavailable, redis_gateway
from pcf.cache.trigger_sql import row_sql
from pcf.cache.triggers import declaration_of, declarations
from pcf.concurrency import slot_released
from pcf.conf import config
from pcf.database.key_types import key_type_of
from pcf.database.transactions import AfterCommit, CommitOutcome
from pcf.execution.dependencies import Dependencies
from pcf.observability import metrics
from pcf.timeouts import current_timeout
from pcf.viewer import ANONYMOUS, Viewer, ViewerId

logger = logging.getLogger("pcf.cache")

_outboxes: dict[str, Outbox] = {}  # by the alias of the database

# --- commits


def guard(connection: Any) -> AfterCommit | None:
    """Before a COMMIT of Django's ``connection``: block the names that the transaction touched."""
    found = outbox_of(connection)
    if found is None:
        return None
    touched = found.take(connection.connection)
    if touched is None or not config().cache.enabled:
        return None
    try:
        redis_gateway().block(_block_name(connection, touched), _complete(touched.names))
    except CacheUnavailable:
        row = found.put(connection.connection, touched.names)
        return partial(_finish_pending, connection, found, row)
    return partial(_finish, connection, found, touched)


def _block_name(connection: Any, touched: TouchedNames) -> str:
    """Return the name of the transaction in Redis: two databases may use one number."""
    return block_prefix(connection.alias) + touched.transaction


def block_prefix(alias: str) -> str:
    """Return what the names of the transactions of a database begin with in Redis."""
    return "" if alias == DEFAULT_DB_ALIAS else f"{alias}/"


def _finish(connection: Any, found: Outbox, touched: TouchedNames, outcome: CommitOutcome) -> None:
    """After the COMMIT: release the names."""
    if outcome is CommitOutcome.UNKNOWN:
        return  # the outbox relay asks the server, and releases them
    try:
        lost = not redis_gateway().release(_block_name(connection, touched))
        if lost and outcome is CommitOutcome.COMMITTED:
            # Redis restarted meanwhile and lost the block.
            redis_gateway().invalidate_names(_complete(touched.names))
    except CacheUnavailable:
        if outcome is CommitOutcome.COMMITTED:
            row = found.put(connection.connection, touched.names)
            connection.connection.commit()
            _finish_pending(connection, found, row, outcome)


def _finish_pending(connection: Any, found: Outbox, row: int, outcome: CommitOutcome) -> None:
    """After a COMMIT whose names are in ``row`` of the outbox: wait for all processes.

    The wait takes ``cache.lease_seconds``. A process reads the outbox every
    ``cache.watch_seconds``. It serves nothing from the cache when its last look is older than
    ``cache.lease_seconds``. So by then every process has looked at the outbox or has stopped using
    the cache. While the row that an earlier writer waited for is still in the outbox, no process
    uses the cache. So the next writer does not wait.
    """
    if outcome is CommitOutcome.ABORTED:
        return
    redis_gateway().add_pending()
    metrics.cache_pending.inc()
    lease = config().cache.lease_seconds
    if outcome is CommitOutcome.COMMITTED and not _awaited_row.is_pending(connection, found):
        timeout = current_timeout()
        with slot_released():
            sleep(lease if timeout is None else min(lease, max(timeout.remaining(), 0.0)))
        _awaited_row.set(connection, row)


class _AwaitedRow:
    """The last row of each outbox that a writer has waited for: every process has seen it."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}  # by the alias of the database

    def set(self, connection: Any, row: int) -> None:
        self._rows[connection.alias] = row

    def is_pending(self, connection: Any, found: Outbox) -> bool:
        """Return whether the row is still there. If it is, no process has used the cache since."""
        row = self._rows.get(connection.alias)
        if row is None:
            return False
        pending = found.contains(connection.connection, row)
        connection.connection.commit()
        return pending


_awaited_row = _AwaitedRow()


def outbox_of(connection: Any) -> Outbox | None:
    """Return the outbox of the database of Django's ``connection``; None where there is none."""
    found = _outboxes.get(connection.alias)
    if found is None:
        found = outbox.find(connection.connection)
        if found is not None:
            _outboxes[connection.alias] = found
    return found


def forget_outbox(connection: Any) -> None:
    """Look for the outbox anew: a migration drops it."""
    _outboxes.pop(connection.alias, None)


def _complete(names: Iterable[str]) -> list[str]:
    return complete(names, config().cache.max_dependencies)


def touch(dependencies: Dependencies, using: str = "default") -> None:
    """Invalidate ``dependencies`` when the current transaction of ``using`` commits.

    Outside of a transaction, invalidate them at once. It is for changes that triggers cannot see.
    Raises LookupError for a database without an outbox.
    """
    if not len(dependencies):
        return
    names = write_names(dependencies, config().cache.max_dependencies)
    with connections[using].cursor() as cursor:
        found = outbox_of(connections[using])
        if found is None:
            raise LookupError(f"The database {using!r} has no outbox: run migrate")
        cursor.execute(found.put_sql, [names])


# --- the outbox


def watched_aliases() -> list[str]:
    """Return the aliases of the databases that may have an outbox: all but replicas."""
    return [
        alias
        for alias in connections
        if hasattr(connections[alias], "connect_outside_pool")
        and not connections[alias].settings_dict["OPTIONS"].get("replica")
    ]


def admit_session(alias: str, server_start: str) -> None:
    """Before a new session is used: remove all entries if its server has started anew."""
    if config().cache.enabled and alias in watched_aliases():
        redis_gateway().starts.admit_session(alias, server_start)


def deliver_outbox(found: Outbox, connection: Any) -> int:
    """Deliver the rows of an outbox to Redis; return their number.

    ``connection`` is psycopg's, in autocommit mode. Raises CacheUnavailable and psycopg's errors;
    rows that were not delivered stay in the outbox.
    """
    delivered = 0
    while True:
        ids, names = found.read(connection)
        if not ids:
            return delivered
        redis_gateway().invalidate_names(_complete(names))
        found.remove(connection, ids)
        delivered += len(ids)


def deliver_pending(aliases: Iterable[str] | None = None) -> None:
    """Deliver the outboxes of all databases, or of ``aliases``, through Django's connections.

    Raises CacheUnavailable when that fails, and inside a transaction, because it may not see all
    rows of the outbox.
    """
    for alias in watched_aliases() if aliases is None else aliases:
        try:
            _deliver_through(connections[alias])
        except CacheUnavailable:
            raise
        except (psycopg.Error, OSError) as error:
            raise CacheUnavailable from error
        except Exception as error:
            logger.warning("pending writes cannot be read from the outbox: %s", error)
            raise CacheUnavailable from error


def _deliver_through(connection: Any) -> None:
    if connection.in_atomic_block:
        raise CacheUnavailable
    connection.ensure_connection()  # which tells the mode
    if not connection.autocommit:
        raise CacheUnavailable
    found = outbox_of(connection)
    if found is not None:
        deliver_outbox(found, connection.connection)


def writers() -> set[str]:
    """Return the transactions in progress of all databases with an outbox.

    A transaction without an id has written nothing. Raises CacheUnavailable when PostgreSQL fails.
    """
    found: set[str] = set()
    for alias in watched_aliases():
        connection: Any = connections[alias]
        try:
            connection.ensure_connection()
            if outbox_of(connection) is not None:
                found.update(f"{alias}/{name}" for name in outbox.writers(connection.connection))
        except Exception as error:
            logger.warning("the transactions in progress are not known: %s", error)
            raise CacheUnavailable from error
    return found


# --- flushing, for operators

VIEWER_NAMES = (ANONYMOUS.name, SHARED_NAME)  # of viewers without an id


def user_id_of(text: object) -> ViewerId:
    """Return the user's id that ``text`` stands for. Raises LookupError."""
    key = _row_key(get_user_model(), text)
    if key is None:
        raise LookupError(f"A viewer is a user's id, {' or '.join(VIEWER_NAMES)}")
    return cast("ViewerId", key)


def row_key_of(name: str, text: object) -> Any:
    """Return the primary key that ``text`` stands for, of the model called ``name``.

    Raises LookupError for a name that is unknown, and for a text that no row can have as its key.
    """
    key = _row_key(declaration_of(name).model, text)
    if key is None:
        raise LookupError(f"{text!r} is no primary key of the type {name}")
    return key


def _row_key(model: type[Model], text: object) -> Any:
    key_type = key_type_of(model._meta.pk)  # noqa: SLF001 - Django documents it
    return None if key_type is None else key_type.parse(text)


def flush(*, viewer: str | None = None, type_: str | None = None, key: object = None) -> int:
    """Remove responses; return the number of entries removed.

    With ``viewer`` (a user's id or one of VIEWER_NAMES): that viewer's responses. With ``type_``:
    those that depend on the model with this name; with ``key`` as well, those that depend on its
    row. Without arguments: all. Raises LookupError for a name that is unknown and for a key that no
    row can have, and CacheUnavailable.
    """
    if viewer is not None:
        id_name = viewer if viewer in VIEWER_NAMES else Viewer(user_id_of(viewer)).id_name
        return redis_gateway().invalidate_names(_complete([viewer_name(id_name)]))
    return redis_gateway().flush_entries() if type_ is None else flush_type(type_, key)


def flush_type(name: str, key: object = None, using: str | None = None) -> int:
    """Remove the entries that depend on the model called ``name``; return their number.

    With ``key``, remove those that depend on this row as the database ``using`` has it now: by
    default the one that the model is written to. Raises LookupError for a name that is unknown, for
    a key that no row can have, and CacheUnavailable.
    """
    declaration = declaration_of(name)
    names = [f"{kind}!" for kind in declaration.kinds]
    if key is not None:
        with connections[using or router.db_for_write(declaration.model)].cursor() as cursor:
            cursor.execute(row_sql(declaration), [row_key_of(name, key)])
            # a row that is gone cannot tell what it touched: then the whole model is flushed
            names = [row[0] for row in cursor.fetchall()] or names
    return redis_gateway().invalidate_names(_complete(names))


def described(*, viewer: str | None = None, type_: str | None = None, key: object = None) -> str:
    """Return in words what ``flush`` removes with these arguments."""
    if viewer is not None:
        return f"viewer {viewer}"
    if type_ is None:
        return "everything"
    return f"type {type_}" + ("" if key is None else f" {key}")


def flush_report(
    removed: int, *, viewer: str | None = None, type_: str | None = None, key: object = None
) -> str:
    """Return in words what ``flush`` has removed with these arguments."""
    entries = "entry" if removed == 1 else "entries"
    if type_ is not None and key is not None:
        model = declaration_of(type_).model
        rows = model._base_manager.using(router.db_for_write(model))  # noqa: SLF001 - documented
        if not rows.filter(pk=row_key_of(type_, key)).exists():
            what = described(type_=type_)
            return f"there is no such row: {removed} cached {entries} of {what} removed"
    what = described(viewer=viewer, type_=type_, key=key)
    return f"{removed} cached {entries} of {what} removed"


def known_types() -> list[str]:
    """Return the names of the models that ``flush_type`` knows: those of every ``touches.py``."""
    return sorted(declaration.model.__name__ for declaration in declarations())
