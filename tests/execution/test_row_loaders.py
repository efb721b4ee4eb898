"""Row loaders return rows or instances, and viewers of one kind share their statements."""

from dataclasses import fields

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notes.loaders import NoteById, NotesByTag
from notes.models import Note, NoteTag
from pcf.database import pool
from pcf.execution import row_loaders, shared_statements
from pcf.execution.context import RequestContext
from pcf.execution.row_loaders import RowListLoader
from pcf.execution.shared_statements import SharedStatements
from pcf.viewer import ANONYMOUS, Scope, Viewer
from tags.models import Tag

COLUMNS = ("author_id", "id", "title")


@pytest.fixture
def compiled(monkeypatch):
    """Return the statements that the test compiles."""
    made = SharedStatements(100)
    monkeypatch.setattr(row_loaders, "_statements", made)
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
    assert len(compiled) == 2  # one for viewers with an account, one for anonymous viewers


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


def test_what_compiling_a_statement_sends_is_no_undeclared_read(
    live_world, compiled, ask, monkeypatch
):
    """A statement that is compared again is compiled by a request without a connection."""
    monkeypatch.setattr(shared_statements, "FIRST_CHECK", 0.0)
    monkeypatch.setattr(shared_statements, "MAX_INTERVAL", 0.0)
    monkeypatch.setattr(pool, "CHECK_AFTER", 0.0)
    query = f"{{ note(id: {live_world.public.pk}) {{ title }} }}"
    for number in range(4):
        connection.close()
        assert ask(query).cache_status == "pcf; fwd=miss; stored"
        Note.objects.filter(pk=live_world.public.pk).update(title=str(number))
    assert len(compiled) == 1


def test_loaders_without_a_query_set_say_so():
    with pytest.raises(AssertionError, match="RowLoader"):
        row_loaders.RowLoader.queryset(ANONYMOUS)
    assert NotesByTag.queryset(ANONYMOUS).query.where == NoteById.queryset(ANONYMOUS).query.where


def test_the_kind_of_a_viewer_is_all_but_who_they_are():
    """Viewers of one kind share statements, so a new attribute of Viewer belongs to its kind."""
    assert {field.name for field in fields(Viewer)} == {"id", "is_staff", "scope"}
    kinds = [Viewer(), Viewer(1), Viewer(1, True), Viewer(1, scope=Scope.READ)]
    assert len({viewer.kind for viewer in kinds}) == len(kinds)
    assert Viewer(1, True).kind == Viewer(2, True).kind


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("name",), ("name", "pk")),
        (("-name", "id"), ("-name", "id")),
        (("pk",), ("pk",)),
        (("-id",), ("-id", "pk")),
        ((), ("pk",)),
    ],
)
def test_the_primary_key_decides_between_equal_rows_once(given, expected):
    class Tags(RowListLoader):
        model = Tag

    assert Tags.ordering(Tag.objects.order_by(*given)) == expected


def test_a_statement_whose_arguments_choose_rows_is_planned_for_their_values(world, compiled):
    """An author may have written half of the notes with a tag, or none."""
    plans = []
    for arguments in ({}, {"author": world.ann.pk}, {"author": None}):
        loader = RequestContext(ANONYMOUS).loaders.get_light(
            "notes.NotesByTag", COLUMNS, {"first": 5, "after": 0, **arguments}
        )
        plans.append(loader.planned_read([1]).statement.has_own_plans)
    assert plans == [False, True, False]
