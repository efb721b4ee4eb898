"""Compiled query sets: their parameters, refused comparisons, and their rows."""

import pytest
from django.db import connection
from django.db.models import Q, Value
from django.test.utils import CaptureQueriesContext

from notes.models import Note
from pcf.database.compiled_queries import AnyOf, CompiledQuery, Parameter
from pcf.viewer import Viewer
from tags.models import Tag
from tests.conftest import make_user


def test_the_statement_is_the_same_for_other_values(db):
    first, second = make_user("Ann"), make_user("Ben")
    for user in (first, second):
        Note.objects.create(author=user, title=f"of {user.name}")
    notes = Note.objects.filter(author_id=Parameter("author")).values_list("title", "author_id")
    statement = CompiledQuery(notes, "default")
    with CaptureQueriesContext(connection) as captured:
        assert statement.rows("default", {"author": first.pk}) == [("of Ann", first.pk)]
        assert statement.rows("default", {"author": second.pk}) == [("of Ben", second.pk)]
        assert statement.rows("default", {"author": 0}) == []
    assert len({entry["sql"].replace(str(first.pk), "").replace(str(second.pk), "") for entry in
                captured.captured_queries[:2]}) == 1  # fmt: skip


def test_a_missing_value_is_an_error_and_no_statement(db):
    statement = CompiledQuery(Tag.objects.filter(id=Parameter("id")).values_list("id"), "default")
    with CaptureQueriesContext(connection) as captured, pytest.raises(KeyError):
        statement.rows("default", {})
    assert len(captured) == 0


def test_a_query_set_that_matches_nothing_sends_no_statement(db):
    statement = CompiledQuery(Tag.objects.filter(pk__in=[]).values_list("id"), "default")
    with CaptureQueriesContext(connection) as captured:
        assert statement.rows("default", {}) == []
    assert len(captured) == 0


def test_any_of_many_keys_is_one_parameter(db):
    tags = [Tag.objects.create(name=name) for name in ("a", "b", "c")]
    by_id = CompiledQuery(
        Tag.objects.filter(AnyOf("pk", Parameter("keys"))).values_list("name"), "default"
    )
    keys = [tags[2].pk, tags[0].pk, 0]
    assert sorted(by_id.rows("default", {"keys": keys})) == [("a",), ("c",)]
    by_name = Tag.objects.filter(AnyOf("name", Parameter("keys"))).values_list("id")
    names = ["b", "'; --", "{x,y}", 'quo"te', ""]
    found = CompiledQuery(by_name, "default").rows("default", {"keys": names})
    assert found == [(tags[1].pk,)]


def test_columns_have_their_order_and_djangos_values(db):
    user = make_user("Ann")
    note = Note.objects.create(author=user, title="t")
    columns = ("created_at", "id", "is_public", "author__name")
    notes = Note.objects.filter(id=Parameter("id")).annotate(mark=Value(7))
    rows = CompiledQuery(notes.values_list("mark", *columns), "default").rows(
        "default", {"id": note.pk}
    )
    assert rows == [(7, note.created_at, note.pk, False, "Ann")]


@pytest.mark.parametrize(
    "look",
    [
        lambda viewer: viewer.id == 1,
        lambda viewer: viewer.id != 1,
        lambda viewer: viewer.id in [1, 2],
        lambda viewer: viewer.id > 0,
        lambda viewer: f"{viewer.id}",
        lambda viewer: str(viewer.id),
        lambda viewer: int(viewer.id),
    ],
)
def test_python_cannot_compare_a_parameter(look):
    with pytest.raises(TypeError):
        look(Viewer(Parameter("viewer")))


def test_a_parameter_can_be_combined_in_conditions(db):
    viewer = Viewer(Parameter("viewer"))
    assert viewer.is_authenticated
    user = make_user("Ann")
    Note.objects.create(author=user, title="mine")
    condition = Q(is_public=True) | Q(author_id=viewer.id) & ~Q(author_id=Parameter("other"))
    statement = CompiledQuery(Note.objects.filter(condition).values_list("title"), "default")
    assert statement.rows("default", {"viewer": user.pk, "other": 0}) == [("mine",)]
    assert statement.rows("default", {"viewer": user.pk, "other": user.pk}) == []
