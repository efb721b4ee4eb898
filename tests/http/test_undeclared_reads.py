"""What a resolver reads outside of loaders is not stored, unless the resolver declares it."""

import logging
from itertools import count

import orjson
import pytest
from django.db import connection
from django.db.models.signals import post_init
from graphene.utils.str_converters import to_camel_case
from graphql_relay import to_global_id

from notes.models import Note
from pcf.cache import triggers
from pcf.database import query_log
from pcf.http.request import GraphQLRequest
from pcf.timeouts import TimeoutContext
from tags.models import Tag
from tests.conftest import token_for
from tests.http.loaders import World
from tests.http.undeclared import RESOLVERS, SCHEMA, names
from tests.serving import service_of
from users.authentication import find_credentials
from users.models import User

STORED, HIT = "pcf; fwd=miss; stored", "pcf; hit"


@pytest.fixture(autouse=True)
def _nothing_is_reported(monkeypatch):
    monkeypatch.setattr(query_log, "_reported", {})


@pytest.fixture
def reading(live_world):
    """``reading(query, no_store=False)`` returns the data of the response and its Cache-Status."""
    service = service_of(SCHEMA)

    def answer(query, **fields):
        request = GraphQLRequest(query=query, **fields)
        response = service.answer(request, TimeoutContext.start("http", 30))
        content = orjson.loads(response.body)
        assert "errors" not in content, content
        return content["data"], response.headers["Cache-Status"]

    return answer


_numbers = count()


def rename_by_update():
    Tag.objects.filter(name__startswith="red").update(name=f"red {next(_numbers)}")


def rename_by_save():
    tag = Tag.objects.order_by("pk").first()
    tag.name = f"red {next(_numbers)}"
    tag.save()


def insert_many():
    Tag.objects.bulk_create([Tag(name=f"new {next(_numbers)}") for _ in range(2)])


def delete_last():
    Tag.objects.filter(name__startswith="blue").delete()


def insert_by_sql():
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO tags_tag (name) VALUES (%s)", [f"sql {next(_numbers)}"])


def insert_by_copy():
    with connection.cursor() as cursor, cursor.copy("COPY tags_tag (name) FROM STDIN") as copy:
        copy.write_row([f"copied {next(_numbers)}"])


def rename_author():
    User.objects.filter(username="ann").update(name=f"Ann {next(_numbers)}")


WRITES = (
    rename_by_update,
    rename_by_save,
    insert_many,
    insert_by_sql,
    insert_by_copy,
    rename_author,
    delete_last,
)

UNDECLARED = {
    **{
        f"{{ {to_camel_case(name)} }}": f"Query.{to_camel_case(name)}"
        for name in RESOLVERS
        if not name.endswith("foreign_thread")
    },
    "{ foreignThread }": query_log.FOREIGN_THREAD,
    "{ limitedForeignThread }": query_log.FOREIGN_THREAD,
    "{ tagList { name } }": "Query.tagList",
    "{ connection(first: 50) { edges { node { name } } } }": "Query.connection",
    "{ shelf { names } }": "ShelfType.names",
    "{ shelf { lazy } }": "ShelfType.lazy",
    "{ asked { name } }": "Query.asked",
    "{ answer { name } }": "Query.answer",
    "{ texts { author { name } } }": "Text.author",
    "{ texts { authorName } }": "Text.authorName",
    "{ texts(first: 3) { tags(first: 5) { edges { node { name } } } } }": "Text.tags",
    "{ routed { name } }": "Query.routed",
    "{ lazyLoader { name } }": "Query.lazyLoader",
    "{ partLoader { title } }": "Text.title",
}  # fmt: skip


@pytest.mark.repeats
@pytest.mark.parametrize("query", UNDECLARED)
def test_no_answer_is_older_than_any_kind_of_write(reading, query, caplog):
    caplog.set_level(logging.WARNING, "pcf.undeclared_reads")
    place = UNDECLARED[query]
    for write in (None, *WRITES):
        if write is not None:
            write()
        for _ in range(2):
            data, status = reading(query)
            assert data == reading(query, no_store=True)[0]
            assert status == f'pcf; fwd=miss; detail="undeclared read at {place}"'
    (line,) = [record for record in caplog.records if record.name == "pcf.undeclared_reads"]
    assert line.getMessage().endswith(place)


@pytest.mark.repeats
def test_relays_node_is_not_stored(reading, live_world):
    query = f'{{ node(id: "{to_global_id("TagNode", live_world.red.pk)}") {{ ... on TagNode {{ name }} }} }}'  # fmt: skip  # noqa: E501
    for write in (lambda: None, *WRITES):
        write()
        data, status = reading(query)
        assert data == reading(query, no_store=True)[0]
        assert 'detail="undeclared read at Query.node"' in status


@pytest.mark.repeats
@pytest.mark.parametrize("query", ["{ declared }", "{ texts { id declaredAuthorName } }"])
def test_what_a_resolver_declares_is_stored_and_removed_by_each_write(reading, query):
    for write in (lambda: None, *WRITES):
        write()
        data, status = reading(query)
        assert status in (STORED, HIT)
        assert data == reading(query, no_store=True)[0]
        assert reading(query) == (data, HIT)


@pytest.mark.repeats
def test_rows_that_appear_by_time_are_right_at_every_time(reading, live_world, monkeypatch):
    shown = []
    for note in (live_world.public, live_world.private, live_world.other):
        monkeypatch.setattr(World, "now", note.created_at)
        data, status = reading("{ due { id } }")
        assert data == reading("{ due { id } }", no_store=True)[0]
        assert "DueNotes: its query set holds a date or a time" in status
        shown.append(len(data["due"]))
    assert shown == [1, 2, 3]


@pytest.mark.repeats
def test_a_banned_viewer_sees_nothing_and_others_everything(reading, live_world, monkeypatch):
    service = service_of(SCHEMA, find_credentials)
    tokens = {user: token_for(user) for user in (live_world.ann, live_world.bob)}

    def counted(user):
        request = GraphQLRequest(query="{ unlessBanned { id } }", token=tokens[user])
        response = service.answer(request, TimeoutContext.start("http", 30))
        assert "looks at the value of 'viewer'" in response.headers["Cache-Status"]
        return len(orjson.loads(response.body)["data"]["unlessBanned"])

    assert [counted(user) for user in tokens] == [3, 3]
    monkeypatch.setattr(World, "banned", {live_world.bob.pk})
    assert [counted(user) for user in tokens] == [3, 0]
    monkeypatch.setattr(World, "banned", {live_world.ann.pk})
    assert [counted(user) for user in tokens] == [0, 3]


def test_loaders_and_plain_fields_are_stored(reading):
    query = "{ texts { id title } __typename }"
    assert reading(query)[1] == STORED
    assert reading(query)[1] == HIT


@pytest.mark.repeats
def test_a_bypass_says_nothing_of_reads(reading, caplog):
    assert reading("{ orm }", no_store=True)[1] == "pcf; fwd=bypass"
    assert not [record for record in caplog.records if record.name == "pcf.undeclared_reads"]


def test_a_response_without_a_plan_is_not_stored_either(reading, monkeypatch):
    from pcf.execution import executor

    monkeypatch.setattr("pcf.http.operation_runner.execute", executor.execute_with_promises)
    for query, place in (("{ orm }", "Query.orm"), ("{ lazy }", "Query.lazy"),
                         ("{ texts { authorName } }", "Text.authorName")):  # fmt: skip
        assert f'"undeclared read at {place}"' in reading(query)[1]
    assert reading("{ declared }")[1] == STORED


@pytest.mark.repeats
def test_a_kind_that_no_write_touches_is_no_declaration(reading):
    query = "{ misspelt }"
    for _ in range(2):
        status = reading(query)[1]
        assert status.endswith('"undeclared read at the kind tagz, which no Touch declares"')


def test_without_a_touch_of_the_account_no_viewer_is_remembered(live_world, monkeypatch, caplog):
    declared = {model: it for model, it in triggers._declarations.items() if model is not User}
    monkeypatch.setattr(triggers, "_declarations", declared)
    service, token = service_of(SCHEMA, find_credentials), token_for(live_world.ann)
    request = GraphQLRequest(query="{ texts { title } }", token=token)
    for _ in range(2):
        response = service.answer(request, TimeoutContext.start("http", 30))
        assert "the kind account" in response.headers["Cache-Status"]
    User.objects.filter(pk=live_world.ann.pk).update(is_active=False)
    assert service.answer(request, TimeoutContext.start("http", 30)).status == 401
    assert "the kind account, which no Touch declares" in caplog.text


@pytest.mark.repeats
def test_what_the_code_of_an_instance_reads_is_not_the_loaders(reading):
    def read(**_):
        names()

    post_init.connect(read, sender=Note)
    try:
        status = reading("{ texts { declaredAuthorName } }")[1]
    finally:
        post_init.disconnect(read, sender=Note)
    assert status.endswith('"undeclared read at AllNotes"')
