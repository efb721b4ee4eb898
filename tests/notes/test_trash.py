"""Notes in the trash: gone from everything but ``me.trash``, until they are restored or purged."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notes.models import Note, NoteTag
from pcf.execution.nodes import make_node_id
from tests.conftest import Answer, Ask, World, make_note, token_for
from tests.notes.test_tag_counts import check as check_counts


def mutate(ask: Ask, token: str, name: str, key: int) -> Any:
    fields = {"restoreNote": "note { title tags { name } }", "purgeNote": "purgedId"}
    selected = fields.get(name, "deletedId")
    query = f'mutation {{ {name}(input: {{id: "{key}"}}) {{ {selected} userErrors {{ code }} }} }}'
    return ask(query, token).data[name]


def everything(ask: Ask, token: str | None, world: World, note: Note) -> Answer:
    """Ask for a note in every way that there is."""
    return ask(
        """query($id: ID!, $author: ID!, $node: ID!, $tag: ID!) {
          note(id: $id) { title }
          node(nodeId: $node) { nodeId }
          nodes(nodeIds: [$node]) { nodeId }
          notes { title }
          tagged: notes(tag: "red") { title }
          written: notes(authorId: $author) { title }
          both: notes(authorId: $author, tag: "red") { title }
          userNotes(userId: $author) { title }
          notesConnection { totalCount nodes { title } tagFacets { count tag { name } } }
          found: notesConnection(filter: { search: "ann" }) { edges { snippet node { title } } }
          typed: notesConnection(filter: { searchPrefix: "an" }) { totalCount }
          user(id: $author) {
            noteCount notes { title } notesConnection { totalCount nodes { title } }
          }
          tag(id: $tag) {
            noteCount notes { title } notesConnection { totalCount nodes { title } }
          }
          tagsConnection(orderBy: [{ field: NOTE_COUNT, direction: DESC }]) {
            nodes { name noteCount }
          }
        }""",
        token,
        {
            "id": str(note.pk),
            "author": str(note.author_id),
            "node": make_node_id("Note", note.pk),
            "tag": str(world.red.pk),
        },
    )


@pytest.mark.parametrize("name", ["public", "private"])
@pytest.mark.parametrize("viewer", [None, "ann", "bob", "staff"])
def test_a_note_in_the_trash_is_as_if_it_were_deleted(
    live_world: World, ask: Ask, viewer: str | None, name: str
) -> None:
    """Every answer is the one without the note, from the cache, too; then it is as before."""
    world, note = live_world, getattr(live_world, name)
    token = viewer and token_for(getattr(world, viewer))
    before = everything(ask, token, world, note).data
    assert everything(ask, token, world, note).data == before
    assert mutate(ask, token_for(world.ann), "deleteNote", note.pk)["deletedId"] == str(note.pk)
    without = everything(ask, token, world, note).data
    assert without["note"] is without["node"] is None
    assert note.title not in str(without)
    check_counts()

    assert mutate(ask, token_for(world.ann), "restoreNote", note.pk)["userErrors"] == []
    assert everything(ask, token, world, note).data == before
    check_counts()

    note.delete()  # the same answers as in the trash
    assert everything(ask, token, world, note).data == without


def trash_of(ask: Ask, token: str) -> list[str]:
    found = ask("{ me { trash { totalCount nodes { title deletedAt } } } }", token).data["me"]
    assert found["trash"]["totalCount"] == len(found["trash"]["nodes"])
    assert all(node["deletedAt"] for node in found["trash"]["nodes"])
    return [node["title"] for node in found["trash"]["nodes"]]


def test_the_trash_lists_the_note_deleted_last_first(live_world: World, ask: Ask) -> None:
    world, token = live_world, token_for(live_world.ann)
    assert trash_of(ask, token) == []
    for note in (world.private, world.public):
        mutate(ask, token, "deleteNote", note.pk)
    assert trash_of(ask, token) == ["public of ann", "private of ann"]
    mutate(ask, token, "restoreNote", world.public.pk)
    assert trash_of(ask, token) == ["private of ann"]
    mutate(ask, token, "purgeNote", world.private.pk)
    assert trash_of(ask, token) == []
    assert not NoteTag.objects.filter(note=world.private).exists()
    assert not Note.objects.filter(pk=world.private.pk).exists()


def test_the_trash_has_pages(world: World, ask: Ask) -> None:
    now = timezone.now()
    for number in range(5):
        note = make_note(world.ann, f"note {number}")
        Note.objects.filter(pk=note.pk).update(deleted_at=now - timedelta(hours=number))
    query = """query($after: String) { me { trash(first: 2, after: $after) {
      nodes { title } pageInfo { hasNextPage endCursor } } } }"""
    titles: list[str] = []
    after, more = None, True
    while more:
        page = ask(query, token_for(world.ann), {"after": after}).data["me"]["trash"]
        titles += [node["title"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert titles == [f"note {number}" for number in range(5)]


def test_nobody_sees_the_trash_of_another(world: World, ask: Ask) -> None:
    Note.objects.update(deleted_at=timezone.now())
    query = f'{{ user(id: "{world.ann.pk}") {{ trash {{ totalCount nodes {{ title }} }} }} }}'
    for token in (None, token_for(world.bob), token_for(world.staff)):
        assert ask(query, token).data["user"]["trash"] == {"totalCount": 0, "nodes": []}
    assert ask(query, token_for(world.ann)).data["user"]["trash"]["totalCount"] == 2


def test_a_note_comes_back_as_it_was(live_world: World, ask: Ask) -> None:
    note, token = live_world.private, token_for(live_world.ann)
    mutate(ask, token, "deleteNote", note.pk)
    payload = mutate(ask, token, "restoreNote", note.pk)
    tags = [{"name": "red"}, {"name": "blue"}]
    assert payload["note"] == {"title": "private of ann", "tags": tags}
    again = Note.objects.get(pk=note.pk)
    assert (again.updated_at, again.created_at) == (note.updated_at, note.created_at)


def test_a_note_outside_of_the_trash_is_neither_restored_nor_purged(world: World, ask: Ask) -> None:
    for name in ("restoreNote", "purgeNote"):
        payload = mutate(ask, token_for(world.ann), name, world.public.pk)
        assert payload["userErrors"] == [{"code": "NOT_FOUND"}]
    assert Note.objects.filter(pk=world.public.pk).exists()


def test_the_trash_is_read_from_its_index(world: World) -> None:
    from notes.policy import own_trash
    from pcf.viewer import Viewer

    now = timezone.now()
    Note.objects.bulk_create(
        [Note(author=world.bob, title=str(n), content="", deleted_at=now) for n in range(500)]
    )
    with connection.cursor() as cursor:
        # In an empty trash, the index of all authors costs as much as that of one author.
        cursor.execute("ANALYZE notes_note")
        # The table is too small for an index, whatever statistics other tests have left.
        for other in ("seqscan", "bitmapscan", "sort"):
            cursor.execute(f"SET LOCAL enable_{other} = off")
    rows = Note.objects.filter(own_trash(Viewer(world.ann.pk))).order_by("-deleted_at", "-id")[:20]
    plan = rows.explain()
    assert "notes_note_trash_author" in plan
    assert "Sort" not in plan


# -- purge_trash


def purge(*arguments: str) -> str:
    out = StringIO()
    call_command("purge_trash", *arguments, stdout=out)
    return out.getvalue().strip()


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_command_deletes_what_is_old(live_world: World, settings: Any, batch: int) -> None:
    now = timezone.now()
    for hours in (1, 30, 49, 50, 200):
        note = make_note(live_world.ann, f"{hours}", live_world.red)
        Note.objects.filter(pk=note.pk).update(deleted_at=now - timedelta(hours=hours))
    settings.NOTES_TRASH_DAYS = 30
    assert purge() == "0 notes are gone."
    assert purge("--days", "2", "--batch-size", str(batch)) == "3 notes are gone."
    left = Note.objects.filter(deleted_at__isnull=False).values_list("title", flat=True)
    assert sorted(left) == ["1", "30"]
    assert Note.objects.count() == 5
    assert not NoteTag.objects.exclude(note__in=Note.objects.all()).exists()
    check_counts()


def test_the_command_sends_one_statement_a_batch(world: World) -> None:
    Note.objects.update(deleted_at=timezone.now() - timedelta(days=31))
    with CaptureQueriesContext(connection) as queries:
        assert purge() == "3 notes are gone."
    deletes = [query["sql"] for query in queries if "DELETE" in query["sql"]]
    assert len([sql for sql in deletes if "notes_note" in sql]) == 2  # the last one finds nothing
    assert len(deletes) == 3  # with one for stored answers that show the notes


def test_the_command_does_not_wait_for_a_note_that_is_being_restored(live_world: World) -> None:
    Note.objects.update(deleted_at=timezone.now() - timedelta(days=31))

    def other() -> str:
        try:
            return purge()
        finally:
            connections.close_all()

    with transaction.atomic():
        Note.objects.filter(pk=live_world.other.pk).update(deleted_at=None)
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(other).result(20) == "2 notes are gone."
    assert purge() == "0 notes are gone."
    assert Note.objects.get() == live_world.other


def test_the_command_refuses_wrong_numbers() -> None:
    for arguments in (["--days", "-1"], ["--batch-size", "0"]):
        with pytest.raises(CommandError):
            purge(*arguments)
