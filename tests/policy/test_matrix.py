"""The service answers each kind of viewer, operation and field as the table demands."""

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from graphql import GraphQLArgument, GraphQLBoolean, extend_schema, get_named_type, parse

from notes.models import Note, NoteTag
from pcf.execution.nodes import make_node_id
from pcf.project.schema import schema_with_diagnostics as schema
from pcf.viewer import Scope
from tags.models import Tag
from tests.conftest import World, build_world, make_note
from tests.policy.matrix import FIRST, KINDS, NAMES, expected, fields_of, make_kind, selection
from tests.policy.mutations import ABSENT, ACCOUNT_MUTATIONS, MUTATIONS
from tests.policy.table import (
    DECLARED,
    FIELDS,
    INPUTS,
    MODELS,
    QUERIES,
    UNCACHED,
    readers,
    writers,
)
from users import sessions
from users.models import Session, User

SCHEMA = schema.graphql_schema


@pytest.fixture(autouse=True)
def _session_cookie(settings):
    requests = replace(settings.PCF.requests, session_cookie="pcf_session")
    settings.PCF = replace(settings.PCF, requests=requests)


@pytest.fixture(scope="module")
def rows(django_db_setup: None, django_db_blocker: Any) -> Iterator[tuple[World, Note]]:
    """The world and a note in Ann's trash, in a transaction around those of all tests here."""
    with django_db_blocker.unblock(), transaction.atomic():
        world = build_world()
        note = make_note(world.ann, "trashed of ann", world.red)
        Note.objects.filter(pk=note.pk).update(deleted_at=timezone.now())
        note.refresh_from_db()
        yield world, note
        transaction.set_rollback(True)


@pytest.fixture
def world(rows, db):
    """The rows stay as they are, since each test rolls its own writes back."""
    return deepcopy(rows[0])


@pytest.fixture
def trashed(rows, world):
    """A note in Ann's trash, public and with a tag: no field but her trash shows it."""
    return deepcopy(rows[1])


# -- the table is complete


def test_every_field_and_mutation_says_who_may_see_it():
    undeclared = fields_of(SCHEMA) - DECLARED
    assert not undeclared, f"say in tests/policy/table.py who may see {sorted(undeclared)}"
    assert not DECLARED - fields_of(SCHEMA)


@pytest.mark.parametrize(
    ("addition", "names"),
    [
        ("extend type Note { draft: String }", {"Note.draft"}),
        ("extend type User { drafts: [Note!]! }", {"User.drafts"}),
        ("extend type Query { secrets: String }", {"Query.secrets"}),
        ("extend type Mutation { dropAll: Boolean }", {"Mutation.dropAll"}),
        ("extend input UpdateNoteInput { authorId: ID }", {"UpdateNoteInput.authorId"}),
        ("type Token { text: String } extend type User { token: Token }",
         {"Token.text", "User.token"}),
        ("extend type Note { draft(of: ID): String }", {"Note.draft", "Note.draft(of)"}),
        ("extend interface Node { key: ID }", {"Node.key"}),
    ],
)  # fmt: skip
def test_a_new_field_is_noticed(addition, names):
    extended = extend_schema(SCHEMA, parse(addition))
    assert fields_of(extended) - DECLARED == names


@pytest.mark.parametrize("name", ["Query.users", "Query.me", "Note.title", "Mutation.deleteNote"])
def test_a_new_argument_is_noticed(name):
    """The argument of a field with arguments, of one without, and of a mutation."""
    extended = extend_schema(SCHEMA, parse("scalar Other"))  # a copy
    type_name, field = name.split(".")
    extended.type_map[type_name].fields[field].args["all"] = GraphQLArgument(GraphQLBoolean)
    assert fields_of(extended) - DECLARED == {f"{name}(all)"}
    assert fields_of(SCHEMA) == DECLARED


def test_every_input_of_the_table_sets_every_field():
    for name, mutation in MUTATIONS.items():
        field = SCHEMA.mutation_type.fields[name.partition(".")[2]]
        assert set(mutation.input("1")) == INPUTS[field.args["input"].type.of_type.name]
    for name, account_mutation in ACCOUNT_MUTATIONS.items():
        field = SCHEMA.mutation_type.fields[name.partition(".")[2]]
        if account_mutation.input is None:
            assert not field.args
        else:
            assert set(account_mutation.input) == INPUTS[field.args["input"].type.of_type.name]


# -- queries


def calls():
    return [(name, number) for name, found in QUERIES.items() for number in range(len(found))]


def ask_query(ask, headers, name, arguments):
    """Ask for every field behind a field of Query; return the answer and its type."""
    field = SCHEMA.query_type.fields[name.partition(".")[2]]
    if "first" in field.args:
        arguments = {**arguments, "first": FIRST}
    declared = ", ".join(f"${key}: {field.args[key].type}" for key in arguments)
    given = ", ".join(f"{key}: ${key}" for key in arguments)
    head, call = (f"({declared})", f"({given})") if arguments else ("", "")
    document = f"query{head} {{ answer: {name.partition('.')[2]}{call} {selection(field.type)} }}"
    return ask(document, None, arguments, **headers), field.type


@pytest.mark.usefixtures("trashed")
@pytest.mark.parametrize("kind", NAMES)
def test_queries(world, ask, kind):
    """Each query of the table runs twice: on the executor, and from the cache if it may."""
    kind = make_kind(kind, world)
    for name, number in calls():
        call = QUERIES[name][number]
        answer, found = ask_query(ask, kind.headers, name, call.arguments(world))
        if kind.viewer is None:
            assert (answer.status, *answer.codes) == kind.refusal
            assert "data" not in answer.content
            continue
        wanted = expected(found, call.what(world, kind.viewer), kind.viewer)
        assert answer.data["answer"] == wanted, (name, number)
        again, _ = ask_query(ask, kind.headers, name, call.arguments(world))
        assert again.data["answer"] == wanted, (name, number)


def test_the_matrix_has_something_to_find(world, ask):
    """Kinds of viewers that differ in the policy get different answers."""
    bodies = {name: [] for name in ("anonymous", *KINDS)}
    for name, found in bodies.items():
        kind = make_kind(name, world)
        found += [ask_query(ask, kind.headers, "Query.users", {})[0].body]
    same = [
        ("owner", "owner with read"), ("owner", "owner with admin"),
        ("owner", "owner with a cookie"), ("owner", "owner with a cookie for read"),
        ("staff", "staff with a cookie"), ("staff with write", "staff with a cookie for write"),
        ("staff with write", "staff with read"), ("other", "other with read"),
        ("other", "other with a cookie"), ("other", "other with a token beside the owner's cookie"),
    ]  # fmt: skip
    assert all(bodies[one] == bodies[two] for one, two in same)
    assert len({body for (body,) in bodies.values()}) == 5


# -- mutations


def mutate(ask, headers, name, values):
    """Run a mutation that selects its whole payload; return the answer and the payload's type."""
    field = SCHEMA.mutation_type.fields[name.partition(".")[2]]
    head, call = "", ""
    if values is not None:
        head, call = f"($input: {field.args['input'].type})", "(input: $input)"
    document = (
        f"mutation{head} {{ answer: {name.partition('.')[2]}{call} {selection(field.type)} }}"
    )
    variables = {"input": values} if call else None
    return ask(document, None, variables, **headers), field.type.of_type


def refusals(viewer, mutation, note):
    """Return the error codes of a mutation that the table demands."""
    if not viewer.is_authenticated:
        return ["UNAUTHENTICATED"]
    if mutation.of_tag:
        allowed = ["NOT_FOUND"] if note is None else []
        return allowed if viewer.is_staff else ["FORBIDDEN"]
    if not mutation.of_note:
        return []
    if mutation.in_trash:
        found = note is not None and note.deleted_at is not None and writers(viewer, note)
        return [] if found else ["NOT_FOUND"]
    if note is None or not readers(viewer, note):
        return ["NOT_FOUND"]
    return [] if writers(viewer, note) else ["FORBIDDEN"]


def stored():
    """Return all rows that a mutation can change, with one statement for thousands of calls."""
    tables = [model._meta.db_table for model in (*MODELS.values(), NoteTag, Session)]
    rows = [f"SELECT '{table}', found::text FROM {table} AS found" for table in tables]  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(f"{' UNION ALL '.join(rows)} ORDER BY 1, 2")
        return cursor.fetchall()


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations(world, trashed, ask, name, kind):
    mutation = MUTATIONS[name]
    kind = make_kind(kind, world)
    notes = [world.public, world.private, world.other, trashed]
    targets = [*notes, None] if mutation.of_note else [world.red, None][not mutation.of_tag :]
    for note in targets:
        before = stored()
        key = str(note.pk if note else ABSENT)
        answer, payload = mutate(ask, kind.headers, name, mutation.input(key))
        if kind.viewer is None:
            assert (answer.status, *answer.codes) == kind.refusal
        elif kind.viewer.is_authenticated and kind.viewer.scope is Scope.READ:
            assert (answer.status, answer.codes) == (403, ["INSUFFICIENT_SCOPE"])
        else:
            content = answer.data["answer"]
            codes = [error["code"] for error in content["userErrors"]]
            assert codes == refusals(kind.viewer, mutation, note)
            if not codes:
                check_result(mutation.result, payload, content, kind.viewer, note)
                continue
            assert content[mutation.result] is None
        assert stored() == before, "what was refused has written nothing"


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", ACCOUNT_MUTATIONS)
def test_mutations_of_accounts(world, ask, name, kind):
    """A wrong text, password or id is refused for every viewer, whatever its rights."""
    mutation = ACCOUNT_MUTATIONS[name]
    kind = make_kind(kind, world)
    before = stored()
    answer, _ = mutate(ask, kind.headers, name, mutation.input)
    if kind.viewer is None:
        assert (answer.status, *answer.codes) == kind.refusal
    elif kind.viewer.is_authenticated and kind.viewer.scope is Scope.READ:
        assert (answer.status, answer.codes) == (403, ["INSUFFICIENT_SCOPE"])
    else:
        content = answer.data["answer"]
        refusal = mutation.refusal
        if mutation.depends_on_session and kind.in_session:
            refusal = mutation.refusal_in_session
        if mutation.needs_login and not kind.viewer.is_authenticated:
            refusal = "UNAUTHENTICATED"
        assert [error["code"] for error in content["userErrors"]] == [refusal] * bool(refusal)
        if refusal:
            assert {value for key, value in content.items() if key != "userErrors"} <= {None}
        else:
            return
    assert stored() == before


@pytest.mark.parametrize("kind", NAMES)
def test_sessions_and_tokens(world, ask, kind):
    """Every viewer sees its own sessions and tokens, and nobody those of others."""
    for user in (world.ann, world.bob, world.staff):
        sessions.begin(user, device="phone", scope="write", has_cookie=False)
    kind = make_kind(kind, world)
    user_type = SCHEMA.type_map["User"]
    fields = [name.partition(".")[2] for name in sorted(UNCACHED)]
    parts = " ".join(f"{name} {selection(user_type.fields[name].type)}" for name in fields)
    answer = ask(f"{{ users {{ {parts} }} me {{ {parts} }} }}", **kind.headers)
    if kind.viewer is None:
        assert (answer.status, *answer.codes) == kind.refusal
        return

    def shown(user):
        rules = {name: FIELDS[f"User.{name}"] for name in fields}
        return {
            name: expected(user_type.fields[name].type, rules[name].what(user), kind.viewer)
            for name in fields
        }

    users = [shown(user) for user in User.objects.order_by("pk")]
    me = kind.viewer.id and shown(User.objects.get(pk=kind.viewer.id))
    assert answer.data == {"users": users, "me": me}
    assert answer.cache_status == "pcf; fwd=bypass"
    assert any(user["sessions"] for user in users) is kind.viewer.is_authenticated
    assert answer.headers["Cache-Control"] == "no-store"


def check_result(name, payload, content, viewer, note):
    """Check what the payload of a successful mutation shows."""
    found = get_named_type(payload.fields[name].type)
    if isinstance(note, Tag) and name == "deletedId":
        assert content[name] == str(note.pk)
        assert not Tag.objects.filter(pk=note.pk).exists()
        return
    if name == "deletedIds":
        assert content[name] == [str(note.pk)]
        assert Note.objects.get(pk=note.pk).deleted_at is not None
        return
    if name == "notes":
        (content[name],) = content[name]
    if name == "deletedId":
        assert content[name] == str(note.pk)
        assert Note.objects.get(pk=note.pk).deleted_at is not None
        assert content["note"] is None
        return
    if name == "purgedId":
        assert content[name] == str(note.pk)
        assert not Note.objects.filter(pk=note.pk).exists()
        return
    row = MODELS[found.name].objects.get(pk=content[name]["id"])
    # the payload itself is one edge
    assert content[name] == expected(found, row, viewer, depth=1)


# -- ids of other users


@pytest.mark.parametrize(
    "kind", ["anonymous", "other", "other with read", "other with a cookie", "staff with write"]
)
def test_an_id_that_is_not_for_the_viewer_is_answered_as_one_that_is_not(world, trashed, ask, kind):
    """Status, body, headers and statements are equal, for queries and for mutations."""
    kind = make_kind(kind, world)
    ask("{ me { id } }", **kind.headers)  # the service caches the token from here on

    def seen(send, key):
        with CaptureQueriesContext(connection) as queries:
            answer = send(key)
        statements = [re.sub(r"\d+", "?", query["sql"]) for query in queries]
        headers = {k: v for k, v in answer.headers.items() if k != "X-Request-ID"}
        return answer.status, answer.body, headers, statements

    def node(key):
        return ask_query(ask, kind.headers, "Query.node", {"nodeId": make_node_id("Note", key)})[0]

    asked = [lambda key: ask_query(ask, kind.headers, "Query.note", {"id": str(key)})[0], node]
    for name, mutation in MUTATIONS.items():
        if not mutation.of_note:
            continue
        for change in ({}, {"title": ""}, {"tagIds": ["nope"]}):

            def send(key, name=name, values=mutation.input, change=change):
                given = values(str(key))
                given |= {key: change[key] for key in change if key in given}
                return mutate(ask, kind.headers, name, given)[0]

            asked.append(send)
    for hidden, absent in ((world.private.pk, ABSENT), (trashed.pk, ABSENT - 1)):
        for send in asked:
            assert seen(send, hidden) == seen(send, absent)


@pytest.mark.parametrize("kind", ["anonymous", "owner", "staff with write"])
def test_lists_do_not_distinguish_hidden_notes_from_no_notes(world, ask, kind):
    """Bob has one note, which is private; Sue has none."""
    kind = make_kind(kind, world)
    ask("{ me { id } }", **kind.headers)  # the service caches the token from here on
    for name, argument in (("Query.notes", "authorId"), ("Query.userNotes", "userId")):
        answers = []
        for user in (world.bob, world.staff):
            with CaptureQueriesContext(connection) as queries:
                answer, _ = ask_query(ask, kind.headers, name, {argument: str(user.pk)})
            answers.append((answer.status, answer.data, len(queries)))
        assert answers[0] == answers[1]
        assert answers[0][:2] == answers[1][:2] == (200, {"answer": []})
