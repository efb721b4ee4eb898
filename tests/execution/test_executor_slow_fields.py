"""A slow field takes nothing from the fields beside it."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.db import connection, connections

FIRST = "{ slowQuery(delay: 30) a: users(first: 1) { name notes { title } } }"
LAST = "{ a: users(first: 1) { name notes { title } } slowQuery(delay: 30) }"
ANN = {"name": "Ann", "notes": [{"title": "public of ann"}]}
NOTE = {"title": "public of ann"}


@contextmanager
def locked(*tables):
    """Have every statement that reads these tables wait."""
    with connections["default"].connect_outside_pool() as other:
        other.execute("BEGIN")
        for table in tables:
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
        other.execute("ROLLBACK")


def late(answer):
    """Return the fields that ran out of time, which are all the errors of the answer."""
    codes = {error["extensions"]["code"] for error in answer.errors}
    assert codes == {"TIMEOUT"}, answer.errors
    return {error["path"][0] for error in answer.errors}


@pytest.mark.parametrize("query", [FIRST, LAST])
def test_the_loads_of_all_levels_run_before_a_statement_of_a_resolver(live_world, ask, query):
    answer = ask(query, **{"X-Request-Timeout": "1"})
    assert late(answer) == {"slowQuery"}
    data = answer.content["data"]
    assert list(data) == (["slowQuery", "a"] if query == FIRST else ["a", "slowQuery"])
    assert data["slowQuery"] is None
    assert data["a"] == [ANN]


NOTES = "notes { title author { name } }"
USER = {"name": "Ann", "notes": [{**NOTE, "author": {"name": "Ann"}}]}


@pytest.mark.parametrize(
    ("tables", "query", "data"),
    [
        (
            ["tags_tag"],
            "{ tag(id: %t) { name } note(id: %n) { title } user(id: %u) { name NOTES } }",
            {"tag": None, "note": NOTE, "user": USER},
        ),
        (
            ["tags_tag"],
            "{ user(id: %u) { name NOTES } a: tag(id: %t) { name } b: tag(id: 777) { name } }",
            {"user": USER, "a": None, "b": None},
        ),
        (
            ["tags_tag", "users_user"],
            "{ note(id: %n) { title } tag(id: %t) { name } user(id: %u) { name } }",
            {"note": NOTE, "tag": None, "user": None},
        ),
        (
            ["tags_tag"],
            "{ a: note(id: %n) { tags { name } } user(id: %u) { name NOTES } }",
            {"a": None, "user": USER},
        ),
        (
            ["tags_tag"],
            "{ s: slowQuery(delay: 0) slowQuery(delay: 30) tag(id: %t) { id } N }".replace(
                "N", "note(id: %n) { title }"
            ),
            {"s": 0, "slowQuery": None, "tag": None, "note": NOTE},
        ),
    ],
    ids=["first", "aliases", "two", "nested", "resolvers"],
)
@pytest.mark.parametrize("is_prepared", [True, False], ids=["prepared", "text"])
def test_a_statement_leaves_time_for_other_fields(
    live_world, ask, settings, tables, query, data, is_prepared
):
    """A table that is locked stands for one that takes too long."""
    for sign, row in {"n": live_world.public, "u": live_world.ann, "t": live_world.red}.items():
        query = query.replace(f"%{sign}", str(row.pk)).replace("NOTES", NOTES)
    headers = {"Cache-Control": "no-store"}
    if is_prepared:  # the session's limit and that of the statements are the same
        timeouts = replace(settings.PCF.timeouts, database=2.0, graphql=3.0, http=4.0)
        settings.PCF = replace(settings.PCF, timeouts=timeouts)
        connection.close_pool()
    else:
        headers["X-Request-Timeout"] = "3"
    for _ in range(2):  # the second use prepares a statement
        ask(query.replace("30", "0"), **headers)
    with locked(*tables):
        answer = ask(query, **headers)
    assert answer.content["data"] == data
    assert late(answer) == {name for name, value in data.items() if value is None}
    connection.close_pool()


def test_the_last_statement_has_all_the_time(live_world, ask):
    answer = ask("{ tag(id: 777) { id } slowQuery(delay: 2.4) }", **{"X-Request-Timeout": "3"})
    assert answer.data == {"tag": None, "slowQuery": 2.4}


def test_a_statement_that_is_prepared_while_its_table_is_locked_has_its_deadline(live_world, ask):
    query = f"{{ tag(id: {live_world.red.pk}) {{ name }} users {{ name }} }}"
    headers = {"Cache-Control": "no-store", "X-Request-Timeout": "1"}
    connection.close_pool()
    ask(query, **{**headers, "X-Request-Timeout": "30"})
    with locked("tags_tag"):
        answer = ask(query, **headers)
    assert late(answer) == {"tag"}
    assert answer.content["data"]["users"] == [{"name": "Ann"}, {"name": "Bob"}, {"name": "Sue"}]
