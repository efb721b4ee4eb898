"""No N+1 anywhere: the number of SQL statements does not depend on the number of rows."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tags.models import Tag
from tests.conftest import token_for
from users.models import User

WHOLE_GRAPH = """
    query Graph($first: Int!) {
        users(first: $first) { id name notes { id title author { name } tags { name } } }
    }
"""


# PostgreSQL makes the rows of a crowd: twenty tests need one each.
NOTES = """
INSERT INTO notes_note (title, content, author_id, is_public, created_at, updated_at)
SELECT 'n' || n, '', author, true, clock_timestamp(), clock_timestamp()
FROM unnest(%s::bigint[]) WITH ORDINALITY AS users (author, place), generate_series(0, 9) AS n
ORDER BY place, n
"""
TAGS_OF_NOTES = """
INSERT INTO notes_notetag (note_id, tag_id)
SELECT note.id, tags.ids[1 + (note.number + step) %% 10]
FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM notes_note) AS note,
     (SELECT %s::bigint[] AS ids) AS tags, generate_series(0, 2) AS step
ORDER BY note.number, step
"""


@pytest.fixture
def crowd(db):
    """100 users with 10 public notes each, 3 tags a note."""
    users = User.objects.bulk_create(
        [User(username=f"user-{n}", name=f"User {n}") for n in range(100)]
    )
    tags = Tag.objects.bulk_create([Tag(name=f"tag-{n}") for n in range(10)])
    with connection.cursor() as cursor:
        cursor.execute(NOTES, [[user.pk for user in users]])
        cursor.execute(TAGS_OF_NOTES, [[tag.pk for tag in tags]])
        cursor.execute("ANALYZE users_user, tags_tag, notes_note, notes_notetag")
    return users


def statements(ask, query, **how):
    with CaptureQueriesContext(connection) as captured:
        data = ask(query, **how, **{"Cache-Control": "no-store"}).data
    return [entry["sql"] for entry in captured.captured_queries], data


@pytest.mark.parametrize("first", [1, 10, 100])
def test_the_whole_graph_takes_4_statements_at_any_size(crowd, ask, first):
    sql, data = statements(ask, WHOLE_GRAPH, variables={"first": first})
    assert len(data["users"]) == first
    assert all(len(user["notes"]) == 10 for user in data["users"])
    assert all(len(note["tags"]) == 3 for user in data["users"] for note in user["notes"])
    assert len(sql) == 4, sql


def test_a_token_costs_one_statement_more(crowd, ask):
    sql, _ = statements(ask, WHOLE_GRAPH, variables={"first": 10}, token=token_for(crowd[0]))
    assert len(sql) == 5, sql


APPS = {"users", "notes", "tags"}  # another app tests its edges beside its other tests
EDGES = {
    "User.notes": ("{ users(first: %d) { notes { id } } }", 2),
    "Note.author": ("{ notes(first: %d) { author { id } } }", 2),
    "Note.tags": ("{ notes(first: %d) { tags { id } } }", 2),
    "Tag.notes": ("{ tags(first: %d) { notes { id } } }", 2),
    "User.notes_connection": (
        "{ users(first: %d) { notesConnection(first: 2) { nodes { id } } } }",
        2,
    ),
    "Tag.notes_connection": (
        "{ tags(first: %d) { notesConnection(first: 2) { edges { node { id } } } } }",
        2,
    ),
    "Note.tags_connection": ("{ notes(first: %d) { tagsConnection { nodes { id } } } }", 2),
    "User.note_count": ("{ users(first: %d) { noteCount } }", 2),
    "Tag.note_count": ("{ tags(first: %d) { noteCount } }", 2),
    "NoteConnection.total_count": ("{ users(first: %d) { notesConnection { totalCount } } }", 2),
    "TagConnection.total_count": ("{ notes(first: %d) { tagsConnection { totalCount } } }", 2),
    "UserConnection.total_count": ("{ usersConnection(first: %d) { totalCount nodes { id } } }", 2),
    "NoteConnection.tag_facets": (
        "{ users(first: %d) { notesConnection { tagFacets { count } } } }",
        2,
    ),
    "TagFacet.tag": (
        "{ users(first: %d) { notesConnection { tagFacets { tag { name } } } } }",
        3,
    ),
    "NoteEdge.snippet": (
        """{ notesConnection(first: %d, filter: {search: "title"}) { edges { snippet } } }""",
        2,
    ),
    "User.trash": ("{ users(first: %d) { trash(first: 2) { nodes { id } } } }", 2),
    "TrashConnection.total_count": ("{ users(first: %d) { trash { totalCount } } }", 2),
    "User.sessions": ("{ users(first: %d) { sessions { id } } }", 2),
    "User.tokens": ("{ users(first: %d) { tokens { id } } }", 2),
    "User.email": ("{ users(first: %d) { email } }", 1),
    "back and forth": (
        """{ users(first: %d) { notes(first: 2) { author {
            notes(first: 3) { tags { notes(first: 1) { author { id } } } }
        } } } }""",
        7,
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_an_edge_is_one_statement_for_any_number_of_parents(crowd, ask, name):
    query, expected = EDGES[name]
    counts = {first: len(statements(ask, query % first)[0]) for first in (1, 10, 100)}
    assert set(counts.values()) <= {expected, expected - 1}, counts


def test_every_edge_of_the_schema_has_such_a_test(db):
    from pcf.execution.edges import Edge
    from pcf.project.schema import schema

    edges = {
        f"{name}.{field}"
        for name, graphql_type in schema.graphql_schema.type_map.items()
        if hasattr(graphql_type, "graphene_type")
        for field, definition in getattr(graphql_type.graphene_type._meta, "fields", {}).items()
        if isinstance(definition, Edge)
        and name != "Query"  # those begin the queries above
        and APPS.issuperset(
            path.partition(".")[0]
            for path in (graphql_type.graphene_type.__module__, *definition.loaders)
        )
    }
    assert edges
    assert edges <= set(EDGES)


def test_aliases_with_other_pages_are_batches_of_their_own(crowd, ask):
    pages = "a: notes(first: 1) { id } b: notes(first: 2) { id } c: notes(first: 1) { id }"
    query = f"{{ users(first: 10) {{ {pages} }} }}"
    sql, data = statements(ask, query)
    assert len(sql) == 3
    assert all((len(u["a"]), len(u["b"]), len(u["c"])) == (1, 2, 1) for u in data["users"])
