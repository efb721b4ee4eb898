"""The constraints in PostgreSQL, which hold for every writer, and the indexes of lists."""

from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from notes.models import MAX_CONTENT, Note, NoteTag
from tags.models import Tag
from users.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return User.objects.create(username="ann", name="Ann")


def refused(constraint: str) -> Any:
    return pytest.raises(IntegrityError, match=constraint)


def test_a_title_is_not_empty(ann: User) -> None:
    with refused("notes_note_title_not_empty"):
        Note.objects.create(author=ann, title="")


def test_a_title_has_at_most_200_characters(ann: User) -> None:
    Note.objects.create(author=ann, title="x" * 200)
    with pytest.raises(DataError, match="too long"):
        Note.objects.create(author=ann, title="x" * 201)


def test_content_is_limited_in_characters_not_bytes(ann: User) -> None:
    Note.objects.create(author=ann, title="long", content="é" * MAX_CONTENT)
    with refused("notes_note_content_length"):
        Note.objects.create(author=ann, title="too long", content="é" * (MAX_CONTENT + 1))


@pytest.mark.parametrize("column", ["author_id", "title", "is_public"])
def test_a_note_is_whole(ann: User, column: str) -> None:
    fields = {"author_id": ann.pk, "title": "note", "is_public": True, column: None}
    with refused(f'"{column}"'):
        Note.objects.create(**fields)


def test_the_author_of_a_note_exists() -> None:
    with refused("notes_note_author_id"), transaction.atomic():
        Note.objects.create(author_id=123_456_789, title="note")
        connection.check_constraints()


def test_a_note_carries_a_tag_once(ann: User) -> None:
    note, tag = Note.objects.create(author=ann, title="note"), Tag.objects.create(name="red")
    NoteTag.objects.create(note=note, tag=tag)
    with refused("notes_notetag_note_tag"):
        NoteTag.objects.create(note=note, tag=tag)


def test_a_new_note_was_saved_when_it_was_made(ann: User) -> None:
    made = Note.objects.create(author=ann, title="note")
    (many,) = Note.objects.bulk_create([Note(author=ann, title="note")])
    for note in (made, many):
        assert (
            Note.objects.get(pk=note.pk, updated_at=note.created_at).updated_at == note.updated_at
        )
        note.save()
        assert Note.objects.get(pk=note.pk).updated_at > note.created_at


def test_notes_are_private_by_default(ann: User) -> None:
    assert Note.objects.create(author=ann, title="note").is_public is False


def test_deleting_an_author_deletes_the_notes(ann: User) -> None:
    note = Note.objects.create(author=ann, title="note")
    note.tags.set([Tag.objects.create(name="red")])
    ann.delete()
    assert not Note.objects.exists()
    assert not NoteTag.objects.exists()
    assert Tag.objects.exists()


def test_every_list_and_loader_has_its_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT regexp_replace(indexdef, '^.* USING ', '') FROM pg_indexes "
            "WHERE tablename IN ('notes_note', 'notes_notetag')"
        )
        indexes = {row[0] for row in cursor.fetchall()}
    assert indexes == {
        "btree (id)",  # in both tables
        "btree (author_id, id)",
        "btree (id) WHERE (deleted_at IS NULL)",
        "btree (id) WHERE ((deleted_at IS NULL) AND is_public)",
        "btree (deleted_at, id) WHERE (deleted_at IS NOT NULL)",
        "btree (author_id, deleted_at, id) WHERE (deleted_at IS NOT NULL)",
        "btree (note_id, tag_id)",
        "btree (tag_id, note_id)",
        "btree (created_at, id) INCLUDE (title_folded, is_public, deleted_at, author_id)",
        "btree (updated_at, id)",
        "btree (title_folded, id)",
        "btree (author_id, created_at, id)",
        "btree (author_id, updated_at, id)",
        "btree (author_id, title_folded, id)",
        "btree (tag_id, created_at, note_id)",
        "gin (title_folded gin_trgm_ops)",
        "gin (search_vector)",
    }
