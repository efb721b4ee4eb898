"""Light rows hold their columns, and any other attribute is an error."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notes.models import Note
from pcf.execution.context import RequestContext
from pcf.execution.plan_cache import loader_columns
from pcf.execution.rows import requires_columns, row_class
from tests.conftest import make_user
from users.models import User


def test_rows_have_their_columns_and_the_primary_key():
    row = row_class(Note, ("author_id", "id", "title"))((7, 3, "text"))
    assert (row.author_id, row.id, row.pk, row.title) == (7, 3, 3, "text")
    assert row_class(Note, ("author_id", "id", "title")) is type(row)


def test_a_column_that_was_not_fetched_is_an_error_and_no_statement(db):
    user = make_user("Ann")
    loader = RequestContext().loaders.get_light("users.UserById", ("id", "name"), {})
    row = loader.load_batch([user.pk])[user.pk]
    with CaptureQueriesContext(connection) as captured, pytest.raises(AttributeError):
        row.email  # noqa: B018
    assert len(captured) == 0


def test_without_columns_there_are_instances(db):
    user = make_user("Ann")
    loader = RequestContext().loaders.get("users.UserById")
    found = loader.load_batch([user.pk, 0])
    assert found == {user.pk: user}
    assert found[user.pk].__dict__.keys() == User.objects.get(pk=user.pk).__dict__.keys()


def test_a_loader_of_instances_is_preferred_where_there_is_one():
    loaders = RequestContext().loaders
    light = loaders.get_light("users.UserById", ("id", "name"), {})
    assert light.columns == ("id", "name")
    assert loaders.get_light("users.UserById", ("id", "name"), {}) is light
    whole = loaders.get("users.UserById")
    assert whole.columns is None
    assert loaders.get_light("users.UserById", ("id", "name"), {}) is whole


def test_resolvers_declare_their_columns():
    @requires_columns("id", "email")
    def resolve(parent, info):
        return parent.email

    assert resolve.columns == ("id", "email")


def test_no_fields_need_no_columns():
    assert loader_columns(None, ()) == {}
