"""The version of a note grows with each write of the note and of its tags, whoever writes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from notes import seeding
from notes.models import Note, NoteTag
from tags.models import Tag
from tests.conftest import Ask, World, make_note, token_for


def version(note: Note) -> int:
    return Note.objects.values_list("version", flat=True).get(pk=note.pk)


def run(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def test_a_note_begins_with_version_1(live_world: World) -> None:
    with transaction.atomic():
        note = make_note(live_world.ann, "note", live_world.red)
    assert version(note) == 1
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO notes_note (title, content, author_id, is_public, created_at, updated_at) "
            "VALUES ('x', '', %s, true, now(), now()) RETURNING version",
            [live_world.ann.pk],
        )
        assert cursor.fetchone() == (1,)


WRITES: dict[str, Callable[[World], Any]] = {
    "save": lambda world: world.public.save(),
    "update": lambda _: Note.objects.update(title="other"),
    "bulk update": lambda world: Note.objects.bulk_update([renamed(world.public)], ["title"]),
    "stale version": lambda _: Note.objects.update(version=1, title="other"),
    "own version": lambda _: Note.objects.update(version=F("version") + 70),
    "trash": lambda _: Note.objects.update(deleted_at=timezone.now()),
    "move": lambda world: Note.objects.update(author=world.bob),
    "add": lambda world: world.public.tags.add(world.blue),
    "add from the other side": lambda world: world.blue.notes.add(world.public),
    "remove": lambda world: world.public.tags.remove(world.red),
    "set": lambda world: world.public.tags.set([world.blue]),
    "clear": lambda world: world.public.tags.clear(),
    "other tag": lambda world: NoteTag.objects.filter(note=world.public).update(tag=world.blue),
    "delete tag": lambda world: world.red.delete(),
    "links by hand": lambda world: run(
        "INSERT INTO notes_notetag (note_id, tag_id) SELECT id, %s FROM notes_note "
        "ON CONFLICT DO NOTHING", world.blue.pk,
    ),
    "an update of nothing, and a tag": lambda world: (
        Note.objects.update(title=F("title")), world.public.tags.add(world.blue)
    ),
    "a savepoint that is gone, and a tag": lambda world: (
        undone(), world.public.tags.add(world.blue)
    ),
}  # fmt: skip


def renamed(note: Note) -> Note:
    note.title = "other"
    return note


def undone() -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        Note.objects.update(title="other")
        raise ZeroDivisionError


@pytest.mark.parametrize("write", WRITES)
def test_every_kind_of_write_counts(live_world: World, write: str) -> None:
    before = version(live_world.public)
    with transaction.atomic():
        WRITES[write](live_world)
    most = 70 if write == "own version" else 2
    assert before < version(live_world.public) <= before + most


def test_a_tag_that_moves_counts_for_both_notes(live_world: World) -> None:
    before = version(live_world.public), version(live_world.other)
    NoteTag.objects.filter(note=live_world.public).update(note=live_world.other)
    assert (version(live_world.public), version(live_world.other)) == (before[0] + 1, before[1] + 1)


def test_what_changes_nothing_does_not_count(live_world: World) -> None:
    before = version(live_world.public)
    Note.objects.update(title=F("title"))
    Note.objects.update(version=1)
    live_world.public.tags.add(live_world.red)  # it has the tag
    live_world.public.tags.remove(live_world.blue)
    Tag.objects.update(name=F("name"))
    NoteTag.objects.update(is_public=F("is_public"))
    call_command("rebuild_search")
    call_command("recount_tags")
    assert version(live_world.public) == before


def test_the_search_vector_is_computed_for_new_texts_alone(live_world: World) -> None:
    """A trigger BEFORE UPDATE would make PostgreSQL compute it for each update of a note."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'notes_note'::regclass "
            "AND tgtype & 2 = 2 AND NOT tgisinternal"  # TRIGGER_TYPE_BEFORE
        )
        assert cursor.fetchall() == []


def test_writers_at_once_count_each(live_world: World) -> None:
    before = version(live_world.other)

    def write(number: int) -> None:
        try:
            if number % 2:
                live_world.other.tags.add(Tag.objects.create(name=f"tag {number}"))
            else:
                Note.objects.filter(pk=live_world.other.pk).update(title=f"title {number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(40)))
    assert version(live_world.other) == before + 40


def test_a_load_writes_each_note_once(transactional_db: None) -> None:
    seeding.load(seeding.Volume(users=2, notes_per_user=20, tags=5, tags_per_note=2))
    assert set(Note.objects.values_list("version", flat=True)) == {1}


# -- expectedVersion

CHANGES = {
    "updateNote": 'id: "{key}", title: "new", tagIds: []',
    "deleteNote": 'id: "{key}"',
    "tagNote": 'noteId: "{key}", tagIds: ["{blue}"]',
    "untagNote": 'noteId: "{key}", tagIds: ["{red}"]',
}


def change(ask: Ask, world: World, name: str, expected: int, *, user: Any = None) -> Any:
    values = CHANGES[name].format(key=world.public.pk, red=world.red.pk, blue=world.blue.pk)
    answer = ask(
        f"mutation {{ {name}(input: {{{values}, expectedVersion: {expected}}}) "
        "{ note { title version tags { name } } userErrors { field code message } } }",
        token_for(user or world.ann),
    )
    return answer.data[name]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_another_version_is_refused(world: World, ask: Ask, name: str) -> None:
    world.public.tags.add(world.blue)
    now = version(world.public)
    rows = list(Note.objects.values()), list(NoteTag.objects.values())
    for expected in (now - 1, now + 1, -1):
        payload = change(ask, world, name, expected)
        assert payload["userErrors"] == [{
            "field": "expectedVersion", "code": "CONFLICT",
            "message": f"The note has version {now} by now, not {expected}.",
        }]  # fmt: skip
        tags = [{"name": "red"}, {"name": "blue"}]
        assert payload["note"] == {"title": "public of ann", "version": now, "tags": tags}
    assert (list(Note.objects.values()), list(NoteTag.objects.values())) == rows


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_the_same_version_is_made(live_world: World, ask: Ask, name: str) -> None:
    now = version(live_world.public)
    payload = change(ask, live_world, name, now)
    assert payload["userErrors"] == []
    assert version(live_world.public) == now + 1
    if name != "deleteNote":
        assert payload["note"]["version"] == now + 1


def test_a_foreigner_learns_nothing_from_a_version(world: World, ask: Ask) -> None:
    Note.objects.filter(pk=world.public.pk).update(is_public=False)
    for name in CHANGES:
        payload = change(ask, world, name, 77, user=world.bob)
        assert payload["note"] is None
        assert [error["code"] for error in payload["userErrors"]] == ["NOT_FOUND"]


def test_one_of_ten_clients_wins(live_world: World, ask: Ask) -> None:
    now, token = version(live_world.public), token_for(live_world.ann)
    query = """mutation($input: UpdateNoteInput!) {
      updateNote(input: $input) { note { title version } userErrors { code } } }"""

    def write(number: int) -> Any:
        try:
            values = {
                "id": str(live_world.public.pk), "title": f"by {number}", "expectedVersion": now,
                "tagIds": [str(live_world.blue.pk)],
            }  # fmt: skip
            return ask(query, token, {"input": values}).data["updateNote"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as threads:
        payloads = list(threads.map(write, range(10)))
    note = Note.objects.get(pk=live_world.public.pk)
    (winner,) = [payload for payload in payloads if not payload["userErrors"]]
    assert winner["note"] == {"title": note.title, "version": note.version}
    assert note.version == now + 1
    for payload in payloads:
        assert payload["note"] == winner["note"]
        assert payload is winner or payload["userErrors"] == [{"code": "CONFLICT"}]
