"""Stored answers of idempotency keys go with the notes and accounts that they show."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from notes.models import Note
from pcf.database.deletion import delete_in_steps
from pcf.models import IdempotentAnswer
from tests.conftest import Ask, World, token_for
from users.models import User

NOTE = "note { title content author { email notes(first: 10) { title } } }"
Send = Callable[..., Any]


@pytest.fixture
def send(ask: Ask, live_world: World) -> Send:
    """``send(key, name, fields, viewer, **input)`` runs a mutation with a key."""

    def run(key: str, name: str, fields: str = NOTE, viewer: Any = None, /, **values: Any) -> Any:
        kind = name[0].upper() + name[1:]
        query = (
            f"mutation($input: {kind}Input!) {{ {name}(input: $input) {{ {fields}"
            " userErrors { code } } }"
        )
        token = token_for(viewer or live_world.ann)
        return ask(query, token, {"input": values}, **{"Idempotency-Key": key}).data[name]

    return run


def stored() -> set[str]:
    """Return the titles that the stored answers show."""
    bodies = [bytes(each.body).decode() for each in IdempotentAnswer.objects.all()]
    known = ("mine", "the other", "public of ann", "private of bob")
    return {title for title in known for body in bodies if title in body}


@pytest.fixture
def mine(send: Send) -> Note:
    """A note in the trash, with stored answers that show it and others."""
    send("1", "createNote", "note { title }", title="the other")
    send("2", "createNote", "note { title }", title="mine")
    note = Note.objects.get(title="mine")
    send("3", "updateNote", "note { content }", id=str(note.pk), content="...")
    send("4", "deleteNote", "deletedId", id=str(note.pk))
    assert stored() == {"mine", "the other"}
    assert IdempotentAnswer.objects.count() == 4
    return note


def purge_by_command(_send: Send, _note: Note) -> None:
    call_command("purge_trash", "--days=0", stdout=StringIO())


def purge_by_mutation(send: Send, note: Note) -> None:
    send("5", "purgeNote", "purgedId", id=str(note.pk))


def delete_in_the_admin(_send: Send, note: Note) -> None:
    list(delete_in_steps(Note.objects.filter(pk=note.pk)))


@pytest.mark.parametrize("purge", [purge_by_command, purge_by_mutation, delete_in_the_admin])
def test_a_note_that_is_gone_is_in_no_stored_answer(send: Send, mine: Note, purge: Any) -> None:
    purge(send, mine)
    assert not Note.objects.filter(pk=mine.pk).exists()
    assert stored() == {"the other"}
    again = send("1", "createNote", "note { title }", title="the other")
    assert again["note"] == {"title": "the other"}
    assert Note.objects.filter(title="the other").count() == 1  # its key is still known


def test_a_purge_that_is_rolled_back_leaves_the_answers(send: Send, mine: Note) -> None:
    before = stored()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        list(delete_in_steps(Note.objects.filter(pk=mine.pk)))
        raise ZeroDivisionError
    assert stored() == before


def test_answers_that_show_a_note_beside_another_go_with_it(
    send: Send, live_world: World, mine: Note
) -> None:
    """A nested list and the note of a conflict show notes, too; another viewer may see them."""
    note = {"id": str(live_world.public.pk), "content": "new"}
    send("nested", "updateNote", NOTE, live_world.staff, **note)
    send("conflict", "updateNote", NOTE, live_world.ann, **note, expectedVersion=99)
    assert stored() == {"mine", "the other", "public of ann"}
    Note.objects.filter(pk=live_world.public.pk).update(deleted_at="2026-01-01T00:00Z")
    list(delete_in_steps(Note.objects.filter(pk=live_world.public.pk)))
    assert stored() == {"mine", "the other"}


def test_an_account_that_is_gone_leaves_no_answer(
    send: Send, live_world: World, mine: Note
) -> None:
    """Its own answers go, and those of staff that show its name. Others stay."""
    send("5", "updateNote", NOTE, live_world.staff, id=str(live_world.private.pk), title="x")
    send("6", "updateNote", NOTE, live_world.bob, id=str(live_world.other.pk), content="x")
    send("7", "updateProfile", "user { email }", live_world.ann, name="Ann II")
    list(delete_in_steps(User.objects.filter(pk=live_world.ann.pk)))
    assert IdempotentAnswer.objects.count() == 1
    assert stored() == {"private of bob"}
