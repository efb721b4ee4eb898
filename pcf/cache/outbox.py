"""The outbox in PostgreSQL: what transactions touched and Redis does not know yet.

Triggers write it (``pcf.cache.touches``). Before a COMMIT the transaction's own rows are taken out
and marked in Redis; a row that others can see is therefore a committed write that Redis was not
told of: it failed, or the writer was not this engine (psql). Whoever sees such rows delivers them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections

from pcf.cache.touches import LARGE_WRITE, OUTBOX, Trigger, triggers

_TAKE = "SELECT * FROM pcf_take_touches()"
PUT = f"INSERT INTO {OUTBOX} (names) VALUES (%s) RETURNING id"  # noqa: S608 (a constant)
_HOLDS = f"SELECT EXISTS (SELECT FROM {OUTBOX} WHERE id = %s)"  # noqa: S608
_SEEN = f"SELECT id, names FROM {OUTBOX} ORDER BY id LIMIT {LARGE_WRITE + 1}"  # noqa: S608
_FORGET = f"DELETE FROM {OUTBOX} WHERE id = ANY(%s)"  # noqa: S608
# many rows become one that names kinds, so that the outbox stays small however long Redis is away
_SHRINK = f"""
WITH gone AS (DELETE FROM {OUTBOX} RETURNING names)
INSERT INTO {OUTBOX} (names)
SELECT array_agg(DISTINCT rtrim(split_part(name, ':', 1), '!') || '!')
FROM gone, unnest(gone.names) AS name HAVING count(*) > 0
"""  # noqa: S608
# of the tables that exist, the comment of the function that all four triggers call
_INSTALLED = """
SELECT wanted.table_name, (
    SELECT CASE WHEN count(*) = 4 THEN min(obj_description(p.oid, 'pg_proc')) END
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = to_regclass(quote_ident(wanted.table_name)) AND p.proname = wanted.function
)
FROM unnest(%s::text[], %s::text[]) AS wanted (table_name, function)
WHERE to_regclass(quote_ident(wanted.table_name)) IS NOT NULL
  AND to_regclass('pcf_touch') IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a transaction touched: names as triggers write them, and the transaction's number."""

    transaction: str
    names: list[str]


def take(connection: Any) -> Taken | None:
    """Take what the current transaction touched out of the outbox; None when that is nothing.

    Goes past Django's cursor, so it is neither counted nor logged. ``connection`` is psycopg's.
    """
    row = connection.execute(_TAKE).fetchone()
    return None if row is None else Taken(str(row[0]), row[1])


def put(connection: Any, names: Sequence[str]) -> int:
    """Write ``names`` into the outbox, in the current transaction of psycopg's ``connection``.

    Returns the row's id.
    """
    return int(connection.execute(PUT, [list(names)]).fetchone()[0])


def holds(connection: Any, row: int) -> bool:
    """Whether ``row`` is in the outbox."""
    return bool(connection.execute(_HOLDS, [row]).fetchone()[0])


def seen(connection: Any) -> tuple[list[int], list[str]]:
    """Ids and names of what others have committed into the outbox; shrinks one that is large."""
    rows = connection.execute(_SEEN).fetchall()
    if len(rows) > LARGE_WRITE:
        connection.execute(_SHRINK)
        rows = connection.execute(_SEEN).fetchall()
    return [row[0] for row in rows], list({name for row in rows for name in row[1]})


def forget(connection: Any, ids: Iterable[int]) -> None:
    """Remove rows that were delivered."""
    connection.execute(_FORGET, [list(ids)])


def statuses(connection: Any, transactions: Sequence[str]) -> dict[str, str]:
    """Whether each transaction is ``in progress``; anything else means that it is over, also that
    the server, restored from a backup, does not know it.
    """
    rows = connection.execute(
        "SELECT t, CASE WHEN t::xid8 > pg_current_xact_id() THEN 'of another time' "
        "ELSE COALESCE(pg_xact_status(t::xid8), 'old') END FROM unnest(%s::text[]) AS t",
        [list(transactions)],
    ).fetchall()
    return dict(rows)


def install(using: str, app: str | None = None) -> list[str]:
    """Install the triggers (of ``app``) that are missing or out of date; returns their tables."""
    with connections[using].cursor() as cursor:
        stale = [trigger for trigger in stale_triggers(cursor) if app in {None, trigger.app}]
        for trigger in stale:
            cursor.execute(trigger.sql)
            cursor.execute(f"COMMENT ON FUNCTION \"{trigger.function}\" IS '{trigger.fingerprint}'")
    return [trigger.table for trigger in stale]


def stale_triggers(cursor: Any) -> list[Trigger]:
    """The triggers of existing tables that are missing or not as they are declared now."""
    wanted = list(triggers())
    cursor.execute(_INSTALLED, [[it.table for it in wanted], [it.function for it in wanted]])
    found = dict(cursor.fetchall())
    return [it for it in wanted if found.get(it.table, it.fingerprint) != it.fingerprint]


def exists(connection: Any) -> bool:
    """Whether the outbox is there: migrations may not have made it yet."""
    row = connection.execute("SELECT to_regprocedure('pcf_take_touches()')").fetchone()
    return row is not None and row[0] is not None
