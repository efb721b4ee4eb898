"""The command that empties the tables after a test leaves what Django's command leaves."""

import psycopg
import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.core.management.commands.flush import Command as DjangosFlush
from django.db import connection

from notes.models import Note
from tests.conftest import build_world
from tests.flush.management.commands.flush import LARGEST
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)

OPTIONS = {
    "verbosity": 0, "interactive": False, "database": "default", "reset_sequences": False,
    "allow_cascade": False, "inhibit_post_migrate": False,
}  # fmt: skip


def run(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def contents():
    """How many rows each table has, the permissions, and the triggers."""
    sql = 'SELECT count(*) FROM "{}"'
    found = {table: run(sql.format(table)) for table in tables()}
    names = sorted(Permission.objects.values_list("content_type__model", "codename"))
    triggers = run(
        "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger ORDER BY 1, 2"
    )
    return found, names, [row for row in triggers if not row[1].startswith("RI_")]


def tables():
    return connection.introspection.table_names()


def size_of_users():
    return run("SELECT pg_relation_size('users_user')")[0][0]


def leave_a_touch():
    """Write to the outbox as a session that ends before it takes its rows."""
    given = connection.get_connection_params()
    names = ("dbname", "host", "port", "user", "password")
    with psycopg.connect(**{name: given[name] for name in names if given.get(name)}) as other:
        other.execute("INSERT INTO pcf_touch (names) VALUES ('{note!}')")


CHANGES = {
    "rows": build_world,
    "a touch": leave_a_touch,
    "a permission less": lambda: Permission.objects.filter(codename="add_note").delete(),
    "another permission": lambda: Permission.objects.filter(codename="add_note").update(
        codename="a"
    ),
    "a trigger less": lambda: run("DROP TRIGGER pcf_touch_insert ON notes_note"),
    "a disabled trigger": lambda: run("ALTER TABLE tags_tag DISABLE TRIGGER pcf_touch_update"),
    "no content types": lambda: run("TRUNCATE django_content_type CASCADE"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_tables_are_as_after_djangos_command(change):
    call_command(DjangosFlush(), **OPTIONS)
    call_command("flush", **OPTIONS)
    usual = contents()
    change()
    assert contents() != usual
    call_command("flush", **OPTIONS)
    assert contents() == usual


def test_rows_are_deleted_and_the_file_of_a_large_table_is_truncated():
    call_command("flush", **OPTIONS)
    build_world()
    call_command("flush", **OPTIONS)
    assert not Note.objects.exists()
    assert size_of_users() > 0
    names = (f"{number}-{'x' * 100}" for number in range(LARGEST // 200))
    User.objects.bulk_create([User(username=name, name=name) for name in names])
    assert size_of_users() > LARGEST
    call_command("flush", **OPTIONS)
    assert size_of_users() == 0
