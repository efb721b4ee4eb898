"""Both executors agree on the project's own schema, in results and in statements."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from graphql import get_introspection_query, parse, validate

from pcf.execution.context import RequestContext
from pcf.execution.executor import execute, execute_with_promises
from pcf.execution.nodes import make_node_id
from pcf.project.schema import schema
from pcf.viewer import ANONYMOUS, Viewer
from tests.execution.comparison import assert_same
from tests.execution.test_executor_differential import fallbacks

QUERIES = {
    "the whole graph": "{ users { id name notes { id title author { name } tags { name } } } }",
    "every leaf": """{
        users { id name email createdAt }
        notes { id title content isPublic createdAt updatedAt }
        tags { id name }
    }""",
    "every leaf behind edges": """{
        tags { notes { id title content isPublic createdAt updatedAt
            author { id name email createdAt } tags { id name } } }
    }""",
    "back and forth": """{
        users(first: 2) { notes(first: 2) { author { notes(first: 1, after: "1") { id tags {
            notes { title author { id } } } } } } }
    }""",
    "one by id": """{
        note(id: "%(note)s") { id title author { name } } user(id: "%(user)s") { name }
    }""",
    "none by id": """{
        note(id: "x") { id } user(id: "0") { name } tag(id: "999999") { notes { id } }
    }""",
    "me": "{ me { email notes { author { email } } } }",
    "instances and rows of one loader": """{
        me { name } user(id: "%(user)s") { name notes { author { name email createdAt } } }
    }""",
    "two selections of one loader": """{
        notes { author { name } }
        userNotes(userId: "%(user)s") { author { id createdAt notes { author { email } } } }
    }""",
    "aliases with other pages": """{
        users { a: notes(first: 1) { id } b: notes(first: 2) { title } c: notes(first: 1) { id } }
    }""",
    "merged fields": "{ users { notes { id } notes { title author { id } author { name } } } }",
    "fragments": """
        query { users { ...U ... on User { notes { __typename ...N } } } __typename }
        fragment U on User { id notes { id ...N } }
        fragment N on Note { title author { __typename id } }
    """,
    "conditions": """query ($yes: Boolean = true, $no: Boolean! = false) {
        users { id @skip(if: $no) name @include(if: $no) notes @include(if: $yes) { id } }
    }""",
    "by tag and author": '{ notes(tag: "red", authorId: "%(user)s") { title tags { name } } }',
    "a page that cannot be": "{ users(first: 0) { id } tags { name } }",
    "edges with a page that cannot be": "{ users { name notes(first: 0) { id } } }",
    "an edge with an id that cannot be": '{ notes { author { notes(after: "x") { id } } } }',
    "a node and nodes": """{
        node(nodeId: "%(note_node)s") { nodeId __typename }
        nodes(nodeIds: ["%(user_node)s", "%(tag_node)s", "x", "%(note_node)s", "%(user_node)s"]) {
            nodeId ... on Note { title author { nodeId name } } ... on User { name notes { id } }
            ... on Tag { id notes(first: 1) { tags { nodeId } } }
        }
        none: nodes(nodeIds: []) { nodeId }
    }""",
    "nodes of one type": """{
        nodes(nodeIds: ["%(user_node)s"]) { ...N ...U } notes { author { ...N } }
    } fragment N on Node { nodeId ... on User { createdAt } } fragment U on User { email }
    """,
    "too many nodes": "{ tags { name } nodes(nodeIds: [%(ids)s]) { nodeId } }",
    "introspection": get_introspection_query(),
    "a type": '{ __type(name: "Note") { name fields { name type { kind ofType { name } } } } }',
}


def viewers(world):
    return [ANONYMOUS, Viewer(world.ann.pk), Viewer(world.staff.pk, is_staff=True)]


def executed(way, document, viewer, **options):
    context = RequestContext(viewer)
    with CaptureQueriesContext(connection) as captured:
        result = way(schema.graphql_schema, document, context_value=context, **options)
    dependencies = {kind: keys for kind, keys in context.dependencies.items() if keys}
    return result, dependencies, [entry["sql"] for entry in captured.captured_queries]


@pytest.mark.parametrize("name", QUERIES)
def test_plans_agree_with_the_promise_executor(world, name):
    text = QUERIES[name]
    if "%(" in text:
        text %= {
            "note": world.public.pk,
            "user": world.ann.pk,
            "note_node": make_node_id("Note", world.public.pk),
            "user_node": make_node_id("User", world.ann.pk),
            "tag_node": make_node_id("Tag", world.red.pk),
            "ids": '"x", ' * 101,
        }
    document = parse(text)
    assert validate(schema.graphql_schema, document) == []
    before = fallbacks()
    for viewer in viewers(world):
        expected, expected_dependencies, expected_sql = executed(
            execute_with_promises, document, viewer
        )
        actual, dependencies, sql = executed(execute, document, viewer)
        assert_same(actual, expected)
        if not expected.errors:  # after an error the plan executor resolves more fields
            assert dependencies == expected_dependencies
            assert len(sql) == len(expected_sql), sql
    assert fallbacks() == before


def test_errors_of_both_executors_agree(world):
    document = parse(QUERIES["edges with a page that cannot be"])
    result, _, _ = executed(execute, document, ANONYMOUS)
    assert result.data is None
    assert [error.path for error in result.errors] == [["users", 0, "notes"]]


@pytest.mark.parametrize(("yes", "no"), [(True, False), (False, True), (True, True)])
def test_a_document_has_a_plan_for_each_of_its_conditions(world, yes, no):
    document = parse(QUERIES["conditions"])
    variables = {"yes": yes, "no": no}
    actual, _, _ = executed(execute, document, ANONYMOUS, variable_values=variables)
    expected, _, _ = executed(execute_with_promises, document, ANONYMOUS, variable_values=variables)
    assert_same(actual, expected)
    assert set(actual.data["users"][0]) == {
        *(() if no else ("id",)),
        *(("name",) if no else ()),
        *(("notes",) if yes else ()),
    }


def test_mutations_agree_and_are_executed_one_after_the_other(world):
    document = parse("""mutation {
        a: createNote(input: {title: "one", content: "x"}) { note { title author { name } } }
        b: createNote(input: {title: "", content: "x"}) { userErrors { code field } }
        c: createNote(input: {title: "three", content: "x"}) { note { author { notes { title } } } }
    }""")
    assert validate(schema.graphql_schema, document) == []
    result, _, _ = executed(execute, document, Viewer(world.ann.pk))
    assert result.errors is None
    assert list(result.data) == ["a", "b", "c"]
    assert result.data["b"]["userErrors"][0]["code"] == "REQUIRED"
    titles = [note["title"] for note in result.data["c"]["note"]["author"]["notes"]]
    assert titles[-2:] == ["one", "three"]


def test_plans_agree_with_postgresql(world):
    sql = """SELECT json_agg(json_build_object('id', u.id::text, 'notes', (
        SELECT coalesce(json_agg(json_build_object('title', n.title, 'tags', (
            SELECT json_agg(json_build_object('name', t.name) ORDER BY t.id)
            FROM notes_notetag nt JOIN tags_tag t ON t.id = nt.tag_id WHERE nt.note_id = n.id
        )) ORDER BY n.id), '[]')
        FROM notes_note n WHERE n.author_id = u.id AND n.is_public)) ORDER BY u.id)::text
        FROM users_user u"""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        expected = json.loads(cursor.fetchone()[0])
    document = parse("{ users { id notes { title tags { name } } } }")
    result, _, _ = executed(execute, document, ANONYMOUS)
    assert result.data["users"] == expected


def test_only_the_columns_that_are_needed_are_fetched(world):
    document = parse("{ users { notes { title author { email } tags { name } } } }")
    _, _, (users, notes, authors, tags) = executed(execute, document, ANONYMOUS)
    assert "content" not in notes
    assert "title" in notes
    assert "password" not in authors
    assert "email" in authors
    assert "is_public" not in tags
    assert "password" not in users
