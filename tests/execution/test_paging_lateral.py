"""Lists limited per parent in one statement."""

import pytest
from django.db import connection
from django.db.models import Count, F
from django.db.models.signals import post_init
from django.test.utils import CaptureQueriesContext

from notes.models import Note, NoteTag
from pcf.execution.paging import LATERAL_KEY, OuterKey, for_each
from tags.models import Tag
from users.models import User

AUTHORS = 5
EACH = 4


@pytest.fixture
def authors(db):
    people = [User.objects.create(username=f"u{n}", name=f"U{n}", email="") for n in range(AUTHORS)]
    for n in range(EACH):
        for person in people:
            Note.objects.create(author=person, title=f"{n} of {person.name}", is_public=n % 2 == 0)
    return people


@pytest.fixture
def statements():
    with CaptureQueriesContext(connection) as captured:
        yield captured


def lateral(queryset, keys, key_field=None):
    """The instances of ``queryset`` for each key."""
    grouped = {key: [] for key in keys}
    for instance in for_each(queryset, list(grouped), "default", key_field):
        grouped[instance.__dict__.pop(LATERAL_KEY)].append(instance)
    return grouped


def lateral_rows(queryset, keys, columns):
    """Tuples of ``columns`` for each key."""
    grouped = {key: [] for key in keys}
    for *row, key in for_each(queryset, list(grouped), "default").values_list(
        *columns, LATERAL_KEY
    ):
        grouped[key].append(tuple(row))
    return grouped


def by_author(**filters):
    return Note.objects.filter(author_id=OuterKey(), **filters).order_by("id")


def test_each_parent_has_its_own_limit_in_one_statement(authors, statements):
    before = len(statements)
    found = lateral(by_author()[:2], [author.pk for author in authors])
    assert len(statements) - before == 1
    assert {key: [note.title for note in notes] for key, notes in found.items()} == {
        author.pk: [f"0 of {author.name}", f"1 of {author.name}"] for author in authors
    }


def test_without_keys_there_are_no_rows(db):
    assert lateral(by_author()[:2], []) == {}
    assert lateral_rows(by_author()[:2], [], ["id"]) == {}


def test_a_key_without_rows_and_a_repeated_key(authors):
    first = authors[0].pk
    found = lateral(by_author()[:2], [first, -1, first])
    assert list(found) == [first, -1]
    assert found[-1] == []
    assert len(found[first]) == 2


def test_instances_are_as_djangos_own(authors):
    seen = []

    def receive(instance, **kwargs):
        seen.append(instance)

    post_init.connect(receive, sender=Note)
    try:
        (note,) = lateral(by_author()[:1], [authors[0].pk])[authors[0].pk]
    finally:
        post_init.disconnect(receive, sender=Note)
    plain = Note.objects.get(pk=note.pk)
    assert seen == [note]
    assert not note._state.adding
    assert note._state.db == "default"
    assert note.get_deferred_fields() == {"search_vector"}  # by the manager of notes
    assert {k: v for k, v in vars(note).items() if k != "_state"} == {
        k: v for k, v in vars(plain).items() if k != "_state"
    }


def test_filters_with_parameters_deferred_columns_and_relations(authors, statements):
    queryset = by_author(is_public=True, title__startswith="2").select_related("author")
    key = authors[1].pk
    before = len(statements)
    (note,) = lateral(queryset.defer("content")[:9], [key])[key]
    assert note.author.name == "U1"
    assert note.get_deferred_fields() == {"content", "search_vector"}
    assert len(statements) - before == 1


def test_descending_order_and_offset(authors):
    queryset = Note.objects.filter(author_id=OuterKey()).order_by("-title", "id")
    key = authors[2].pk
    assert [note.title for note in lateral(queryset[1:3], [key])[key]] == ["2 of U2", "1 of U2"]


def test_nulls_keep_their_place(authors):
    User.objects.filter(pk=authors[0].pk).update(last_login="2020-01-01T00:00Z")
    queryset = User.objects.filter(pk__gte=OuterKey())
    first = authors[0].pk
    for order in (F("last_login").asc(nulls_first=True), F("last_login").desc(nulls_last=True)):
        expected = list(User.objects.filter(pk__gte=first).order_by(order, "id"))
        assert lateral(queryset.order_by(order, "id"), [first])[first] == expected


def test_many_to_many(authors):
    red, blue = Tag.objects.create(name="red"), Tag.objects.create(name="blue")
    notes = list(Note.objects.order_by("id"))
    NoteTag.objects.bulk_create(
        [NoteTag(note=note, tag=red) for note in notes]
        + [NoteTag(note=note, tag=blue) for note in notes[::3]]
    )
    queryset = Note.objects.filter(notetag__tag_id=OuterKey()).order_by("id")[:3]
    found = lateral(queryset, [blue.pk, red.pk])
    assert found == {blue.pk: notes[0:9:3], red.pk: notes[:3]}


def test_rows_of_chosen_columns(authors):
    key = authors[3].pk
    rows = lateral_rows(by_author()[:2], [key, -1], ["id", "title"])
    notes = lateral(by_author()[:2], [key])[key]
    assert rows == {key: [(note.pk, note.title) for note in notes], -1: []}


def test_queries_that_cannot_work_are_refused(authors):
    key = authors[0].pk
    with pytest.raises(ValueError, match="must be ordered"):
        lateral(Note.objects.filter(author_id=OuterKey()).order_by(), [key])
    with pytest.raises(ValueError, match="must select"):
        lateral_rows(by_author(), [key], ["title"])
    with pytest.raises(ValueError, match="prefetch_related"):
        lateral(by_author().prefetch_related("tags"), [key])


def test_annotations_come_along(authors):
    key = authors[0].pk
    queryset = by_author().annotate(marks=Count("tags"))[:1]
    assert lateral(queryset, [key])[key][0].marks == 0


def test_an_impossible_filter_finds_nothing(authors, statements):
    before = len(statements)
    assert lateral(by_author(pk__in=[]), [authors[0].pk]) == {authors[0].pk: []}
    assert len(statements) == before


def test_keys_of_another_type(authors):
    field = User._meta.get_field("username")
    queryset = User.objects.filter(username=OuterKey(field)).order_by("id")
    found = lateral(queryset, ["u1", "nobody"], key_field=field)
    assert found == {"u1": [authors[1]], "nobody": []}


def test_the_plan_reads_one_index_range_per_key_and_stops_at_the_limit(authors):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO notes_note (title, content, author_id, is_public, created_at, updated_at)"
            " SELECT 'n' || n, '', author, true, now(), now()"
            " FROM unnest(%s::bigint[]) AS author, generate_series(1, 2000) n",
            [[author.pk for author in authors]],
        )
        cursor.execute("ANALYZE notes_note")
    with CaptureQueriesContext(connection) as captured:
        lateral(by_author()[:10], [author.pk for author in authors])
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + captured.captured_queries[0]["sql"])
        ((plan,),) = cursor.fetchall()

    def nodes(node):
        yield node
        for child in node.get("Plans", ()):
            yield from nodes(child)

    scans = [n for n in nodes(plan[0]["Plan"]) if n.get("Relation Name") == "notes_note"]
    assert [scan["Node Type"] for scan in scans] == ["Index Scan"]
    assert scans[0]["Actual Loops"] == AUTHORS
    assert scans[0]["Actual Rows"] == 10
