"""Loaders of rows: what they deliver, that statements are shared, and to whom they are not."""

from dataclasses import fields

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notes.loaders import NoteById, NotesByTag
from notes.models import Note, NoteTag
from pcf.database.prepared import Prepared
from pcf.execution import row_loaders
from pcf.execution.recent import Recent
from pcf.execution.request import RequestContext
from pcf.viewer import ANONYMOUS, Scope, Viewer

COLUMNS = ("author_id", "id", "title")


@pytest.fixture
def compiled(monkeypatch):
    """The statements that are compiled during the test."""
    made = []

    class Noted(Prepared):
        __slots__ = ()

        def __init__(self, queryset, using):
            super().__init__(queryset, using)
            made.append(queryset)

    monkeypatch.setattr(row_loaders, "_statements", Recent(100))
    monkeypatch.setattr(row_loaders, "Prepared", Noted)
    return made


def rows(viewer, name, keys, columns=COLUMNS, **arguments):
    loader = RequestContext(viewer).loaders.get_light(name, columns, arguments)
    return loader.load_batch(keys)


def test_viewers_of_one_kind_share_a_statement_and_see_their_own(world, compiled):
    ann, bob = Viewer(world.ann.pk), Viewer(world.bob.pk)
    keys = list(Note.objects.values_list("pk", flat=True))
    seen = {viewer: set(rows(viewer, "notes.NoteById", keys)) for viewer in (ann, bob, ANONYMOUS)}
    public = set(Note.objects.filter(is_public=True).values_list("pk", flat=True))
    own = {
        viewer: set(Note.objects.filter(author_id=viewer.id).values_list("pk", flat=True))
        for viewer in (ann, bob)
    }
    assert seen == {ann: public | own[ann], bob: public | own[bob], ANONYMOUS: public}
    assert own[ann] - public
    assert len(compiled) == 2  # for those who have an account and those who have none


def test_pages_differ_in_their_parameters_alone(world, compiled):
    by_page = [
        rows(ANONYMOUS, "notes.NotesByAuthor", [world.ann.pk], first=1, after=after)
        for after in (0, world.public.pk)
    ]
    assert by_page[0] != by_page[1]
    assert len(compiled) == 1
    rows(ANONYMOUS, "notes.NotesByAuthor", [world.ann.pk], first=2, after=0)
    assert len(compiled) == 2


@pytest.mark.parametrize("columns", [COLUMNS, None])
def test_rows_and_instances_have_the_same_values(world, columns):
    staff = Viewer(world.staff.pk, is_staff=True)
    found = rows(staff, "notes.NoteById", list(Note.objects.values_list("pk", flat=True)), columns)
    expected = {note.pk: (note.author_id, note.pk, note.title) for note in Note.objects.all()}
    assert {key: (n.author_id, n.id, n.title) for key, n in found.items()} == expected


def test_a_tags_notes_can_be_those_of_one_author(world):
    Note.objects.update(is_public=True)
    tag_id = world.blue.pk
    for author in (world.ann, world.bob):
        found = rows(ANONYMOUS, "notes.NotesByTag", [tag_id], first=9, after=0, author=author.pk)
        expected = Note.objects.filter(author=author, tags=tag_id).order_by("id")
        assert [row.id for row in found.get(tag_id, [])] == [note.pk for note in expected]


def test_each_batch_is_one_statement(world):
    keys = list(NoteTag.objects.values_list("note_id", flat=True))
    for name, arguments in (
        ("notes.TagsByNote", {}),
        ("notes.NoteById", {}),
        ("notes.NotesByAuthor", {"first": 5, "after": 0}),
    ):
        with CaptureQueriesContext(connection) as captured:
            rows(ANONYMOUS, name, keys, ("id",), **arguments)
        assert len(captured) == 1, name


def test_loaders_without_a_query_set_say_so():
    with pytest.raises(AssertionError, match="RowLoader"):
        row_loaders.RowLoader.queryset(ANONYMOUS)
    assert NotesByTag.queryset(ANONYMOUS).query.where == NoteById.queryset(ANONYMOUS).query.where


def test_the_kind_of_a_viewer_is_all_but_who_they_are():
    """A new attribute that a policy could ask for has to be part of it: statements go by it."""
    assert {field.name for field in fields(Viewer)} == {"id", "is_staff", "scope"}
    kinds = [Viewer(), Viewer(1), Viewer(1, True), Viewer(1, scope=Scope.READ)]
    assert len({viewer.kind for viewer in kinds}) == len(kinds)
    assert Viewer(1, True).kind == Viewer(2, True).kind
