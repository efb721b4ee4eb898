"""Random filters, orders and pages of random rows: PostgreSQL and a plain model agree.

Each test has half as many examples as ``PCF_FUZZ_EXAMPLES`` says.
"""

import os
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from graphql import parse, validate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notes.models import Note, NoteTag
from pcf.execution.context import RequestContext
from pcf.execution.executor import execute, execute_with_promises
from pcf.project.schema import schema
from pcf.viewer import ANONYMOUS, Viewer
from tags.models import Tag
from tests.pagination.model import TITLES, WORDS, Row, facets, matches, ordered, visible
from users.models import User

EXAMPLES = int(os.environ.get("PCF_FUZZ_EXAMPLES", "120")) // 2
START = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 6  # few points in time: many rows are equal
pytestmark = [pytest.mark.django_db, pytest.mark.repeats]

FIELDS = """
    totalCount
    nodes { id }
    edges { cursor node { title } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    tagFacets(first: 3) { tag { id } count }
"""
ARGUMENTS = (
    "first: $first, last: $last, after: $after, before: $before, orderBy: $order, filter: $f"
)
VARIABLES = (
    "$first: Int, $last: Int, $after: String, $before: String, $order: [NoteOrder!], $f: NoteFilter"
)
ROOT = parse(f"query ({VARIABLES}) {{ list: notesConnection({ARGUMENTS}) {{ {FIELDS} }} }}")
NESTED = parse(
    f"query ({VARIABLES}) {{ users {{ id list: notesConnection({ARGUMENTS}) {{ {FIELDS} }} }} "
    f"tags {{ id list: notesConnection({ARGUMENTS}) {{ {FIELDS} }} }} }}"
)


@pytest.fixture
def rows(db):
    """Random notes of four authors with five tags, as the model sees them."""
    chance = random.Random(os.environ.get("PYTEST_XDIST_WORKER", ""))
    users = [
        User.objects.create(username=f"u{n}", name=f"U{n}", email=f"{n}@example.org")
        for n in range(4)
    ]
    tags = [Tag.objects.create(name=f"t{number}") for number in range(5)]
    made = []
    for number in range(60):
        title = chance.choice(list(TITLES))
        words = tuple(chance.sample(WORDS, chance.randint(0, 3)))
        created = START + timedelta(hours=chance.randrange(HOURS))
        note = Note.objects.create(
            author=chance.choice(users), title=title, content=f"{' '.join(words)} number {number}",
            is_public=chance.random() < 0.6, created_at=created,
        )  # fmt: skip
        updated = created + timedelta(hours=chance.randrange(HOURS))
        Note.objects.filter(pk=note.pk).update(updated_at=updated)
        chosen = chance.sample(tags, chance.randint(0, 4))
        NoteTag.objects.bulk_create(NoteTag(note=note, tag=tag) for tag in chosen)
        made.append(
            Row(
                note.pk, note.author_id, title, words, note.is_public, created, updated,
                frozenset(tag.pk for tag in chosen),
            )
        )  # fmt: skip
    return made


def some(values, least=0, most=3):
    return st.lists(st.sampled_from(values), min_size=least, max_size=most, unique=True)


@st.composite
def filters(draw, rows, depth=3):
    """Draw a filter of the API."""
    keys = [str(row.key) for row in rows] + ["0", "x", "99999999999999999999"]
    authors = [*sorted({str(row.author) for row in rows}), "7"]
    times = [(START + timedelta(hours=hour)).isoformat() for hour in range(2 * HOURS)]
    tags = sorted({tag for row in rows for tag in row.tags})
    names = [*Tag.objects.values_list("name", flat=True), "absent"]
    texts = [*TITLES, "p", "É", "_", "%", "ap", "z", "\\"]
    ids, called = some([*map(str, tags), "0"]), some(names)
    conditions = {
        "id": st.fixed_dictionaries(
            {}, optional={"eq": st.sampled_from(keys), "in": some(keys, most=20)}
        ),
        "authorId": st.fixed_dictionaries(
            {}, optional={"eq": st.sampled_from(authors), "in": some(authors)}
        ),
        "isPublic": st.booleans() | st.none(),
        "title": st.fixed_dictionaries(
            {},
            optional={
                "eq": st.sampled_from(texts), "in": some(texts), "contains": st.sampled_from(texts),
                "startsWith": st.sampled_from(texts),
            },
        ),
        "createdAt": st.dictionaries(
            st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from(times), max_size=2
        ),
        "updatedAt": st.dictionaries(
            st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from(times), max_size=2
        ),
        "tags": st.dictionaries(
            st.sampled_from(["all", "any", "none"]),
            st.fixed_dictionaries({"ids": ids}) | st.fixed_dictionaries({"names": called}),
            max_size=2,
        ),
        "search": st.builds(
            "".join, st.tuples(st.sampled_from(["", "-"]), st.sampled_from(WORDS),
                               st.sampled_from(["", " alpha", " -zulu", " or gamma"]))
        ),
        "searchPrefix": st.sampled_from(["al", "gam", "alpha del", "z", "ze"]),
    }  # fmt: skip
    if depth > 0:
        inner = filters(rows, depth - 1)
        conditions |= {
            "and": st.lists(inner, max_size=2), "or": st.lists(inner, max_size=2), "not": inner,
        }  # fmt: skip
    chosen = draw(some(sorted(conditions), most=2))
    return {name: draw(conditions[name]) for name in chosen}


@st.composite
def orders(draw, has_search):
    fields = ["CREATED_AT", "UPDATED_AT", "TITLE", "ID"] + ["RELEVANCE"] * has_search
    return [
        {"field": field, "direction": draw(st.sampled_from(["ASC", "DESC"]))}
        for field in draw(some(fields))
    ]


@st.composite
def questions(draw, rows):
    filter_ = draw(filters(rows))
    terms = draw(orders(bool({"search", "searchPrefix"} & filter_.keys())))
    size = draw(st.integers(1, 12))
    is_forward = draw(st.booleans())
    viewer = draw(
        st.sampled_from([ANONYMOUS, Viewer(rows[0].author), Viewer(rows[0].author, is_staff=True)])
    )
    by = draw(st.sampled_from([execute, execute_with_promises]))
    return filter_, terms, size, is_forward, viewer, by


def asked(document, by, viewer, **variables):
    result = by(
        schema.graphql_schema, document, context_value=RequestContext(viewer),
        variable_values={name: value for name, value in variables.items() if value is not None},
    )  # fmt: skip
    assert result.errors is None, result.errors
    return result.data


def ranks_of(filter_):
    """Return the relevance of all notes, as PostgreSQL computes it.

    Of two searches the first one in the filter's type counts, whatever their order in the request.
    """
    for name, config, function in (
        ("search", "notes_search", "websearch_to_tsquery"),
        ("searchPrefix", "notes_search_simple", "to_tsquery"),
    ):
        text = filter_.get(name)
        if text is None:
            continue
        if name == "searchPrefix":
            *words, last = text.split()
            text = " & ".join([f"'{word}'" for word in words] + [f"'{last}':*"])
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, ts_rank(search_vector, {function}(%s::regconfig, %s)) "  # noqa: S608
                "FROM notes_note",
                [config, text],
            )
            return dict(cursor.fetchall())
    return {}


def check_page(found, everything, page, before, behind):
    assert found["totalCount"] == len(everything)
    assert [node["id"] for node in found["nodes"]] == [str(row.key) for row in page]
    assert [edge["node"]["title"] for edge in found["edges"]] == [row.title for row in page]
    assert found["tagFacets"] == facets(everything, 3)
    cursors = [edge["cursor"] for edge in found["edges"]]
    assert len(set(cursors)) == len(cursors)
    assert found["pageInfo"] == {
        "hasNextPage": behind,
        "hasPreviousPage": before,
        "startCursor": cursors[0] if cursors else None,
        "endCursor": cursors[-1] if cursors else None,
    }


def walk(ask_page, everything, size, is_forward):
    """Read all pages of a list, and check each of them."""
    rest, cursor, is_first = list(everything), None, True
    while True:
        if is_forward:
            found = ask_page(first=size, after=cursor)
            page, rest = rest[:size], rest[size:]
            check_page(found, everything, page, not is_first, bool(rest))
            cursor = found["pageInfo"]["endCursor"]
        else:
            found = ask_page(last=size, before=cursor)
            page, rest = rest[-size:], rest[:-size]
            check_page(found, everything, page, bool(rest), not is_first)
            cursor = found["pageInfo"]["startCursor"]
        if not rest:
            return
        is_first = False


PROPERTY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@PROPERTY
@given(data=st.data())
def test_all_pages_of_a_list(rows, data):
    filter_, terms, size, is_forward, viewer, by = data.draw(questions(rows))
    assert not validate(schema.graphql_schema, ROOT)
    names = dict(Tag.objects.values_list("pk", "name"))
    everything = [row for row in visible(rows, viewer) if matches(row, filter_, names)]
    everything = ordered(everything, terms, ranks_of(filter_))

    def ask_page(**page):
        return asked(ROOT, by, viewer, f=filter_, order=terms, **page)["list"]

    walk(ask_page, everything, size, is_forward)


@PROPERTY
@given(data=st.data())
def test_lists_below_lists(rows, data):
    filter_, terms, size, is_forward, viewer, by = data.draw(questions(rows))
    names = dict(Tag.objects.values_list("pk", "name"))
    everything = [row for row in visible(rows, viewer) if matches(row, filter_, names)]
    everything = ordered(everything, terms, ranks_of(filter_))
    page = {"first": size} if is_forward else {"last": size}
    found = asked(NESTED, by, viewer, f=filter_, order=terms, **page)
    for user in found["users"]:
        own = [row for row in everything if str(row.author) == user["id"]]
        shown = own[:size] if is_forward else own[-size:]
        has_more = len(own) > size
        check_page(user["list"], own, shown, has_more and not is_forward, has_more and is_forward)
    for tag in found["tags"]:
        own = [row for row in everything if int(tag["id"]) in row.tags]
        shown = own[:size] if is_forward else own[-size:]
        has_more = len(own) > size
        check_page(tag["list"], own, shown, has_more and not is_forward, has_more and is_forward)


@PROPERTY
@given(data=st.data())
def test_pages_between_the_cursors_of_rows_that_may_be_gone(rows, data):
    """Both cursors bound the page, whether their rows match the filter or not."""
    filter_, terms, size, is_forward, viewer, by = data.draw(questions(rows))
    if any(term["field"] == "RELEVANCE" for term in terms):
        return
    seen = visible(rows, viewer)
    in_order = ordered(seen, terms, {})
    cursors = {}
    cursor = None
    while len(cursors) < len(in_order):
        found = asked(ROOT, by, viewer, order=terms, first=100, after=cursor)["list"]
        for node, edge in zip(found["nodes"], found["edges"], strict=True):
            cursors[int(node["id"])] = edge["cursor"]
        cursor = found["pageInfo"]["endCursor"]
    after, before = (data.draw(st.none() | st.sampled_from(in_order)) for _ in range(2))
    names = dict(Tag.objects.values_list("pk", "name"))
    position = {row.key: index for index, row in enumerate(in_order)}
    low = -1 if after is None else position[after.key]
    high = len(in_order) if before is None else position[before.key]
    everything = [row for row in in_order if matches(row, filter_, names)]
    inside = [row for row in everything if low < position[row.key] < high]
    found = asked(
        ROOT, by, viewer, f=filter_, order=terms,
        after=after and cursors[after.key], before=before and cursors[before.key],
        **({"first": size} if is_forward else {"last": size}),
    )["list"]  # fmt: skip
    shown = inside[:size] if is_forward else inside[-size:]
    has_before = any(position[row.key] <= low for row in everything)
    has_behind = any(position[row.key] >= high for row in everything)
    more = len(inside) > size
    check_page(
        found, everything, shown,
        has_before or (more and not is_forward), has_behind or (more and is_forward),
    )  # fmt: skip
