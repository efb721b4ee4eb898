"""The loaders of a level send their statements at once, and each reads its own result."""

from dataclasses import replace

import pytest
from django.db import DataError, connection
from django.db.models import F, Value
from promise import Promise

from pcf.database.prepared_statements import PreparedReads
from pcf.database.query_log import count_queries
from pcf.execution import row_loaders
from pcf.execution.dependencies import Dependencies
from pcf.execution.loaders import Loader
from pcf.execution.promises import promise_scope, run
from pcf.execution.row_loaders import RowLoader
from pcf.execution.shared_statements import SharedStatements
from pcf.timeouts import TimeoutContext, activate
from pcf.viewer import ANONYMOUS
from tags.models import Tag
from tests.execution.helpers import load_level
from users.models import User

NOTE = """query($id: ID!) {
  note(id: $id) { title author { id name notes(first: 1) { title } } tags { id name } }
}"""


class Tags(RowLoader):
    dependency, model = "tag", Tag

    @classmethod
    def queryset(cls, viewer):
        return Tag.objects.all()


class Users(RowLoader):
    dependency, model = "user", User

    @classmethod
    def queryset(cls, viewer):
        return User.objects.all()


class Fractions(Tags):
    """A loader that fails for the tag called "red"."""

    @classmethod
    def queryset(cls, viewer):
        # a condition would fail for the tag, too, where PostgreSQL reads the whole table
        return Tag.objects.annotate(fraction=Value(1) / (F("pk") - cls.forbidden))


class Plain(Loader):
    """A loader without a planned read."""

    dependency = "plain"

    def load_batch(self, keys):
        return dict.fromkeys(keys, "plain")


@pytest.fixture
def sent(monkeypatch, live_world):
    """Record the number of statements that each dispatch sends at once."""
    connection.close()
    connection.close_pool()
    Fractions.forbidden = live_world.red.pk
    # the statement of another test has another number in it
    monkeypatch.setattr(row_loaders, "_statements", SharedStatements(100))
    told, send_pipeline = [], PreparedReads.send_pipeline

    def spy(self, asked, timer_of, **how):
        send_pipeline(self, asked, timer_of, **how)
        told.append(len(self._results))

    monkeypatch.setattr(PreparedReads, "send_pipeline", spy)
    with activate(TimeoutContext.start("http", 300.0)):  # a statement with less than 20 s has a SET
        # the first statement of a connection may send a SET with it
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        yield told


def level(*asked):
    """Load one level; ``asked`` holds pairs of a loader class and its keys."""
    with promise_scope():
        loaders = [(kind(ANONYMOUS, Dependencies(), {}), keys) for kind, keys in asked]
        found = run(Promise.all([load_level(loader, keys) for loader, keys in loaders]))
    return [[each[key] for key in keys] for each, (_, keys) in zip(found, loaders, strict=True)]


def test_statements_of_a_level_are_sent_at_once(sent, live_world):
    asked = (Tags, [live_world.red.pk, 0]), (Users, [live_world.ann.pk])
    expected = [[live_world.red, None], [live_world.ann]]
    for _ in range(2):
        assert level(*asked) == expected
    sent.clear()
    with count_queries(keep_texts=True) as log:
        assert level(*asked) == expected
    assert (sent, log.count) == ([2], 2)
    assert ["tags_tag" in text for text in log.statements] == [True, False]


def test_the_batches_of_one_loader_are_sent_at_once(sent, live_world, settings):
    settings.PCF = replace(settings.PCF, loaders=replace(settings.PCF.loaders, max_batch_size=2))
    keys = [live_world.red.pk, 0, live_world.blue.pk, -1, -2]
    expected = [[live_world.red, None, live_world.blue, None, None]]
    for _ in range(3):
        assert level((Tags, keys)) == expected
    assert sent[-1] == 3


def test_a_loader_without_a_statement_is_asked_as_ever(sent, live_world):
    for _ in range(3):
        assert level((Tags, [live_world.red.pk]), (Plain, [1]), (Users, [live_world.ann.pk])) == [
            [live_world.red],
            ["plain"],
            [live_world.ann],
        ]
    assert sent == []


def test_a_batch_that_fails_leaves_the_others_alone(sent, live_world):
    red, blue, ann = live_world.red.pk, live_world.blue.pk, live_world.ann.pk
    for _ in range(2):
        level((Fractions, [blue]), (Users, [ann]), (Tags, [red]))
    sent.clear()
    for _ in range(2):
        failed, users, tags = level((Fractions, [red]), (Users, [ann]), (Tags, [red]))
        assert isinstance(failed[0], DataError)
        assert (users, tags) == ([live_world.ann], [live_world.red])
    assert sent == [3]  # the connection no longer prepares the failed statement
    assert level((Fractions, [blue]), (Users, [ann])) == [[live_world.blue], [live_world.ann]]


def test_a_statement_that_cannot_be_written_is_an_error_of_its_loader(sent, live_world):
    class Broken(Tags):
        @classmethod
        def queryset(cls, viewer):
            raise ZeroDivisionError

    for _ in range(3):
        broken, users = level((Broken, [1]), (Users, [live_world.ann.pk]))
        assert isinstance(broken[0], ZeroDivisionError)
        assert users == [live_world.ann]


def test_an_operation_is_answered_the_same(sent, live_world, ask):
    answers = [
        ask(NOTE, variables={"id": live_world.public.pk}, **{"Cache-Control": "no-store"})
        for _ in range(4)
    ]
    assert answers[0].data["note"] == {
        "title": "public of ann",
        "author": {
            "id": str(live_world.ann.pk),
            "name": "Ann",
            "notes": [{"title": "public of ann"}],
        },
        "tags": [{"id": str(live_world.red.pk), "name": "red"}],
    }
    assert all(answer.data == answers[0].data for answer in answers)
    assert sent[-1] == 2
