"""``manage.py check`` finds wrong names of loaders, kinds and fields."""

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test.utils import isolate_apps
from graphene_django import DjangoObjectType

from notes.loaders import AllNotes, NotesByAuthor, NotesByTag
from notes.models import Note, NoteTag
from notes.schema import NoteType
from pcf import checks
from pcf.cache import triggers
from pcf.cache.triggers import Touch, declare
from pcf.checks import check_edges, check_reads, check_touches
from pcf.execution.context import RequestContext
from pcf.execution.nodes import Node, NodeId, NodeTypes
from pcf.project.schema import schema
from tags.models import Tag
from tags.schema import TagType
from users.loaders import UserById
from users.models import ApiToken, User
from users.schema import UserType


@pytest.fixture
def edge():
    """The edge User.notes."""
    return schema.graphql_schema.type_map["User"].fields["notes"].resolve.__self__


@isolate_apps("users")
def test_a_loader_by_a_key_that_has_no_type(monkeypatch):
    class Timed(models.Model):
        duration = models.DurationField()

        class Meta:
            app_label = "users"

    class ByDuration(UserById):
        model = Timed
        key = "duration"

    monkeypatch.setattr(checks, "find_loader", lambda _name: ByDuration)
    messages = told(checks.check_loaders())
    assert {code for code, _ in messages} == {"pcf.E008"}
    assert "cannot look up rows of users.Timed by 'duration'" in messages[0][1]
    context = RequestContext()
    loader = ByDuration(context.viewer, context.dependencies, {})
    with pytest.raises(ImproperlyConfigured, match="cannot look up rows"):
        loader.load_batch([timedelta(1)])


def test_pages_of_a_model_with_another_order(monkeypatch):
    assert checks.check_loaders() == []
    monkeypatch.setattr(Note._meta, "ordering", ("-title",))
    assert {code for code, _ in told(checks.check_loaders())} == {"pcf.E009"}
    for loader in (NotesByAuthor, NotesByTag, AllNotes):
        monkeypatch.setattr(loader, "order_by", ("pk",))
    assert checks.check_loaders() == []
    monkeypatch.setattr(NotesByAuthor, "order_by", ("title",))
    ((code, message),) = told(checks.check_loaders())
    assert (code, "notes.NotesByAuthor" in message) == ("pcf.E009", True)


def test_an_order_by_a_column_that_may_be_null(monkeypatch):
    assert checks.check_orders() == []
    monkeypatch.setattr(Note._meta.get_field("updated_at"), "null", True)
    messages = told(checks.check_orders())
    assert {code for code, _ in messages} == {"pcf.E011"}
    expected = "notes.NoteConnections: the column updated_at of the order UPDATED_AT may be NULL"
    assert expected in {message for _, message in messages}


@pytest.mark.usefixtures("_copied_declarations")
def test_a_kind_whose_keys_have_another_type(monkeypatch):
    declare(Tag, Touch(kind="by-text", key="name"))
    monkeypatch.setattr(NotesByAuthor, "dependency", "by-text")
    monkeypatch.setattr(NotesByTag, "row_dependency", "by-text")
    messages = told(checks.check_loaders())
    assert {code for code, _ in messages} == {"pcf.W002"}
    types = "has keys of the type integer, and its touches have keys of the type text"
    assert {message.partition(": every")[0] for _, message in messages} == {
        f"notes.NotesByAuthor: dependency 'by-text' {types}",
        f"notes.NotesByTag: row_dependency 'by-text' {types}",
    }


@pytest.fixture
def _copied_declarations(monkeypatch):
    monkeypatch.setattr(triggers, "_declarations", dict(triggers._declarations))


def told(errors):
    return [(error.id, error.msg) for error in errors]


@pytest.fixture
def node_id():
    """The field Tag.nodeId."""
    return schema.graphql_schema.type_map["Tag"].fields["nodeId"].resolve.__self__


@pytest.mark.parametrize("name", ["notes.NoteById", "tags.TagByName", "tags.AllTags"])
def test_a_node_whose_loader_has_other_rows_or_keys(monkeypatch, node_id, name):
    monkeypatch.setattr(node_id, "loader", name)
    ((code, message),) = told(checks.check_nodes())
    expected = f"Tag.nodeId: {name} does not load the rows of the type by their keys"
    assert (code, message) == ("pcf.E010", expected)


@pytest.fixture
def finding(monkeypatch):
    """``finding(*types)``: ``node`` and ``nodes`` find nodes of these types alone."""

    def find(*types):
        for field in ("node", "nodes"):
            edge = schema.graphql_schema.query_type.fields[field].resolve.__self__
            monkeypatch.setattr(edge, "nodes", NodeTypes(types))

    return find


def test_a_node_that_no_field_finds(finding):
    finding(NoteType, UserType)
    ((code, message),) = told(checks.check_nodes())
    expected = "Tag.nodeId: no field of Query finds an object by this id"
    assert (code, message) == ("pcf.E010", expected)


def test_a_node_that_is_not_in_the_schema(finding):
    class Word(DjangoObjectType):
        node_id = NodeId("tags.TagById")

        class Meta:
            model = ApiToken
            fields = ("id",)
            interfaces = (Node,)
            skip_registry = True

    finding(NoteType, UserType, TagType, Word)
    ((code, message),) = told(checks.check_nodes())
    expected = "Query finds nodes of the type Word, which the schema does not have"
    assert (code, message) == ("pcf.E010", expected)


def test_this_project_has_no_wrong_name():
    ways = (check_edges, check_touches, check_reads, checks.check_loaders, checks.check_nodes)
    assert [way() for way in ways] == [[]] * 5


@pytest.mark.parametrize("name", ["notes.NotesByAutor", "nots.NotesByAuthor", "NotesByAuthor"])
def test_a_loader_that_does_not_exist(edge, monkeypatch, name):
    monkeypatch.setattr(edge, "loaders", (name,))
    ((code, message),) = told(check_edges())
    assert code == "pcf.E001"
    assert message.startswith(f"User.notes: there is no loader {name}: ")


@pytest.mark.parametrize("attribute", ["dependency", "row_dependency"])
def test_a_dependency_that_no_write_touches(monkeypatch, attribute):
    monkeypatch.setattr(NotesByAuthor, attribute, "notes-by-autor")
    ((code, message),) = told(check_edges())
    assert code == "pcf.E002"
    assert f"no Touch has the kind 'notes-by-autor' of {attribute}" in message


def test_a_model_without_a_declaration(monkeypatch):
    known = {model: it for model, it in triggers._declarations.items() if model is not Tag}
    monkeypatch.setattr(triggers, "_declarations", known)
    codes = {code for code, _ in told(check_edges())}
    assert codes == {"pcf.E002", "pcf.E007"}  # a connection of notes filters by names of tags


@pytest.mark.parametrize(
    ("touch", "problem"),
    [
        (Touch(kind="x", key="autor"), "notes.Note has no field 'autor'"),
        (Touch(kind="x", only=("is_publik",)), "notes.Note has no field 'is_publik'"),
        (Touch(kind="x", ignoring=("is_publik",)), "notes.Note has no field 'is_publik'"),
        (Touch(kind="x", key="tags"), "the field 'tags' has no column in the table"),
        (Touch(kind="x", key="tg", through=NoteTag), "notes.NoteTag has no field 'tg'"),
        (Touch(kind="x", through=User), "users.User has no foreign key to the model"),
    ],
)
@pytest.mark.usefixtures("_copied_declarations")
def test_a_wrong_name_in_a_touch(touch, problem):
    declare(Note, touch)
    expected = f"touches.py declares Touch(kind='x') of notes.Note: {problem}"
    assert told(check_touches()) == [("pcf.E003", expected)]


@pytest.mark.usefixtures("_copied_declarations")
def test_a_wrong_name_in_holding():
    declare(NoteTag, holding=("not",))
    expected = "touches.py declares holding of notes.NoteTag: notes.NoteTag has no field 'not'"
    assert told(check_touches()) == [("pcf.E003", expected)]


def test_fields_of_graphene_django_that_read_the_database(settings):
    settings.GRAPHENE = {"SCHEMA": "tests.http.undeclared.graphene_schema"}
    warned = {warning.msg.partition(" reads")[0] for warning in check_reads()}
    assert warned == {
        "Query.tagList", "Query.connection", "Query.node", "Text.author", "Text.tags",
        "Labelled.tag",
    }  # fmt: skip
    assert {warning.id for warning in check_reads()} == {"pcf.W003"}
