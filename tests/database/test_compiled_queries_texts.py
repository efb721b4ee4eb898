"""PostgreSQL adds up the bytes of texts before it sends them; too many of them are refused."""

import pytest
from django.db.models import CharField, F, Value
from django.db.models.functions import Concat

from notes.models import Note
from pcf.database import compiled_queries
from pcf.database.compiled_queries import CompiledQuery
from pcf.database.query_log import count_queries
from pcf.errors import ResponseTooLarge
from pcf.execution.paging import OuterKey, for_each
from tests.conftest import make_note

LIMIT = compiled_queries.MAX_TEXT_BYTES


def notes_of(author, *lengths):
    for number, length in enumerate(lengths):
        note = make_note(author, f"note {number}")
        Note.objects.filter(pk=note.pk).update(content="y" * length)


def compiled(queryset, *columns):
    return CompiledQuery(queryset.values_list(*columns), "default")


def all_notes(world):
    Note.objects.all().delete()
    return Note.objects.filter(author=world.ann).order_by("-id")


def test_texts_within_the_limit_come_in_their_order(world):
    notes = all_notes(world)
    notes_of(world.ann, 100_000, 5, 0, LIMIT // 40)
    rows = compiled(notes, "title", "content").rows("default", {})
    assert [(row[0], len(row[1])) for row in rows] == [
        ("note 3", LIMIT // 40),
        ("note 2", 0),
        ("note 1", 5),
        ("note 0", 100_000),
    ]


def test_one_byte_too_many_is_refused(world):
    notes = all_notes(world)
    notes_of(world.ann, *[100_000] * (LIMIT // 100_000))
    assert len(compiled(notes, "content").rows("default", {})) == LIMIT // 100_000
    notes_of(world.ann, 1)
    with pytest.raises(ResponseTooLarge, match=f"more than {LIMIT} bytes"):
        compiled(notes, "content").rows("default", {})
    assert len(compiled(notes, "title").rows("default", {})) == LIMIT // 100_000 + 1


def test_bytes_count_and_not_characters(world):
    notes = all_notes(world)
    note = make_note(world.ann, "x")
    Note.objects.filter(pk=note.pk).update(content="ü" * 100_000)
    with count_queries() as log:
        compiled(notes, "content").rows("default", {})
    assert log.text_bytes == 200_000


def test_the_statements_of_a_request_count_together(world):
    notes = all_notes(world)
    notes_of(world.ann, *[100_000] * (LIMIT // 200_000))
    statement = compiled(notes, "content")
    with count_queries():
        for _ in range(2):
            statement.rows("default", {})
        with pytest.raises(ResponseTooLarge):
            statement.rows("default", {})


def test_postgresql_sends_no_text_beyond_the_limit(world, monkeypatch):
    """The refusal comes after the reply: what counts is what the reply has."""
    notes = all_notes(world)
    notes_of(world.ann, *[100_000] * (LIMIT // 100_000 + 1))
    monkeypatch.setattr("pcf.database.compiled_queries.check_size", lambda _: None)
    rows = compiled(notes, "content", "id").rows("default", {})
    assert {row[0] for row in rows} == {None}


def test_pages_of_many_parents_keep_their_order(world):
    notes_of(world.ann, 10, 20)
    notes_of(world.bob, 30, 40)
    page = Note.objects.filter(author_id=OuterKey()).order_by("id")[:10]
    wanted = [world.bob.pk, world.ann.pk]
    statement = compiled(for_each(page, wanted, "default"), "id", "content", "lateral_key")
    rows = [row[:3] for row in statement.rows("default", {})]
    expected = [
        (note.pk, note.content, author)
        for author in wanted
        for note in Note.objects.filter(author_id=author).order_by("id")
    ]
    assert rows == expected


@pytest.mark.parametrize(
    ("columns", "is_bounded"),
    [(("id", "title"), False), (("id", "content"), True), (("created_at",), False)],
)
def test_only_statements_with_large_texts_are_counted(world, columns, is_bounded):
    statement = compiled(Note.objects.all(), *columns)
    assert ("octet_length" in statement.text) is is_bounded


def test_an_annotation_without_a_length_is_counted(world):
    made = Concat(F("title"), Value("!"), output_field=CharField())
    notes = Note.objects.annotate(made=made)
    assert "octet_length" in compiled(notes, "made").text


@pytest.mark.parametrize(
    "query", ["{ notes(first: 100) { content } }", "{ tags { notes { content } } }"]
)
def test_a_client_reads_what_is_too_large(world, ask, query):
    Note.objects.all().delete()
    for number in range(LIMIT // 100_000 + 1):
        note = make_note(world.ann, f"n{number}", world.red)
        Note.objects.filter(pk=note.pk).update(content="y" * 100_000)
    answer = ask(query)
    assert set(answer.codes) == {"RESPONSE_TOO_LARGE"}
    assert answer.cache_status == "pcf; fwd=miss"
    assert ask(query.replace("content", "title")).data
