"""The outbox: a table in PostgreSQL with the writes that Redis lacks.

Triggers write a row for each statement (``pcf.cache.triggers``). Before a COMMIT the engine takes
the transaction's own rows and blocks their names in Redis. So a row that other transactions can see
is a committed write that Redis lacks: Redis failed, or the writer was not this engine (psql).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pcf.cache.triggers import LARGE_WRITE, OUTBOX
from pcf.database.connection import SERVER_START

IN_PROGRESS = "in progress"  # the status of a transaction that may still commit

# The schema of the outbox: the one that the session's search_path finds, else the only one that has
# an outbox. A temporary table never hides a function.
_FIND = """
SELECT quote_ident(n.nspname) FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = 'pcf_take_touches' AND p.pronargs = 0
ORDER BY pg_catalog.pg_function_is_visible(p.oid) DESC, p.oid LIMIT 1
"""
# Many rows become one that names kinds, so the outbox stays small while Redis fails.
_SHRINK = """
WITH gone AS (DELETE FROM {table} RETURNING names)
INSERT INTO {table} (names)
SELECT array_agg(DISTINCT rtrim(split_part(name, ':', 1), '!') || '!')
FROM gone, unnest(gone.names) AS name HAVING count(*) > 0
"""
_STATUSES = """
SELECT t, CASE WHEN t::xid8 > pg_current_xact_id() THEN 'of another time'
          ELSE COALESCE(pg_xact_status(t::xid8), 'old') END
FROM unnest(%s::text[]) AS t
"""

# A transaction holds the lock on its own id until others see how it has ended. A snapshot would not
# do: it lacks the transactions in progress with the latest ids.
_WRITERS = """
SELECT l.transactionid::pg_catalog.text
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
  AND a.datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()
"""
# The functions that read the outbox run with the rights of its owner. Deferred constraints are
# checked with the rights and the search_path of the writer, so pcf_take_touches runs with these.
_FUNCTIONS = """
CREATE OR REPLACE FUNCTION {schema}.pcf_has_touches() RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN EXISTS (
        SELECT FROM {schema}.pcf_touch t WHERE t.transaction = pg_current_xact_id()
    );
END $body$;

CREATE OR REPLACE FUNCTION {schema}.pcf_delete_touches(OUT transaction text, OUT names text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    WITH taken AS (
        DELETE FROM {schema}.pcf_touch t WHERE t.transaction = pg_current_xact_id()
        RETURNING t.names
    )
    SELECT array_agg(DISTINCT name) INTO names FROM taken, unnest(taken.names) AS name;
    transaction := pg_current_xact_id()::text;
END $body$;

CREATE OR REPLACE FUNCTION
    {schema}.pcf_take_touches(OUT transaction text, OUT names text[])
RETURNS SETOF record LANGUAGE plpgsql AS $body$
BEGIN
    IF pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN
        RETURN;
    END IF;
    IF {schema}.pcf_has_touches() THEN
        SET CONSTRAINTS ALL IMMEDIATE;
        RETURN QUERY SELECT taken.transaction, taken.names
        FROM {schema}.pcf_delete_touches() AS taken;
    END IF;
END $body$;
"""
_COMMENT = """
SELECT obj_description(p.oid, 'pg_proc') FROM pg_catalog.pg_proc p
WHERE p.oid = pg_catalog.to_regprocedure(%s)
"""
_OWNER = """
SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner))
FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass(%s)
"""


@dataclass(frozen=True, slots=True)
class TouchedNames:
    """The names that a transaction touched, as triggers write them, and the transaction's id."""

    transaction: str
    names: list[str]


class Outbox:
    """The outbox of one database.

    ``connection`` is psycopg's, so Django neither counts nor logs these statements. Their names
    are qualified: neither a search_path nor a temporary table changes what they mean.
    """

    def __init__(self, schema: str) -> None:
        """``schema`` is the quoted schema of the table."""
        self.table = table = f"{schema}.{OUTBOX}"
        quoted = table.replace("%", "%%")  # for the statements that have parameters
        self._take = f"SELECT * FROM {schema}.pcf_take_touches()"  # noqa: S608
        self.put_sql = f"INSERT INTO {quoted} (names) VALUES (%s) RETURNING id"  # noqa: S608
        self._contains = f"SELECT EXISTS (SELECT FROM {quoted} WHERE id = %s)"  # noqa: S608
        self._read = f"SELECT id, names FROM {table} ORDER BY id LIMIT {LARGE_WRITE + 1}"  # noqa: S608
        self._remove = f"DELETE FROM {quoted} WHERE id = ANY(%s)"  # noqa: S608
        self._shrink = _SHRINK.format(table=table)

    def take(self, connection: Any) -> TouchedNames | None:
        """Take the current transaction's rows out of the outbox; return None if there are none."""
        row = connection.execute(self._take).fetchone()
        return None if row is None else TouchedNames(str(row[0]), row[1])

    def put(self, connection: Any, names: Sequence[str]) -> int:
        """Write ``names`` into the outbox in the current transaction; return the row's id."""
        return int(connection.execute(self.put_sql, [list(names)]).fetchone()[0])

    def contains(self, connection: Any, row: int) -> bool:
        """Return whether the outbox has the row with this id."""
        return bool(connection.execute(self._contains, [row]).fetchone()[0])

    def read(self, connection: Any) -> tuple[list[int], list[str]]:
        """Return ids and names of the committed rows, after shrinking a large outbox."""
        rows = connection.execute(self._read).fetchall()
        if len(rows) > LARGE_WRITE:
            connection.execute(self._shrink)
            rows = connection.execute(self._read).fetchall()
        return [row[0] for row in rows], list({name for row in rows for name in row[1]})

    def remove(self, connection: Any, ids: Iterable[int]) -> None:
        """Remove rows that were delivered."""
        connection.execute(self._remove, [list(ids)])


def find(connection: Any) -> Outbox | None:
    """Return the outbox that migrations have made; None where there is none."""
    row = connection.execute(_FIND).fetchone()
    return None if row is None else Outbox(row[0])


def owner_of(cursor: Any, found: Outbox) -> str:
    """Return the quoted role that the table belongs to."""
    cursor.execute(_OWNER, [found.table])
    return str(cursor.fetchone()[0])


def install_functions(cursor: Any) -> None:
    """Install the functions that take rows out of the outbox, unless they are up to date.

    Their names are qualified, so they are of another version when the schema was renamed.
    """
    cursor.execute(_FIND)
    (schema,) = cursor.fetchone()
    sql = _FUNCTIONS.format(schema=schema)
    comment = f"pcf {sha256(sql.encode()).hexdigest()[:32]}"
    cursor.execute(_COMMENT, [f"{schema}.pcf_take_touches()"])
    if cursor.fetchone() == (comment,):
        return
    owner = owner_of(cursor, Outbox(schema))
    cursor.execute(
        f"{sql} COMMENT ON FUNCTION {schema}.pcf_take_touches() IS '{comment}';"
        f"ALTER FUNCTION {schema}.pcf_has_touches() OWNER TO {owner};"
        f"ALTER FUNCTION {schema}.pcf_delete_touches() OWNER TO {owner};"
    )


def statuses(connection: Any, transactions: Sequence[str]) -> dict[str, str]:
    """Return the status of each transaction: IN_PROGRESS, or anything else when it is over.

    A transaction that the server does not know is over as well: the server was restored from a
    backup.
    """
    return dict(connection.execute(_STATUSES, [list(transactions)]).fetchall())


def writers(connection: Any) -> set[str]:
    """Return the ids of the other transactions in progress that may have written."""
    return {row[0] for row in connection.execute(_WRITERS).fetchall()}


def server_start(connection: Any) -> str:
    """Return a text that names the last start of the server; the recovery from a crash is one."""
    return str(connection.execute(SERVER_START).fetchone()[0])
