"""The triggers of invalidation in a database: the missing ones, and their installation.

``migrate`` installs triggers. It takes a lock on each table that writers wait for, so it waits for
``LOCK_TIMEOUT`` at a time and lets the writers pass between two attempts.
"""

from collections.abc import Mapping
from time import sleep
from typing import Any

import psycopg
from django.db import OperationalError, connections, transaction

from pcf.cache import outbox
from pcf.cache.declaration_checks import table_problems
from pcf.cache.outbox import Outbox
from pcf.cache.trigger_sql import Trigger, triggers

LOCK_TIMEOUT = 1.0  # seconds that writers to a table wait behind an attempt
PAUSE = 1.0  # seconds between two attempts, for the writers that have waited
ATTEMPTS = 30
INSTALLING = 7_090_867_514  # the advisory lock of the one session that installs now

# The qualified name of each table that exists. A temporary table with this name does not count; a
# table that the session's search_path does not find is looked for beside the outbox.
_TABLES = """
SELECT wanted.name, pg_catalog.format('%%I.%%I', n.nspname, c.relname), c.oid
FROM unnest(%s::text[]) AS wanted (name)
JOIN pg_catalog.pg_class c ON c.oid = COALESCE(
    (SELECT visible.oid FROM pg_catalog.pg_class visible
     WHERE visible.oid = pg_catalog.to_regclass(wanted.name) AND visible.relpersistence <> 't'),
    pg_catalog.to_regclass(%s || '.' || wanted.name))
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""
# The comment of the function that all four triggers call; NULL unless all are always enabled and
# the function belongs to the owner of the outbox.
_COMMENTS = """
SELECT wanted.name, (
    SELECT CASE WHEN count(*) = 4 AND bool_and(t.tgenabled = 'A' AND p.proowner = own.relowner)
                THEN min(pg_catalog.obj_description(p.oid, 'pg_proc')) END
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = wanted.relation AND p.proname = wanted.function
      AND p.pronamespace = own.relnamespace
)
FROM unnest(%s::text[], %s::oid[], %s::text[]) AS wanted (name, relation, function)
JOIN pg_catalog.pg_class own ON own.oid = pg_catalog.to_regclass(%s)
"""
_MISSING_RIGHTS = """
SELECT pg_catalog.string_agg(wanted.privilege || ' on ' || wanted.name, ', ')
FROM unnest(%s::text[], %s::text[]) AS wanted (name, privilege)
JOIN pg_catalog.pg_class own ON own.oid = pg_catalog.to_regclass(%s)
WHERE NOT pg_catalog.has_table_privilege(own.relowner, wanted.name, wanted.privilege)
"""
_HOLDERS = """
SELECT pg_catalog.string_agg(DISTINCT pid::text, ', ') FROM pg_catalog.pg_locks
WHERE relation = pg_catalog.to_regclass(%s) AND granted AND pid <> pg_catalog.pg_backend_pid()
  AND mode NOT IN ('AccessShareLock', 'RowShareLock')
"""


class TriggerInstallationError(Exception):
    """A trigger cannot be installed; the message says what to do."""


class InstalledTriggers:
    """The triggers of one database, compared with their declarations."""

    def __init__(self, cursor: Any, outbox_found: Outbox) -> None:
        self.outbox = outbox_found
        wanted = list(triggers())
        names = list({name for trigger in wanted for name in trigger.tables})
        schema = outbox_found.table.rpartition(".")[0]
        cursor.execute(_TABLES, [names, schema])
        tables = {name: (qualified, oid) for name, qualified, oid in cursor.fetchall()}
        self._qualified: dict[str, str] = {
            name: qualified for name, (qualified, _) in tables.items()
        }
        present = [trigger for trigger in wanted if trigger.tables[0] in tables]
        cursor.execute(
            _COMMENTS,
            [
                [trigger.table for trigger in present],
                [tables[trigger.tables[0]][1] for trigger in present],
                [trigger.function for trigger in present],
                outbox_found.table,
            ],
        )
        self._comments: Mapping[str, str | None] = dict(cursor.fetchall())
        self._present = present

    def stale(self) -> list[Trigger]:
        """Return the triggers of existing tables that are missing, disabled or of another version.

        A trigger that reads a table which does not exist yet waits for that table.
        """
        return [
            trigger
            for trigger in self._present
            if all(name in self._qualified for name in trigger.tables)
            and self._comments.get(trigger.table) != self.comment(trigger)
        ]

    def qualified(self, trigger: Trigger) -> str:
        """Return the table of the model with its schema."""
        return self._qualified[trigger.tables[0]]

    def rights(self, trigger: Trigger) -> tuple[list[str], list[str]]:
        """Return tables, and the privilege on each that the owner of the function needs."""
        others = [(name, "SELECT") for name in trigger.tables[1:]]
        others += [(name, "UPDATE") for name in trigger.held_tables]
        return [self._qualified[name] for name, _ in others], [right for _, right in others]

    def comment(self, trigger: Trigger) -> str:
        """Return the comment of the function as it has to be."""
        return trigger.comment(self.outbox.table, self._qualified.__getitem__)

    def sql(self, trigger: Trigger, owner: str) -> str:
        """Return the SQL that installs ``trigger``; its function belongs to the role ``owner``."""
        schema = self.outbox.table.rpartition(".")[0]
        function = f"{schema}.{trigger.function}()"
        return (
            f"{trigger.sql(self.outbox.table, self._qualified.__getitem__)}"
            f"COMMENT ON FUNCTION {function} IS '{self.comment(trigger)}';\n"
            f"ALTER FUNCTION {function} OWNER TO {owner}"
        )


def stale_triggers(cursor: Any) -> list[Trigger]:
    """Return the triggers of existing tables that are missing, disabled or of another version."""
    found = outbox.find(cursor)
    return [] if found is None else InstalledTriggers(cursor, found).stale()


def install(using: str, app: str | None = None, *, attempts: int = ATTEMPTS) -> list[str]:
    """Install the triggers (of ``app``) that are missing or out of date; return their tables.

    The writes that they have missed touch whole kinds. Raises TriggerInstallationError when other
    sessions hold a table for longer than ``attempts``, when the owner of the outbox may not read
    what a trigger reads, and for a table that triggers cannot serve.
    """
    with connections[using].cursor() as cursor:
        found = outbox.find(cursor)
        if found is None:
            return []
        with transaction.atomic(using):
            outbox.install_functions(cursor)
        installed = InstalledTriggers(cursor, found)
        stale = [trigger for trigger in installed.stale() if app in {None, trigger.app}]
        if problems := table_problems(cursor, stale):
            raise TriggerInstallationError("; ".join(problem.message for problem in problems))
        for trigger in stale:
            _install_one(cursor, using, installed, trigger, attempts)
    return [trigger.table for trigger in stale]


def _install_one(
    cursor: Any, using: str, installed: InstalledTriggers, trigger: Trigger, attempts: int
) -> None:
    found = installed.outbox
    owner = outbox.owner_of(cursor, found)
    sql = installed.sql(trigger, owner)
    touched = [f"{kind}!" for kind in trigger.declaration.kinds]
    table = installed.qualified(trigger)
    cursor.execute(_MISSING_RIGHTS, [*installed.rights(trigger), found.table])
    (missing,) = cursor.fetchone()
    if missing:
        raise TriggerInstallationError(
            f"The triggers on {table} are not installed: the owner of {found.table}, {owner}, "
            f"lacks rights: {missing}. Grant them and run migrate again."
        )
    for attempt in range(1, attempts + 1):
        try:
            with transaction.atomic(using):
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_TIMEOUT}s"])
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [INSTALLING])
                cursor.execute(sql)
                cursor.execute("SET LOCAL lock_timeout = DEFAULT")
                cursor.execute(f"INSERT INTO {found.table} (names) VALUES (%s)", [touched])  # noqa: S608
                return
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise
            if attempt == attempts:
                cursor.execute(_HOLDERS, [table])
                (holders,) = cursor.fetchone()
                raise TriggerInstallationError(
                    f"The triggers on {table} are not installed: other sessions hold the table "
                    f"(process ids: {holders or 'none now'}). End their transactions (see "
                    "pg_stat_activity) and run migrate again. Nothing is cached until then."
                ) from error
        sleep(PAUSE)
