"""Names of tags: one rule in the model, the admin, the constraints and the migration."""

import unicodedata
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from notes.models import Note, NoteTag
from tags.models import Tag
from tags.names import MAX_NAME, normalized, validate_name
from tests.conftest import World, make_user
from tests.notes.test_tag_counts import check as check_counts

WRONG = ["a\x00b"[::2] + "\x07", "a\u202eb", "a\u200fb", "a\u2028b", "x\x85y", "\u061c", "a\u2069"]


@pytest.mark.parametrize("name", WRONG)
def test_no_name_has_characters_that_are_not_visible(db: None, name: str) -> None:
    with pytest.raises(ValidationError):
        Tag(name=name).full_clean()
    with pytest.raises(IntegrityError, match="tags_tag_name_normal"), transaction.atomic():
        Tag.objects.bulk_create([Tag(name=name)])


@pytest.mark.parametrize("name", [" red", "red ", "red\u00a0", "\u3000red", "Cafe\u0301"])
def test_no_writer_stores_a_name_that_is_not_normal(db: None, name: str) -> None:
    with pytest.raises(IntegrityError, match="tags_tag_name_normal"), transaction.atomic():
        Tag.objects.bulk_create([Tag(name=name)])
    assert Tag.objects.create(name=name).name == Tag.objects.get().name == normalized(name)


@pytest.mark.parametrize("other", ["RED", "red", "Red"])
def test_a_name_is_unique_without_regard_to_case(db: None, other: str) -> None:
    Tag.objects.create(name="red")
    with pytest.raises(IntegrityError, match=r"tags_tag_name_(unique|key)"), transaction.atomic():
        Tag.objects.create(name=other)
    with pytest.raises(ValidationError) as refused:
        Tag(name=other).full_clean()
    assert "this name" in str(refused.value) or "this Name" in str(refused.value)


def test_django_checks_the_constraint_as_postgresql_does(db: None, caplog: Any) -> None:
    Tag(name="red").validate_constraints()
    with pytest.raises(ValidationError, match="tags_tag_name_normal"):
        Tag(name="a\u202eb").validate_constraints()
    assert caplog.messages == []


def test_accents_and_letters_of_other_scripts_count(db: None) -> None:
    for name in ("resume", "résumé", "Ärger", "Σίσυφος", "👩‍💻", "می‌خواهم"):
        Tag.objects.create(name=name)
    for other in ("ÄRGER", "ΣΊΣΥΦΟΣ", "RÉSUMÉ"):
        with pytest.raises(IntegrityError, match="tags_tag_name_unique"), transaction.atomic():
            Tag.objects.create(name=other)


def test_the_admin_holds_the_rule(db: None) -> None:
    client = Client()
    client.force_login(make_user("Sue", is_staff=True))
    address = reverse("admin:tags_tag_add")
    assert client.post(address, {"name": " Cafe\u0301 "}).status_code == 302
    assert Tag.objects.get().name == "Café"
    for name in ("CAFÉ", "a\u202eb"):
        page = client.post(address, {"name": name})
        assert page.status_code == 200
        assert "errorlist" in page.content.decode()
    assert Tag.objects.count() == 1


class SameRule(TestCase):
    """A class, because hypothesis rolls the database back between examples only for test cases."""

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0")))
    def test_the_constraint_is_the_rule_of_the_model(self, text: str) -> None:
        name = text[:MAX_NAME]
        try:
            validate_name(name)
            is_normal = name != "" and name == normalized(name)
        except ValidationError:
            is_normal = False
        try:
            with transaction.atomic():
                Tag.objects.bulk_create([Tag(name=name)])
            is_stored = True
        except IntegrityError:
            is_stored = False
        assert is_stored == is_normal


OLD = [("tags", "0003_indexes"), ("notes", "0009_trash_indexes")]
NAMES = {
    "red": ["red"],
    "RED": ["red"],
    " Red\u00a0": ["red"],
    "r\u200fed": ["red"],
    "blue": ["blue"],
    "Cafe\u0301": ["Café"],
    "CAFÉ": ["Café"],
    "x" * 48 + " \u202e": ["x" * 48],
    "resume": ["resume"],
    "résumé": ["résumé"],
}


def test_the_migration_merges_what_collides(transactional_db: None) -> None:
    """Each note keeps its tags, once each; counters, copies and versions stay exact."""
    executor = MigrationExecutor(connection)
    executor.migrate(OLD)
    try:
        old = executor.loader.project_state(OLD).apps
        user = make_user("Ann")
        made = {}
        for name in (*NAMES, "\u202a"):
            tag = old.get_model("tags", "Tag").objects.create(name=name)
            made[name] = tag.pk
            Note.objects.create(author=user, title=name)
        notes = list(Note.objects.order_by("pk"))
        everything, old_link = notes[0], old.get_model("notes", "NoteTag").objects
        for note, key in zip(notes, made.values(), strict=True):
            old_link.create(note_id=note.pk, tag_id=key)
            if note != everything:
                old_link.create(note_id=everything.pk, tag_id=key)
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    nameless = f"tag {made[chr(0x202A)]}"
    expected = {name for names in NAMES.values() for name in names} | {nameless}
    assert set(Tag.objects.values_list("name", flat=True)) == expected
    assert Tag.objects.get(name="red").pk == made["red"]
    for note in notes[1:]:
        wanted = NAMES.get(note.title, [nameless])
        assert [tag.name for tag in note.tags.all()] == wanted
    assert {tag.name for tag in everything.tags.all()} == expected
    assert NoteTag.objects.filter(note=everything).count() == len(expected)
    check_counts()
    with pytest.raises(IntegrityError), transaction.atomic():
        Tag.objects.bulk_create([Tag(name="Blue")])


def test_normal_names_are_in_nfc() -> None:
    assert unicodedata.is_normalized("NFC", normalized("Cafe\u0301"))


def test_a_name_is_normal_after_every_save(world: World) -> None:
    world.red.name = " Crimson"
    world.red.save()
    assert Tag.objects.get(pk=world.red.pk).name == world.red.name == "Crimson"


@pytest.mark.django_db
def test_the_constraints_of_names_can_be_checked_before_the_write(caplog) -> None:
    Tag(name="red").full_clean()
    assert "Got a database error" not in caplog.text
