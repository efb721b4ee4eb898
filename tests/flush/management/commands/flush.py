"""Empties the tables after a test with real commits: Django calls ``flush`` for it.

Django's command truncates all tables and then emits ``post_migrate``, whose receivers make the
permissions again and compare all triggers: a third of a second. This one deletes the few rows that
a test leaves. Where a test has changed what ``post_migrate`` makes, or has grown a table, Django's
command runs.
"""

from typing import Any

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.commands import flush
from django.db import connections, transaction
from django.db.models import Model

from pcf.cache.triggers import OUTBOX

MADE_BY_POST_MIGRATE = (ContentType, Permission)
LARGEST = 1 << 20  # bytes of a table whose rows are deleted; TRUNCATE gives back a larger one

# Every change of a row gives it a newer xmin.
_STATE = """
SELECT concat_ws(' ', {counts},
    (SELECT concat(count(*), '/', max(xmin::text::bigint)) FROM pg_catalog.pg_trigger),
    (SELECT concat(count(*), '/', max(xmin::text::bigint)) FROM pg_catalog.pg_proc))
"""
_COUNT = "(SELECT concat(count(*), '/', max(xmin::text::bigint)) FROM {table})"
_TABLES = """
SELECT found::text, pg_catalog.pg_relation_size(found)
FROM unnest(%s::text[]) AS wanted (name), LATERAL to_regclass(wanted.name) AS found
WHERE found IS NOT NULL
"""

# what post_migrate has made in a database, by the name of the database
_states: dict[str, str] = {}


class Command(flush.Command):
    help = "Delete all rows but those that migrate makes again."

    def handle(self, **options: Any) -> None:
        alias = options["database"]
        name = connections[alias].settings_dict["NAME"]
        usual = not (
            options["interactive"] or options["reset_sequences"] or options["inhibit_post_migrate"]
        )
        if not (usual and name in _states and self._delete(alias, _states[name])):
            super().handle(**options)
            with connections[alias].cursor() as cursor:
                _states[name] = _state(cursor)

    def _delete(self, alias: str, state: str) -> bool:
        """Return False, and delete nothing, if that would not leave what Django's command does."""
        with connections[alias].cursor() as cursor:
            cursor.execute(_TABLES, [_tables()])
            sizes = dict(cursor.fetchall())
            tables = list(sizes)
            with transaction.atomic(using=alias):
                # Like TRUNCATE, wait for the sessions that a test has left.
                cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
                if max(sizes.values()) > LARGEST or _state(cursor) != state:
                    return False
                cursor.execute(
                    " UNION ALL ".join(
                        f"(SELECT {place} FROM {table} LIMIT 1)"  # noqa: S608 (names of models)
                        for place, table in enumerate(tables)
                    )
                )
                filled = [tables[place] for (place,) in cursor.fetchall()]
                # The triggers of these statements write to the outbox, so it comes last.
                for table in [*filled, OUTBOX]:
                    cursor.execute(f"DELETE FROM {table}")  # noqa: S608 (names of models)
        return True


def _tables() -> list[str]:
    """Return the quoted tables of all models, without those that ``post_migrate`` fills."""
    return [
        quoted(model)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and model not in MADE_BY_POST_MIGRATE
    ]


def quoted(model: type[Model]) -> str:
    name = model._meta.db_table.replace('"', '""')
    return f'"{name}"'


def _state(cursor: Any) -> str:
    counts = [_COUNT.format(table=quoted(each)) for each in MADE_BY_POST_MIGRATE]
    cursor.execute(_STATE.format(counts=", ".join(counts)))
    (state,) = cursor.fetchone()
    return str(state)
