"""Each column that decides what a loader finds is counted by a Touch, or nothing is stored."""

from dataclasses import replace

import pytest
from django.db.models import Count, Exists, F, OuterRef
from django.db.models.expressions import RawSQL

from notes.models import Note, NoteTag
from pcf.cache import declaration_checks, outbox_relay, triggers
from pcf.cache.declaration_checks import cache_problems, loader_problems
from pcf.cache.redis_gateway import RedisGateway
from pcf.cache.triggers import Touch, declare, declare_kinds, declared_kinds
from pcf.checks import check_account, check_edges
from pcf.execution.row_loaders import PageLoader, RootPageLoader, RowListLoader, RowLoader
from tags.models import Tag

pytestmark = pytest.mark.django_db


@pytest.fixture
def declared(monkeypatch):
    """Copied declarations; ``declared(model, **changes)`` changes the touches of one kind."""
    monkeypatch.setattr(triggers, "_declarations", dict(triggers._declarations))
    monkeypatch.setattr(triggers, "_own_kinds", set())
    declaration_checks._problem_of.cache_clear()
    outbox_relay.declaration_problem.cache_clear()

    def change(model, kind, **changes):
        known = triggers._declarations[model]
        touches = [replace(t, **changes) if t.kind == kind else t for t in known.touches]
        triggers._declarations[model] = replace(known, touches=tuple(touches))

    yield change
    declaration_checks._problem_of.cache_clear()
    outbox_relay.declaration_problem.cache_clear()


class Notes(RootPageLoader):
    model = Note
    dependency = "notes"
    row_dependency = "note"


def loader_of(queryset, base=Notes, **attributes):
    """A loader of the notes that ``queryset`` makes of all notes."""
    attributes["queryset"] = classmethod(lambda _cls, _viewer: queryset(Note.objects.all()))
    return type("Loader", (base,), attributes)


def uncounted(loader):
    """The columns that no Touch counts, from the texts of the problems."""
    return {text.rpartition(" ")[2] for text in loader_problems(loader, "default")}


TAGGED = NoteTag.objects.filter(note=OuterRef("pk"), tag__name="x")
SLICED = NoteTag.objects.order_by("tag__name").values("note")[:3]


@pytest.mark.parametrize(
    ("queryset", "columns"),
    [
        (lambda notes: notes, set()),
        (lambda notes: notes.filter(is_public=True), set()),
        (lambda notes: notes.filter(pk__gt=3), set()),
        (lambda notes: notes.filter(title="x"), {"notes_note.title"}),
        (lambda notes: notes.exclude(title__in=["x"]), {"notes_note.title"}),
        (lambda notes: notes.filter(title__in=[F("content")]),
         {"notes_note.title", "notes_note.content"}),
        (lambda notes: notes.filter(author__is_active=True), {"users_user.is_active"}),
        (lambda notes: notes.filter(tags__name="x"),
         {"notes_notetag.note_id", "notes_notetag.tag_id", "tags_tag.name"}),
        (lambda notes: notes.filter(Exists(TAGGED)),
         {"notes_notetag.note_id", "notes_notetag.tag_id", "tags_tag.name"}),
        (lambda notes: notes.annotate(n=Count("notetag")).filter(n__gt=1),
         {"notes_notetag.note_id"}),
        (lambda notes: notes.filter(pk__in=SLICED),
         {"notes_notetag.note_id", "notes_notetag.tag_id", "tags_tag.name"}),
    ],
)  # fmt: skip
def test_columns_in_the_conditions_of_a_list(queryset, columns):
    assert uncounted(loader_of(queryset)) == columns


def test_raw_sql_is_not_known():
    for queryset in (
        lambda notes: notes.filter(pk__in=RawSQL("SELECT 1", ())),
        lambda notes: notes.extra(where=["title = 'x'"]),
    ):
        assert (
            "raw SQL, whose columns are not known"
            in loader_problems(loader_of(queryset), "default")[0]
        )


def test_the_order_of_a_list_with_a_limit():
    class Titled(Notes):
        @classmethod
        def queryset(cls, viewer):
            return Note.objects.all()

        @classmethod
        def build(cls, viewer, arguments):
            return cls.queryset(viewer).order_by("title")[: arguments["first"]]

    assert uncounted(Titled) == {"notes_note.title"}


def test_the_order_of_all_rows_is_counted_by_the_kind_of_the_row():
    options = {"dependency": "notes-by-author", "key": "author_id", "order_by": ("title",)}
    assert uncounted(loader_of(lambda notes: notes, RowListLoader, model=Note, **options,
                               row_dependency="note")) == set()  # fmt: skip
    alone = loader_of(lambda notes: notes, RowListLoader, model=Note, **options)
    assert uncounted(alone) == {"notes_note.title"}


def test_a_key_column_and_a_kind_of_another_model():
    by_tag = loader_of(lambda notes: notes, PageLoader, model=Note, row_dependency="note",
                       dependency="notes-by-tag", key="notetag__tag_id")  # fmt: skip
    assert uncounted(by_tag) == set()
    wrong = loader_of(lambda notes: notes, RowLoader, model=Note, dependency="tag")
    assert loader_problems(wrong, "default") == [
        f"{__name__}.Loader: no Touch of notes.Note has the kind 'tag'"
    ]


def test_a_touch_with_only_that_lacks_a_column_is_told_and_closes_the_cache(declared, monkeypatch):
    declared(Note, "notes", only=("author", "deleted_at"))
    error, *others = check_edges()
    assert (error.id, error.msg) == (
        "pcf.E007",
        (
            "notes.loaders.AllNotes: no Touch of the kind 'notes' counts changes of "
            "notes_note.is_public"
        ),
    )
    gateway = RedisGateway()
    monkeypatch.setattr(outbox_relay, "redis_gateway", lambda: gateway)
    monkeypatch.setattr(outbox_relay, "watched_aliases", list)
    outbox_relay.start()
    more = f" (and {len(others)} more)"
    assert gateway.problem() == f"{error.msg}{more}: see manage.py check"
    assert not gateway.admits_read()


@pytest.mark.django_db(transaction=True)
def test_a_response_that_no_touch_covers_is_not_stored(live_world, ask, declared):
    for query, model, kind, changes, column in (
        ("{ notes(first: 2) { id } }", Note, "notes", {"only": ("author", "deleted_at")},
         "notes_note.is_public"),
        ("{ tags(first: 2) { name } }", Tag, "tag", {"ignoring": ("name",)}, "tags_tag.name"),
    ):  # fmt: skip
        declared(model, kind, **changes)
        for _ in range(2):
            status = ask(query).cache_status
            assert status.endswith(f'counts changes of {column}"')
    assert ask("{ users(first: 2) { name } }").cache_status == "pcf; fwd=miss; stored"


def test_kinds_that_the_application_touches_itself(declared):
    assert "weather" not in declared_kinds()
    declare_kinds("weather", "season")
    assert {"weather", "season", "note"} <= declared_kinds()


def test_this_project_has_no_problem_and_declares_the_account(declared):
    assert cache_problems() == check_account() == []
    for model, declaration in list(triggers._declarations.items()):
        if "account" in declaration.kinds:
            del triggers._declarations[model]
    (warning,) = check_account()
    assert warning.id == "pcf.W001"


def test_a_wrong_name_closes_the_cache(declared):
    declare(Note, Touch(kind="x", key="autor"))
    assert [problem.code for problem in cache_problems()] == ["pcf.E003"]
