"""Connections through the service: arguments, errors, statements, dependencies, and the cache."""

import json
from base64 import urlsafe_b64encode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from graphql import parse

from notes.models import Note
from pcf.execution.context import RequestContext
from pcf.execution.executor import execute, execute_with_promises
from pcf.pagination.search import prefix_query
from pcf.project.schema import schema
from pcf.viewer import Viewer
from tests.conftest import make_note, make_user, token_for


def run(query, viewer=None, by=execute, **variables):
    context = RequestContext(viewer or Viewer())
    with CaptureQueriesContext(connection) as captured:
        result = by(
            schema.graphql_schema, parse(query), context_value=context, variable_values=variables
        )
    assert result.errors is None, result.errors
    statements = [entry["sql"] for entry in captured.captured_queries]
    return result.data, context.dependencies, statements


def kinds(dependencies):
    return {kind for kind, keys in dependencies.items() if keys}


# -- wrong arguments


def cursor(*values):
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("first: 1, last: 1", "give either 'first' or 'last'"),
        ("first: 0", "'first' must be between 1 and 100, got 0"),
        ("first: 101", "'first' must be between 1 and 100, got 101"),
        ("last: -1", "'last' must be between 1 and 100, got -1"),
        ('after: "x"', "'after' must be a cursor of this list"),
        ('after: ""', "'after' must be a cursor of this list"),
        ('before: "é"', "'before' must be a cursor of this list"),
        (f'after: "{cursor()}"', "'after' must be a cursor of this list"),
        (f'after: "{cursor("-CREATED_AT,-ID")}"', "'after' must be a cursor of this list"),
        (
            f'after: "{cursor("-CREATED_AT,-ID", "x", 1)}"',
            "'after' must be a cursor of this list",
        ),
        (
            f'after: "{cursor("-CREATED_AT,-ID", "2026-01-01T00:00:00", 1)}"',
            "'after' must be a cursor of this list",
        ),
        (
            f'after: "{cursor("-CREATED_AT,-ID", "2026-01-01T00:00:00Z", 10**30)}"',
            "'after' must be a cursor of this list",
        ),
        (
            f'after: "{cursor("-CREATED_AT,-ID", "2026-01-01T00:00:00Z", None)}"',
            "'after' must be a cursor of this list",
        ),
        (
            f'after: "{cursor("TITLE,ID", "x", 1)}"',
            "'after' is a cursor of another order: 'TITLE,ID', not '-CREATED_AT,-ID'",
        ),
        (
            "orderBy: [{field: TITLE}, {field: TITLE, direction: DESC}]",
            "'orderBy' must name each field once",
        ),
        (
            "orderBy: [{field: TITLE}, {field: ID}, {field: CREATED_AT}, {field: UPDATED_AT}]",
            "'orderBy' must have 3 terms at most",
        ),
        (
            "orderBy: [{field: RELEVANCE, direction: DESC}]",
            "the order RELEVANCE needs 'search' in the filter",
        ),
        (
            'orderBy: [{field: RELEVANCE}], filter: {not: {search: "x"}}',
            "the order RELEVANCE needs 'search' in the filter",
        ),
        ('filter: {title: {contains: ""}}', "a filter cannot look for an empty text (contains)"),
        (
            "filter: {not: {not: {not: {not: {not: {isPublic: true}}}}}}",
            "a filter may have 5 levels",
        ),
        ("filter: {tags: {any: {}}}", "'any' must have either 'ids' or 'names'"),
        (
            'filter: {tags: {all: {ids: ["1"], names: ["x"]}}}',
            "'all' must have either 'ids' or 'names'",
        ),
        (
            'filter: {tags: {all: {ids: ["1","2","3","4","5","6","7","8","9","10","11"]}}}',
            "'all' may have 10 values",
        ),
        (
            f"filter: {{or: [{'{isPublic: true},' * 31}]}}",
            "a filter may have 30 conditions",
        ),
        (f'filter: {{search: "{"x" * 1001}"}}', "a text in a filter may have 1000 characters"),
        ('filter: {search: "\\u0000"}', "a text in a filter cannot have the character NUL"),
        (
            'filter: {createdAt: {gt: "2026-01-01T00:00:00"}}',
            "a time in a filter needs a time zone, as in 2026-01-31T12:00:00Z",
        ),
    ],
)
def test_wrong_arguments(world, arguments, message):
    query = f"{{ notesConnection({arguments}) {{ nodes {{ id }} }} }}"
    for by in (execute, execute_with_promises):
        result = by(schema.graphql_schema, parse(query), context_value=RequestContext(Viewer()))
        (error,) = result.errors
        assert error.message == message
        assert error.path == ["notesConnection"]


def test_a_cursor_of_another_search_is_of_another_order(world):
    query = """query ($s: String, $after: String) { notesConnection(
        first: 1, after: $after, orderBy: [{field: RELEVANCE}], filter: {search: $s}
    ) { pageInfo { endCursor } } }"""
    found = run(query, s="public")[0]["notesConnection"]["pageInfo"]["endCursor"]
    run(query, s="public", after=found)
    result = execute(
        schema.graphql_schema, parse(query), context_value=RequestContext(Viewer()),
        variable_values={"s": "ann", "after": found},
    )  # fmt: skip
    assert "is a cursor of another order" in result.errors[0].message


# -- statements and dependencies


EVERYTHING = """{ users { id noteCount notesConnection(first: 2) { totalCount nodes { title }
    edges { cursor snippet node { id tagsConnection(first: 2) { totalCount nodes { name } } } }
    pageInfo { hasNextPage } tagFacets(first: 2) { count tag { name noteCount } } } } }"""


def test_a_level_costs_a_statement_for_each_edge(world):
    for number in range(5):
        make_note(make_user(f"Eve{number}"), "x", world.red, world.blue)
    data, _, statements = run(EVERYTHING)
    # users; counts (of users, and of lists without a filter), pages; facets, tags of notes;
    # totals of tags, tags of facets; their counts
    assert len(statements) == 8
    assert [user["noteCount"] for user in data["users"]] == [1, 0, 0, 1, 1, 1, 1, 1]
    again, _, _ = run(EVERYTHING, by=execute_with_promises)
    assert again == data


def test_a_page_behind_a_cursor_is_planned_for_the_cursor(world):
    """Few or many rows are on the other side of it."""
    query = """query ($after: String) {
        notesConnection(first: 1, after: $after) { nodes { id } pageInfo { endCursor } }
    }"""
    first, dependencies, _ = run(query)
    assert {statement.has_own_plans for _, statement, *_ in dependencies.statements} == {False}
    _, dependencies, _ = run(query, after=first["notesConnection"]["pageInfo"]["endCursor"])
    assert {statement.has_own_plans for _, statement, *_ in dependencies.statements} == {True}


def test_a_count_reads_no_page(world):
    data, found, statements = run("{ notesConnection(first: 1) { totalCount __typename } }")
    assert data["notesConnection"] == {"totalCount": 1, "__typename": "NoteConnection"}
    assert len(statements) == 1
    assert kinds(found) == {"notes"}
    assert run("{ notesConnection { __typename } }")[2] == []


def test_what_is_not_selected_is_not_counted(world):
    _, _, statements = run("{ notesConnection(first: 1) { nodes { id } } }")
    assert len(statements) == 1
    assert "count(" not in statements[0].lower()
    assert "content" not in statements[0]


def test_an_author_s_page_depends_on_nothing_of_others(world):
    query = "query ($id: ID!) { user(id: $id) { notesConnection { nodes { id } } } }"
    _, found, _ = run(query, id=str(world.ann.pk))
    assert kinds(found) == {"user", "notes-by-author", "notes-by-author.created_at", "note"}
    assert dict(found.items())["notes-by-author"] == {world.ann.pk}
    _, same, _ = run(
        "query ($id: ID!) { notesConnection(filter: {authorId: {eq: $id}}) { nodes { id } } }",
        id=str(world.ann.pk),
    )
    assert kinds(same) == {"notes-by-author", "notes-by-author.created_at", "note"}
    assert dict(same.items())["notes-by-author"] == {world.ann.pk}


def test_a_page_depends_on_the_columns_that_it_reads(world):
    ordered = "{ notesConnection(orderBy: [{field: TITLE}]) { nodes { id } } }"
    assert kinds(run(ordered)[1]) == {"notes", "notes.title_folded", "note"}
    filtered = """{ notesConnection(orderBy: [{field: ID}], filter: {
        or: [{search: "x"}, {tags: {any: {names: ["red"]}}}],
        updatedAt: {gt: "2020-01-01T00:00:00Z"}
    }) { totalCount } }"""
    assert kinds(run(filtered)[1]) == {
        "notes", "notes.search_vector", "notes.tags", "notes.updated_at", "tag-name",
    }  # fmt: skip
    every = """{ notesConnection(orderBy: [{field: ID}], filter: {
        tags: {all: {names: ["red"]}}
    }) { totalCount } }"""
    found = kinds(run(every)[1])  # the links have a copy of the time
    assert found == {"notes", "notes.created_at", "notes.tags", "tag-name"}


@pytest.mark.parametrize("size", ["first: 2", "last: 2"])
def test_a_page_does_not_depend_on_the_row_behind_it(world, size):
    for title in "abc":
        make_note(world.ann, title)
        make_note(world.bob, title)
    page = f"notesConnection({size}) {{ nodes {{ id }} pageInfo {{ hasNextPage }} }}"
    data, found, _ = run(f"{{ {page} }}")
    shown = {int(node["id"]) for node in data["notesConnection"]["nodes"]}
    assert len(shown) == 2
    assert dict(found.items())["note"] == shown
    data, found, _ = run(f"{{ users {{ {page} }} }}")
    shown = {int(node["id"]) for user in data["users"] for node in user["notesConnection"]["nodes"]}
    assert len(shown) == 4
    assert dict(found.items())["note"] == shown


def test_an_empty_page_depends_on_no_row(world):
    arguments = f'after: "{cursor("ID", 2**62)}", orderBy: [{{field: ID}}]'
    page = "pageInfo { hasPreviousPage }"
    data, found, _ = run(f"{{ notesConnection({arguments}) {{ {page} }} }}")
    assert data["notesConnection"]["pageInfo"] == {"hasPreviousPage": True}
    assert kinds(found) == {"notes"}


@pytest.mark.usefixtures("fresh_service")
def test_a_write_leaves_the_pages_that_do_not_show_it(live_world, ask):
    """By author, by column of the order, and by column of the filter."""
    world = live_world
    ann, bob = str(world.ann.pk), str(world.bob.pk)
    pages = {
        "ann": ("query ($id: ID!) { user(id: $id) { notesConnection { nodes { id } } } }", ann),
        "bob": ("query ($id: ID!) { user(id: $id) { notesConnection { nodes { id } } } }", bob),
        "titles of ann": (
            (
                "query ($id: ID!) { user(id: $id) "
                "{ notesConnection(orderBy: [{field: TITLE}]) { edges { cursor } } } }"
            ),
            ann,
        ),
        "tags of all": (
            (
                "query ($id: ID!) { notesConnection(filter: {tags: {any: {ids: [$id]}}}) "
                "{ totalCount } }"
            ),
            str(world.red.pk),
        ),
    }
    token = token_for(world.staff)

    def hits():
        return {
            name
            for name, (query, key) in pages.items()
            if "hit" in ask(query, token, {"id": key}).cache_status
        }

    hits()
    assert hits() == set(pages)
    make_note(world.bob, "new")  # the list of all notes changes, ann's do not
    assert hits() == {"ann", "titles of ann"}
    Note.objects.filter(pk=world.public.pk).update(content="other")  # a count shows no note
    assert hits() == {"bob", "tags of all"}
    Note.objects.filter(pk=world.other.pk).update(title="other")
    assert hits() == {"ann", "titles of ann", "tags of all"}


# -- searching


def test_search_marks_what_it_finds(world):
    text = "A < bold CAFÉ & the cafe \x02\x03 far away"
    note = make_note(world.ann, "Menu")
    Note.objects.filter(pk=note.pk).update(content=text)
    query = """query ($f: NoteFilter) { notesConnection(
        filter: $f, orderBy: [{field: RELEVANCE, direction: DESC}]
    ) { edges { snippet node { title } } } }"""
    for filter_ in ({"search": "cafe"}, {"searchPrefix": "caf"}):
        (edge,) = run(query, f=filter_)[0]["notesConnection"]["edges"]
        assert edge["node"]["title"] == "Menu"
        assert edge["snippet"].count("<mark>") == edge["snippet"].count("</mark>") == 2
        expected = "A &lt; bold <mark>CAFÉ</mark> &amp; the <mark>cafe</mark>  far away"
        assert expected in edge["snippet"]
    assert run(query.replace("orderBy: [{field: RELEVANCE, direction: DESC}]", ""), f={})[0]


def test_a_title_weighs_more_than_content(world):
    by_content = make_note(world.ann, "Alpha")
    Note.objects.filter(pk=by_content.pk).update(content="zebra " * 3)
    make_note(world.ann, "Zebra")
    query = """{ notesConnection(filter: {search: "zebra"},
        orderBy: [{field: RELEVANCE, direction: DESC}]) { nodes { title } } }"""
    found = run(query)[0]["notesConnection"]["nodes"]
    assert [node["title"] for node in found] == ["Zebra", "Alpha"]


@pytest.mark.parametrize("text", ["", "   ", "'", "a'b", "!", "& |", ":*", "\\", "<->", "é'"])
def test_the_text_of_a_prefix_search_cannot_be_wrong(world, text):
    query = "query ($s: String) { notesConnection(filter: {searchPrefix: $s}) { totalCount } }"
    assert run(query, s=text)[0]["notesConnection"]["totalCount"] >= 0


def test_the_last_word_of_a_prefix_search_is_a_prefix():
    assert prefix_query("one two") == "'one' & 'two':*"
    assert prefix_query("one") == "'one':*"
    assert prefix_query("'); --") == ""


# -- plans of PostgreSQL


def test_a_filter_is_planned_for_its_values(live_world):
    """A plan for all words reads every note for a rare one."""
    searched = """query ($s: String) { notesConnection(filter: {search: $s}) { nodes { id } } }"""
    plain = "{ notesConnection(orderBy: [{field: TITLE}]) { nodes { id } } }"
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")  # the session may have served other tests
    for _ in range(8):
        for query in (searched, plain):
            result = execute(
                schema.graphql_schema, parse(query), context_value=RequestContext(Viewer()),
                variable_values={"s": "public"},
            )  # fmt: skip
            assert result.errors is None
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = "\n".join(statement for (statement,) in cursor.fetchall())
    assert '"title_folded"' in prepared
    assert "websearch_to_tsquery" not in prepared


@pytest.mark.usefixtures("fresh_service")
@pytest.mark.parametrize(
    "lists",
    [
        "notesConnection { totalCount tagFacets { count } }",
        "usersConnection { totalCount }",
        "tagsConnection { totalCount }",
        "notes { tagsConnection { totalCount } }",
        'notes { tagsConnection(filter: {name: {startsWith: "r"}}) { totalCount } }',
        "tags { notesConnection { totalCount tagFacets { count } } }",
        "users { notesConnection { totalCount tagFacets { count } } }",
    ],
)
def test_counts_without_rows_are_stored_until_a_tag_is_put_on_a_note(live_world, ask, lists):
    def answer(**headers):
        return ask(f"{{ {lists} }}", **headers)

    first = answer()
    assert answer().cache_status == "pcf; hit"
    live_world.public.tags.add(live_world.blue)
    assert answer().data == answer(**{"Cache-Control": "no-store"}).data
    changes = answer().data != first.data
    assert changes == ("Facets" in lists or ("notes {" in lists and "filter" not in lists))
