"""Text search configurations without accents, and columns of search vectors."""

import pytest
from django.contrib.postgres.search import SearchHeadline, SearchQuery
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from notes.models import Note
from pcf.database.fields import define_configuration, is_search_vector
from pcf.execution.rows import columns_of
from tests.conftest import World

pytestmark = pytest.mark.django_db


def lexemes(config: str, text: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tsvector_to_array(to_tsvector(%s::regconfig, %s))", [config, text])
        (found,) = cursor.fetchone()
    return sorted(found)


def define(name: str, source: str) -> None:
    with connection.cursor() as cursor:
        define_configuration(cursor, name, source)


def test_a_configuration_is_a_copy_that_ignores_accents() -> None:
    define("probe", "french")
    assert lexemes("french", "idées") == ["idé"]
    assert lexemes("probe", "idées") == lexemes("probe", "idees") == ["ide"]


def test_a_configuration_changes_in_its_place() -> None:
    define("probe", "simple")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'probe'::regconfig::oid")
        before = cursor.fetchone()
        define_configuration(cursor, "probe", "german")
        cursor.execute("SELECT 'probe'::regconfig::oid")
        assert cursor.fetchone() == before
    assert lexemes("probe", "die Häuser") == ["haus"]
    define("probe", "simple")
    assert lexemes("probe", "die Häuser") == ["die", "hauser"]


def test_an_unknown_source_is_an_error() -> None:
    with pytest.raises(DatabaseError, match="klingon"), transaction.atomic():
        define("probe", "klingon")


def test_a_search_ignores_accents_and_marks_the_original(world: World) -> None:
    Note.objects.filter(pk=world.public.pk).update(content="Two cafés, one résumé")
    query = SearchQuery("resume cafe", config="notes_search", search_type="websearch")
    found = Note.objects.filter(search_vector=query)
    (marked,) = found.annotate(
        marked=SearchHeadline("content", query, config="notes_search")
    ).values_list("marked", flat=True)
    assert marked == "Two <b>cafés</b>, one <b>résumé</b>"


def test_rows_are_read_and_written_without_their_vectors(world: World) -> None:
    assert "search_vector" not in columns_of(Note)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        note = Note.objects.create(author=world.ann, title="new")
        note.title = "newer"
        note.save()
        note.refresh_from_db()
        assert Note.objects.get(pk=note.pk).title == "newer"
        assert note.author.notes.first() is not None
    assert not any("search_vector" in query["sql"] for query in queries)
    assert "newer" in note.search_vector  # a statement of its own fetches it


def test_only_search_vectors_are_taken_for_such() -> None:
    names = [field.name for field in Note._meta.concrete_fields if is_search_vector(field)]
    assert names == ["search_vector"]


# texts for which PostgreSQL's parser needs a time that grows with the square of their length
HOSTILE = ("a_", "1@a", "a1@", "./", "/~", "<!--", "a-a.", "a-1-", "1.a-", "é_é-")


@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_text_is_cut_for_the_parser(pattern: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pcf_search_text(%s)", [pattern * 1_000])
        (text,) = cursor.fetchone()
    assert max(map(len, text.split()), default=0) <= 64
    assert not set(text) & set("_@/~<")


def test_words_stay_as_they_are() -> None:
    with connection.cursor() as cursor:
        text = "Café, e-mail:  3.14 example.org\n\ttwo_words" + "x" * 64 + " end"
        cursor.execute("SELECT pcf_search_text(%s)", [text])
        expected = (
            "Café, e-mail:  3.14 example.org\n\ttwo words" + "x" * 59 + " " + "x" * 5 + " end"
        )
        assert cursor.fetchone() == (expected,)


def test_the_content_of_a_note_may_be_hostile(world: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '60s'")  # it would take longer by far
    Note.objects.filter(pk=world.public.pk).update(content="a_" * 50_000)
    Note.objects.filter(pk=world.public.pk).update(content="last word " + "a1@" * 33_000)
    assert Note.objects.filter(search_vector=SearchQuery("last", config="notes_search")).exists()
