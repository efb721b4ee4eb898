"""Plain fields of light rows are completed while PostgreSQL works on the statements below them."""

import json

import psycopg
import pytest
from django.db import connection
from graphql import GraphQLString, parse

from notes.models import Note
from pcf.database import prepared_statements
from pcf.database.snapshots import one_snapshot
from pcf.errors import ConnectionLost, ResponseTooLarge
from pcf.execution import plan_executor
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
    monkeypatch.setattr(plan_executor, "LARGE_BATCH", 1)
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
    execute_field = plan_executor.PlanExecutor._execute_field

    def spy(self, batch, field):
        told.append(field.full_name)
        return execute_field(self, batch, field)

    monkeypatch.setattr(plan_executor.PlanExecutor, "_execute_field", spy)
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
    assert events[notes : events.index("Tag.name")] == [
        "Note.author", "Note.tags", "send all",
        "Note.id", "Note.createdAt", "Note.title", "receive", "receive", "User.name",
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


def test_a_scalar_of_the_project_may_send_statements(monkeypatch):
    """It runs when the connection is free: a statement would wait for its own thread for ever."""
    field = schema.graphql_schema.type_map["Note"].fields["title"]
    seen = []

    def serialize(value):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 7")
            seen.append(cursor.fetchone()[0])
        return GraphQLString.serialize(value)

    scalar = type(GraphQLString)("Text", serialize=serialize)
    monkeypatch.setattr(field, "type", scalar)
    result = run("{ users { notes { id title author { name } } } } # a scalar of its own", 3)
    assert result.errors is None
    assert set(seen) == {7}


def test_a_limit_that_a_plain_field_exceeds_ends_the_run_and_spares_the_connection(events):
    text = "{ notes { id content author { name } } }"
    Note.objects.update(content="x" * 10_000)
    run(text, 2)
    events.clear()
    with pytest.raises(ResponseTooLarge):
        run(text, max_bytes=9_000)
    assert events[-2:] == ["receive", "Note.content"]  # once more, after the exchange
    assert run(text).errors is None


def test_a_connection_that_is_lost_meanwhile_is_an_error_of_its_fields(monkeypatch):
    """The server ends the session while the plain fields are completed."""
    run(GRAPH, 3)
    complete, lost = plan_executor.Levels._complete_leaves, []

    def spy(self, execute_field):
        complete(self, execute_field)
        if not lost:
            lost.append(connection.connection.info.backend_pid)
            given = connection.get_connection_params()
            keys = {"dbname", "user", "password", "host", "port"} & given.keys()
            with psycopg.connect(**{key: given[key] for key in keys}) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", lost)

    monkeypatch.setattr(plan_executor.Levels, "_complete_leaves", spy)
    result = run(GRAPH)
    assert lost
    assert {type(error.original_error) for error in result.errors} == {ConnectionLost}
    assert run(GRAPH).errors is None
