"""The copies of a note's values on its tags, and the counters: exact after every kind of write."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Sum
from django.utils import timezone

from notes import trash
from notes.models import BUCKETS, Note, NoteTag, TagCount
from tags.models import Tag
from tests.conftest import World, make_note, make_user

WRONG_COPIES = """
SELECT t.id FROM notes_notetag t JOIN notes_note n ON n.id = t.note_id
WHERE (t.created_at, t.is_public, t.is_deleted)
    IS DISTINCT FROM (n.created_at, n.is_public, n.deleted_at IS NOT NULL)
"""
WRONG_COUNTS = """
SELECT tag_id, total, public FROM (
    SELECT tag_id, sum(total) AS total, sum(public) AS public
    FROM notes_tagcount GROUP BY tag_id HAVING sum(total) <> 0 OR sum(public) <> 0
) counted
FULL JOIN (
    SELECT t.tag_id, count(*) AS total, count(*) FILTER (WHERE n.is_public) AS public
    FROM notes_notetag t JOIN notes_note n ON n.id = t.note_id AND n.deleted_at IS NULL
    GROUP BY t.tag_id
) exact USING (tag_id, total, public)
WHERE counted.tag_id IS NULL OR exact.tag_id IS NULL
"""


def check() -> None:
    """Fail unless all copies and counters are those of a recount."""
    with connection.cursor() as cursor:
        for sql in (WRONG_COPIES, WRONG_COUNTS):
            cursor.execute(sql)
            assert cursor.fetchall() == []
        cursor.execute(
            "SELECT c.id FROM notes_tagcount c LEFT JOIN tags_tag t ON t.id = c.tag_id "
            "WHERE t.id IS NULL"
        )
        assert cursor.fetchall() == []


def counts(tag: Tag) -> tuple[int, int]:
    found = TagCount.objects.filter(tag=tag).aggregate(total=Sum("total"), public=Sum("public"))
    return found["total"], found["public"]


def run(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def test_the_counters_count_all_notes_and_public_ones(world: World) -> None:
    assert (counts(world.red), counts(world.blue)) == ((2, 1), (2, 0))
    check()


def test_an_insert_gives_the_copies_to_the_instance(world: World) -> None:
    link = NoteTag.objects.create(note=world.public, tag=world.blue)
    assert (link.created_at, link.is_public) == (world.public.created_at, True)


WRITES: dict[str, Callable[[World], Any]] = {
    "publish": lambda world: Note.objects.filter(pk=world.private.pk).update(is_public=True),
    "hide": lambda world: Note.objects.update(is_public=False),
    "date": lambda world: Note.objects.update(created_at=timezone.now()),
    "trash": lambda world: Note.objects.filter(author=world.ann).update(deleted_at=timezone.now()),
    "trash and restore": lambda _: (
        Note.objects.update(deleted_at=timezone.now()), Note.objects.update(deleted_at=None)
    ),
    "trash, publish and tag": lambda world: (
        Note.objects.filter(author=world.ann).update(deleted_at=timezone.now()),
        Note.objects.update(is_public=True),
        world.public.tags.set([world.blue]),
        NoteTag.objects.filter(note=world.private).delete(),
    ),
    "trash and purge": lambda world: (
        Note.objects.update(deleted_at=timezone.now()),
        trash.purge([world.private.pk, world.other.pk]),
    ),
    "save": lambda world: world.private.save(),
    "clear": lambda world: world.private.tags.clear(),
    "set": lambda world: world.private.tags.set([world.red]),
    "bulk": lambda world: NoteTag.objects.bulk_create(
        NoteTag(note=note, tag=tag)
        for note, tag in [(world.public, world.blue), (world.other, world.red)]
    ),
    "other tag": lambda world: NoteTag.objects.filter(note=world.public).update(tag=world.blue),
    "other note": lambda world: NoteTag.objects.filter(note=world.public).update(note=world.other),
    "copies by hand": lambda _: run("UPDATE notes_notetag SET is_public = NOT is_public"),
    "insert by hand": lambda world: run(
        "INSERT INTO notes_notetag (note_id, tag_id, created_at, is_public) "
        "VALUES (%s, %s, now(), false)", world.public.pk, world.blue.pk,
    ),
    "upsert": lambda world: run(
        "INSERT INTO notes_notetag (note_id, tag_id) SELECT n.id, t.id FROM notes_note n, "
        "tags_tag t ON CONFLICT (note_id, tag_id) DO UPDATE SET is_public = false"
    ),
    "delete note": lambda world: world.private.delete(),
    "delete notes": lambda _: Note.objects.all().delete(),
    "delete tag": lambda world: world.red.delete(),
    "delete tags": lambda _: Tag.objects.all().delete(),
    "delete user": lambda world: world.ann.delete(),
    "delete links": lambda _: run("DELETE FROM notes_notetag"),
    "truncate": lambda _: run("TRUNCATE notes_notetag"),
    "truncate tags": lambda _: run("TRUNCATE tags_tag CASCADE"),
    "tag before its links": lambda world: (
        run("DELETE FROM tags_tag WHERE id = %s", world.red.pk),
        run("DELETE FROM notes_notetag WHERE tag_id = %s", world.red.pk),
    ),
    "key of a note": lambda world: (
        run("UPDATE notes_note SET id = id + 1000, is_public = true"),
        run("UPDATE notes_notetag SET note_id = note_id + 1000"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
def test_every_kind_of_write_counts(live_world: World, write: str) -> None:
    with transaction.atomic():
        WRITES[write](live_world)
    check()


def test_links_may_come_before_their_note(live_world: World) -> None:
    """Deferred foreign keys allow it, and loaddata does it."""
    with transaction.atomic():
        run("INSERT INTO notes_notetag (note_id, tag_id) VALUES (1000000, %s)", live_world.red.pk)
        run(
            "INSERT INTO notes_note (id, title, content, author_id, is_public, created_at, "
            "updated_at) VALUES (1000000, 'x', '', %s, true, '2020-01-01', now())",
            live_world.ann.pk,
        )
    check()
    assert counts(live_world.red) == (3, 2)


def test_a_savepoint_takes_its_counts_back(live_world: World) -> None:
    with transaction.atomic():
        with suppress(ZeroDivisionError), transaction.atomic():
            live_world.public.tags.add(live_world.blue)
            raise ZeroDivisionError
        live_world.other.tags.add(live_world.red)
    check()
    assert (counts(live_world.red), counts(live_world.blue)) == ((3, 1), (2, 0))


@pytest.fixture
def session() -> Iterator[Callable[[], Any]]:
    """``session()`` opens another session; all end with the test."""
    opened = []
    settings = connection.settings_dict
    parameters = {
        "host": settings["HOST"], "port": settings["PORT"], "user": settings["USER"],
        "password": settings["PASSWORD"], "dbname": settings["NAME"],
    }  # fmt: skip

    def open_session() -> Any:
        opened.append(psycopg.connect(**{key: value for key, value in parameters.items() if value}))
        return opened[-1]

    yield open_session
    for each in opened:
        each.close()


def test_transactions_do_not_wait_for_each_others_counters(
    live_world: World, session: Callable[[], Any]
) -> None:
    notes = [make_note(live_world.ann, f"note {number}") for number in range(BUCKETS)]
    sessions = [session() for _ in range(BUCKETS)]
    for each, note in zip(sessions, notes, strict=True):
        each.execute("SET lock_timeout = '1ms'")
        for tag in (live_world.red, live_world.blue):
            each.execute(
                "INSERT INTO notes_notetag (note_id, tag_id) VALUES (%s, %s)", [note.pk, tag.pk]
            )
    for each in sessions:
        each.commit()
    check()
    assert counts(live_world.red) == (2 + BUCKETS, 1 + BUCKETS)
    assert TagCount.objects.filter(tag=live_world.red).count() == BUCKETS


def test_a_tag_waits_for_a_note_that_changes(live_world: World, session: Callable[[], Any]) -> None:
    first, second = session(), session()
    first.execute("UPDATE notes_note SET is_public = true WHERE id = %s", [live_world.other.pk])
    insert = "INSERT INTO notes_notetag (note_id, tag_id) VALUES (%s, %s)"
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(second.execute, insert, [live_world.other.pk, live_world.red.pk])
        while not waits_for_a_lock(second):
            assert not done.done()
        first.commit()
        done.result()
    second.commit()
    check()
    assert counts(live_world.red) == (3, 2)


def waits_for_a_lock(session: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'",
            [session.info.backend_pid],
        )
        return cursor.fetchone() is not None


STATEMENTS = """
INSERT INTO notes_notetag (note_id, tag_id) SELECT n.id, t.id FROM notes_note n, tags_tag t
WHERE random() < 0.1 ON CONFLICT DO NOTHING
--
DELETE FROM notes_notetag WHERE random() < 0.1
--
UPDATE notes_note SET is_public = NOT is_public WHERE random() < 0.2
--
UPDATE notes_note SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE random() < 0.2
--
UPDATE notes_note SET created_at = created_at + interval '1 day' WHERE random() < 0.2
--
UPDATE notes_notetag t SET note_id = n.id FROM notes_note n WHERE random() < 0.1
AND NOT EXISTS (SELECT FROM notes_notetag o WHERE o.tag_id = t.tag_id AND o.note_id = n.id)
AND t.id IN (SELECT max(id) FROM notes_notetag GROUP BY tag_id)
--
WITH gone AS (DELETE FROM notes_notetag WHERE tag_id IN (SELECT min(id) FROM tags_tag))
DELETE FROM tags_tag WHERE id IN (SELECT min(id) FROM tags_tag)
--
INSERT INTO tags_tag (name) VALUES (md5(random()::text))
--
SAVEPOINT s; DELETE FROM notes_notetag; ROLLBACK TO s
--
SAVEPOINT s; UPDATE notes_note SET is_public = true; RELEASE s
--
TRUNCATE notes_notetag
"""
RANDOM_WRITES = STATEMENTS.split("--")


@pytest.mark.parametrize("seed", range(4))
def test_random_writes_of_concurrent_sessions(
    live_world: World, session: Callable[[], Any], seed: int
) -> None:
    for number in range(10):
        make_note(live_world.ann, f"note {number}", live_world.red, public=bool(number % 2))

    def write(number: int) -> int:
        random = Random(f"{seed}/{number}")
        connected = session()
        connected.execute("SET deadlock_timeout = '20ms'")  # PostgreSQL finds a deadlock after it
        connected.execute("SELECT setseed(%s)", [random.random()])
        connected.commit()
        committed = 0
        for _ in range(15):
            try:
                for _ in range(random.randrange(1, 4)):
                    connected.execute(random.choice(RANDOM_WRITES))
                if random.random() < 0.8:
                    connected.commit()
                    committed += 1
            except (psycopg.OperationalError, psycopg.IntegrityError):
                pass  # deadlocks, and tags that somebody has deleted
            connected.rollback()
        return committed

    with ThreadPoolExecutor(4) as threads:
        committed = sum(threads.map(write, range(4)))
    assert committed > 0
    check()


def test_the_command_repairs_what_no_trigger_has_seen(live_world: World) -> None:
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")
        run("UPDATE notes_note SET is_public = NOT is_public, created_at = now()")
        run("UPDATE notes_note SET deleted_at = now() WHERE id = %s", live_world.private.pk)
        run("DELETE FROM notes_notetag WHERE tag_id = %s", live_world.blue.pk)
    with pytest.raises(AssertionError):
        check()
    call_command("recount_tags")
    check()
    assert counts(live_world.red) == (1, 0)
    run(
        "INSERT INTO notes_notetag (note_id, tag_id) VALUES (%s, %s)",
        live_world.other.pk,
        live_world.red.pk,
    )
    check()


def test_django_sees_no_counter_when_it_deletes_a_tag(live_world: World) -> None:
    assert live_world.red.delete() == (3, {"notes.NoteTag": 2, "tags.Tag": 1})
    assert not TagCount.objects.filter(tag_id=live_world.red.pk).exists()
    assert make_user("Zoe").delete()[0] == 1


def test_the_migration_fills_copies_counters_and_columns(transactional_db: None) -> None:
    executor = MigrationExecutor(connection)
    targets = [("notes", "0003_times_in_range"), ("users", "0003_times_in_range")]
    executor.migrate([*targets, ("tags", "0001_initial")])
    try:
        old = executor.loader.project_state(targets).apps
        user = old.get_model("users", "User").objects.create(username="ann", name="Ánn")
        tag = old.get_model("tags", "Tag").objects.create(name="Réd")
        for public in (True, True, False):
            note = old.get_model("notes", "Note").objects.create(
                author=user, title="Été", is_public=public
            )
            old.get_model("notes", "NoteTag").objects.create(note=note, tag=tag)
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    check()
    assert counts(Tag.objects.get(name_folded="red")) == (3, 2)
    assert Note.objects.filter(title_folded="ete", search_vector="ete").count() == 3
