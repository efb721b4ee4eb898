"""Declarations of touches: several of one model add up."""

import pytest

from notes.models import Note, NoteTag
from pcf.cache import trigger_sql, triggers
from pcf.cache.triggers import Touch, declare

BY_ID = Touch(kind="one", key="id")
BY_AUTHOR = Touch(kind="by-author", key="author", only=("author",))
BY_TAG = Touch(kind="by-tag", key="tag", through=NoteTag)


@pytest.fixture(autouse=True)
def _no_declarations(monkeypatch):
    monkeypatch.setattr(triggers, "_declarations", {})


def declared(model):
    return triggers._declarations[model]


def test_two_declarations_of_one_model_add_up():
    declare(Note, BY_ID)
    declare(Note, BY_AUTHOR, holding=("author",))
    assert set(declared(Note).touches) == {BY_ID, BY_AUTHOR}
    assert declared(Note).holding == ("author",)


def test_the_same_declaration_twice_is_one():
    declare(NoteTag, Touch(kind="tags-by-note", key="note"), holding=("note",))
    before = declared(NoteTag)
    declare(NoteTag, Touch(kind="tags-by-note", key="note"), holding=("note",))
    assert declared(NoteTag) == before


def test_the_order_of_the_apps_does_not_change_the_triggers():
    declare(Note, BY_ID, BY_TAG)
    declare(Note, BY_AUTHOR, holding=("author",))
    before = trigger_sql.fingerprint()
    triggers._declarations.clear()
    declare(Note, BY_AUTHOR, holding=("author",))
    declare(Note, BY_TAG, BY_ID)
    assert trigger_sql.fingerprint() == before
