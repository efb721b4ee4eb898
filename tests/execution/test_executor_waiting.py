"""Plain fields of light rows are completed while PostgreSQL works on the statements below them."""

import enum
import json
from functools import wraps

import graphene
import psycopg
import pytest
from django.db import connection
from graphene.types.definitions import GrapheneEnumType
from graphql import GraphQLString, parse

from notes.models import Note
from pcf.database import prepared_statements
from pcf.database.snapshots import current_snapshot, one_snapshot
from pcf.errors import ConnectionLost, ResponseTooLarge
from pcf.execution import columns, levels, plan, plan_executor, rows
from pcf.execution.context import RequestContext
from pcf.execution.executor import execute, execute_with_promises
from pcf.project.schema import schema
from pcf.timeouts import TimeoutContext, activate
from pcf.viewer import ANONYMOUS
from tests.execution.comparison import assert_same
from tests.execution.test_executor_project import QUERIES

GRAPH = "{ users { id name notes { author { name } id createdAt tags { name } title } } }"


@pytest.fixture(autouse=True)
def every_batch_is_large(monkeypatch, live_world):
    monkeypatch.setattr(columns, "LARGE_BATCH", 1)
    connection.close()
    connection.close_pool()
    with activate(TimeoutContext.start("http", 30.0)):
        yield


@pytest.fixture
def events(monkeypatch):
    """What happens in turn: statements sent, fields completed, results received."""
    told = []

    def record(owner, name, event):
        function = getattr(owner, name)

        def spy(*args, **kwargs):
            told.append(event(*args))
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, spy)

    record(prepared_statements.PreparedReads, "rows", lambda *_: "send")
    record(prepared_statements.PreparedReads, "_send_all", lambda *_: "send all")
    record(prepared_statements, "receive_result", lambda *_: "receive")
    record(prepared_statements, "receive_pipelined_result", lambda *_: "receive")

    def record_field(name):
        function = getattr(plan_executor.PlanExecutor, name)

        def spy(self, batch, field):
            if told[-1:] != [field.full_name]:  # one of the methods may call the other
                told.append(field.full_name)
            return function(self, batch, field)

        monkeypatch.setattr(plan_executor.PlanExecutor, name, spy)

    record(plan.RowSelection, "results", lambda _, rows, __: type(rows[0]).__name__)
    record_field("_execute_field")
    record_field("_execute_early")
    return told


def run(text, times=1, **options):
    """Execute ``text`` in one snapshot, and return the last result."""
    document = parse(text)
    for _ in range(times):
        with one_snapshot():
            result = execute(
                schema.graphql_schema, document, context_value=RequestContext(ANONYMOUS), **options
            )
    return result


def test_plain_fields_are_completed_between_sending_and_receiving(events):
    run(GRAPH, 2)  # the second run prepares the statements
    events.clear()
    result = run(GRAPH)
    assert result.errors is None
    notes = events.index("Note.author")
    assert events[notes:] == [
        "Note.author", "Note.tags", "send all",
        "Note.id", "Note.createdAt", "Note.title", "receive", "receive", "UserRow", "TagRow",
    ]  # fmt: skip
    assert events[events.index("User.notes") : notes] == [
        "User.notes", "send", "User.id", "User.name", "receive",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name, text in QUERIES.items() if "%(" not in text])
def test_the_result_is_that_of_the_promise_executor(name):
    document = parse(QUERIES[name])
    expected = execute_with_promises(
        schema.graphql_schema, document, context_value=RequestContext(ANONYMOUS)
    )
    for _ in range(3):  # as text, prepared now, prepared before
        actual = run(QUERIES[name])
        assert_same(actual, expected)
        assert json.dumps(actual.data) == json.dumps(expected.data)  # the order of the fields


def seven():
    """Send a statement: during the wait for another one it would wait for its own thread."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 7")
        return cursor.fetchone()[0]


def scalar_of_the_project():
    return type(GraphQLString)("Text", serialize=lambda value: f"{value} {seven()}")


def scalar_with_the_name_of_another_module():
    serialize = wraps(GraphQLString.serialize)(lambda value: f"{value} {seven()}")
    return type(GraphQLString)("Text", serialize=serialize)


def enum_with_its_own_lookup():
    class Title(enum.Enum):
        ANY = "any 7"

        @classmethod
        def _missing_(cls, _value):
            return cls(f"any {seven()}")

    enumeration = graphene.Enum.from_enum(Title)
    return GrapheneEnumType(graphene_type=enumeration, name="Title", values={"_7": Title.ANY})


@pytest.mark.parametrize(
    "make_type",
    [scalar_of_the_project, scalar_with_the_name_of_another_module, enum_with_its_own_lookup],
)
def test_a_type_of_the_project_may_send_statements(monkeypatch, make_type):
    field = schema.graphql_schema.type_map["Note"].fields["title"]
    monkeypatch.setattr(field, "type", make_type())
    text = f"{{ users {{ notes {{ id title author {{ name }} }} }} }} # {make_type.__name__}"
    result = run(text, 3)
    assert result.errors is None
    titles = [note["title"] for user in result.data["users"] for note in user["notes"]]
    assert titles
    assert all(title.endswith("7") for title in titles)


@pytest.mark.parametrize("name", ["title", "pk"])
def test_a_value_of_the_project_may_send_statements(monkeypatch, name):
    class Text:
        def __str__(self):
            return f"text {seven()}"

    read = rows._reader
    texts = {name: lambda _parent: Text()}
    monkeypatch.setattr(rows, "_reader", lambda rows, of: texts.get(of) or read(rows, of))
    result = run("{ users { name notes { nodeId title author { name } createdAt } } }", 3)
    assert result.errors is None
    note = result.data["users"][0]["notes"][0]
    assert list(note) == ["nodeId", "title", "author", "createdAt"]
    assert (note["title"] == "text 7") is (name == "title")


def test_a_limit_that_a_plain_field_exceeds_ends_the_run_and_spares_the_connection(events):
    text = "{ notes { id content author { name } } }"
    Note.objects.update(content="x" * 10_000)
    run(text, 2)
    events.clear()
    with pytest.raises(ResponseTooLarge):
        run(text, max_bytes=9_000)
    assert events[-2:] == ["Note.content", "receive"]
    assert run(text).errors is None


def test_an_error_that_occurs_once_ends_the_run():
    """The client has other responses in execution when the first text is counted."""
    text = "{ notes { id content author { name } } }"
    run(text, 2)
    Note.objects.update(content="x" * 100)
    counts = []

    def on_bytes(count):
        counts.append(count)
        if len(counts) == 2:
            raise ResponseTooLarge.by_bytes(0)

    with pytest.raises(ResponseTooLarge):
        run(text, max_bytes=1_000, on_bytes=on_bytes)
    assert len(counts) == 2


def test_a_run_that_ends_early_leaves_no_function_to_the_snapshot():
    ended = []

    def check():
        if current_snapshot().while_waiting is not None:
            ended.append(current_snapshot())
            raise ResponseTooLarge.by_bytes(0)

    with pytest.raises(ResponseTooLarge):
        run("{ notes { id content author { name } } }", check=check)
    assert ended[0].while_waiting is None


def test_a_connection_that_is_lost_meanwhile_is_an_error_of_its_fields(monkeypatch):
    """The server ends the session while the plain fields are completed."""
    run(GRAPH, 3)
    complete, lost = levels.Levels._complete_leaves, []

    def spy(self, execute_field):
        complete(self, execute_field)
        if not lost:
            lost.append(connection.connection.info.backend_pid)
            given = connection.get_connection_params()
            keys = {"dbname", "user", "password", "host", "port"} & given.keys()
            with psycopg.connect(**{key: given[key] for key in keys}) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", lost)

    monkeypatch.setattr(levels.Levels, "_complete_leaves", spy)
    result = run(GRAPH)
    assert lost
    assert {type(error.original_error) for error in result.errors} == {ConnectionLost}
    assert run(GRAPH).errors is None
