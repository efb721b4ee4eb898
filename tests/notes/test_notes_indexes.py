"""Each order and filter has an index: no plan sorts or scans a table of 10,000 notes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db import connection, transaction
from django.db.models import F, QuerySet, Value

from notes import seeding
from notes.filters import NOTE_FILTERS, NOTE_ORDERS
from notes.loaders import NoteConnections
from notes.models import Note, NoteTag
from notes.policy import visible_notes
from notes.seed_text import RARE_WORD
from pcf.database.fields import Fold, PrefixEnd
from pcf.viewer import Viewer
from tags.models import Tag
from users.models import User

VOLUME = seeding.Volume(users=100, notes_per_user=110, tags=2_000, tags_per_note=3)
# the mark has pytest make the database; each test then leaves the rows of the module as they were
pytestmark = pytest.mark.django_db
VIEWERS = {"anonymous": Viewer(), "staff": Viewer(1, is_staff=True)}


@pytest.fixture(scope="module", autouse=True)
def _loaded(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), transaction.atomic():
        seeding.load(VOLUME)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT gin_clean_pending_list(indexrelid) FROM pg_index "
                "JOIN pg_opclass c ON c.oid = indclass[0] JOIN pg_am a ON a.oid = c.opcmethod "
                "WHERE amname = 'gin' AND indrelid::regclass::text ~ '^(notes|users|tags)_'"
            )
        yield
        transaction.set_rollback(True)


def nodes(rows: "QuerySet[Any, Any]") -> list[dict[str, Any]]:
    """All nodes of the plan."""

    def below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield node
        for child in node.get("Plans", []):
            yield from below(child)

    (plan,) = json.loads(rows.explain(format="json"))
    return list(below(plan["Plan"]))


def indexes(rows: "QuerySet[Any, Any]") -> list[str]:
    """The indexes of the plan. It fails for a plan that scans a table."""
    found = nodes(rows)
    assert not [node for node in found if node["Node Type"] == "Seq Scan"]
    return [node["Index Name"] for node in found if "Index Name" in node]


def indexes_in_order(rows: "QuerySet[Any, Any]") -> list[str]:
    """The indexes of a plan that neither scans a table nor sorts rows."""
    assert not [node for node in nodes(rows) if node["Node Type"].endswith("Sort")]
    return indexes(rows)


def behind(rows: "QuerySet[Any, Any]", *fields: str, backwards: bool) -> "QuerySet[Any, Any]":
    """The page behind the row in the middle, in the order of ``fields`` or against it."""
    ordered = rows.order_by(*(f"-{field}" if backwards else field for field in fields))
    middle = ordered.values_list(*fields)[2]
    columns = ", ".join(f'"{rows.model._meta.db_table}"."{field}"' for field in fields)
    places = ", ".join(["%s"] * len(fields))
    operator = "<" if backwards else ">"
    return ordered.extra(where=[f"({columns}) {operator} ({places})"], params=middle)[:20]  # noqa: S610


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize(
    ("field", "name"),
    [("created_at", "created"), ("updated_at", "updated"), ("title_folded", "title")],
)
def test_orders_of_notes(field: str, name: str, viewer: str, backwards: bool) -> None:
    visible = Note.objects.filter(visible_notes(VIEWERS[viewer]))
    order = [f"-{field}", "-id"] if backwards else [field, "id"]
    assert indexes_in_order(visible.order_by(*order)[:20]) == [f"notes_note_{name}_id"]
    page = behind(visible, field, "id", backwards=backwards)
    assert indexes_in_order(page) == [f"notes_note_{name}_id"]
    of_author = visible.filter(author=User.objects.earliest("id").pk)
    wanted = [f"notes_note_author_{name}_id"]
    assert indexes_in_order(behind(of_author, field, "id", backwards=backwards)) == wanted


@pytest.mark.parametrize("viewer", VIEWERS)
def test_plain_lists_by_id(viewer: str) -> None:
    visible = Note.objects.filter(visible_notes(VIEWERS[viewer]))
    found = indexes_in_order(behind(visible, "id", backwards=False))
    assert found in (["notes_note_listed_public_id"], ["notes_note_listed_id"], ["notes_note_pkey"])
    of_author = visible.filter(author=User.objects.earliest("id").pk)
    page = behind(of_author, "id", backwards=False)
    assert indexes_in_order(page) == ["notes_note_author_id"]


@pytest.mark.parametrize("backwards", [False, True])
def test_the_notes_of_a_tag_by_time(backwards: bool) -> None:
    links = NoteTag.objects.filter(tag=Tag.objects.earliest("id").pk)
    page = behind(links, "created_at", "note_id", backwards=backwards).select_related("note")
    assert "notes_notetag_tag_created" in indexes_in_order(page)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("model", "fields", "index"),
    [
        (User, ("created_at", "id"), "users_user_created_id"),
        (User, ("name_folded", "id"), "users_user_folded_id"),
        (Tag, ("name_folded", "id"), "tags_tag_folded_id"),
    ],
)
def test_orders_of_users_and_tags(
    model: Any, fields: tuple[str, ...], index: str, backwards: bool
) -> None:
    if model is User:  # the load has 100, which PostgreSQL sorts faster
        add_users()
    assert indexes_in_order(behind(model.objects.all(), *fields, backwards=backwards)) == [index]


def add_users() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO users_user (username, name, email, password, first_name, last_name, "
            "is_superuser, is_staff, is_active, date_joined, created_at) "
            "SELECT 'more-' || i, md5(i::text), '', '', '', '', false, false, true, now(), now() "
            "FROM generate_series(1, 5000) i ON CONFLICT DO NOTHING"
        )
        cursor.execute("ANALYZE users_user")


@pytest.mark.parametrize(
    ("model", "column", "name", "start", "part"),
    [
        (Note, "title_folded", "notes_note_title", "PHOTOS", "the walking route before"),
        (Tag, "name_folded", "tags_tag_folded", "R", "bicycle 17"),
        (User, "name_folded", "users_user_folded", "É", "sson"),
    ],
)
def test_beginnings_and_parts_of_texts(
    model: Any, column: str, name: str, start: str, part: str
) -> None:
    if model is User:
        add_users()
    prefix = Fold(Value(start))
    rows = model.objects.filter(**{f"{column}__gte": prefix, f"{column}__lt": PrefixEnd(prefix)})
    found = indexes_in_order(rows.order_by(column, "id")[:20])
    assert found == [f"{name}_id"]
    rows = model.objects.filter(**{f"{column}__contains": part}).order_by()
    with connection.cursor() as cursor:
        # the tables of users and tags are so small that a scan is faster
        cursor.execute("SET LOCAL enable_seqscan = %s", ["on" if model is Note else "off"])
        found = indexes(rows)
        cursor.execute("SET LOCAL enable_seqscan = on")
    assert found == [f"{name}_part"]
    assert rows.exists()


def test_words_of_notes() -> None:
    query = SearchQuery(RARE_WORD, config="notes_search", search_type="websearch")
    rows = Note.objects.filter(search_vector=query)
    best = rows.annotate(rank=SearchRank(F("search_vector"), query)).order_by("-rank", "-id")[:20]
    assert indexes(best) == ["notes_note_search"]
    assert rows.count() == VOLUME.notes // seeding.RARE
    start = SearchQuery("'lightho':*C", config="notes_search_simple", search_type="raw")
    rows = Note.objects.filter(search_vector=start)
    assert indexes(rows) == ["notes_note_search"]
    assert rows.count() == VOLUME.notes // (10 * seeding.RARE)


def page_of(viewer: Viewer, given: dict[str, Any], count: int = 20) -> "QuerySet[Any, Any]":
    """The newest notes that match a filter, as the connection reads them."""
    parsed = NOTE_FILTERS.parse(given)
    arguments = {
        "order": NOTE_ORDERS.parse(None, has_search=False), "filter": parsed.shape,
        "count": count, "backward": False, "others": None, "search": parsed.search,
    }  # fmt: skip
    values = {name: Value(value) for name, value in parsed.values.items()}
    return NoteConnections.build(viewer, arguments | values)


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("way", ["ids", "names"])
def test_the_newest_notes_of_two_tags(way: str, viewer: str) -> None:
    """The links of both tags are read from the newest on, until the page is full."""
    tags = [Tag.objects.create(name=f"usual {number}") for number in (1, 2)]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO notes_notetag (note_id, tag_id) SELECT n.id, t.id FROM notes_note n "
            "JOIN tags_tag t ON t.id = ANY(%s) AND (n.id + t.id) %% 3 > 0",
            [[tag.pk for tag in tags]],
        )
        cursor.execute("ANALYZE notes_notetag")
    chosen = [str(tag.pk) if way == "ids" else tag.name for tag in tags]
    rows = page_of(VIEWERS[viewer], {"tags": {"all": {way: chosen}}})
    assert indexes_in_order(rows).count("notes_notetag_tag_created") == len(tags)
    assert len(rows) == 21


@pytest.mark.parametrize("viewer", [*VIEWERS.values(), Viewer(5)])
def test_the_newest_notes_with_a_part_of_a_title(viewer: Viewer) -> None:
    """Entries of the order's index are tested for a usual part, and no rows of the table."""
    for usual in ({"contains": "e "}, {"starts_with": "p"}):
        page = page_of(viewer, {"title": usual})
        (walk,) = (node for node in nodes(page) if node["Node Type"] == "Index Only Scan")
        assert (walk["Index Name"], walk["Scan Direction"]) == ("notes_note_created_id", "Backward")
        assert len(page) == 21
    rare = page_of(viewer, {"title": {"contains": "lighthouse"}})
    assert "notes_note_title_part" in indexes(rare)
    rare = page_of(viewer, {"title": {"starts_with": "plan the gar"}})
    assert "notes_note_title_id" in indexes(rare)
