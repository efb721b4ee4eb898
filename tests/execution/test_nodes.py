"""Nodes: their ids, and what ``node`` and ``nodes`` find."""

from base64 import urlsafe_b64encode

import graphene
import pytest
from django.core.exceptions import ImproperlyConfigured
from graphene_django import DjangoObjectType
from graphql import parse
from hypothesis import given
from hypothesis import strategies as st

from notes.models import Note
from notes.schema import NoteType
from pcf.execution.context import RequestContext
from pcf.execution.edges import RootEdge, Route
from pcf.execution.executor import execute as by_plan
from pcf.execution.executor import execute_with_promises as by_promises
from pcf.execution.nodes import (
    MAX_NODES,
    Node,
    NodeEdge,
    NodeId,
    NodesEdge,
    NodeTypes,
    make_node_id,
    parse_node_id,
)
from pcf.execution.plan_cache import PlanCache
from pcf.execution.promise_executor import PromiseExecutionContext
from pcf.project.schema import schema
from pcf.viewer import ANONYMOUS, Viewer
from tags.models import Tag
from tests.execution.test_executor_project import executed

both = pytest.mark.parametrize("way", [by_plan, by_promises])

# -- ids

names = st.from_regex(r"[_A-Za-z][_0-9A-Za-z]*", fullmatch=True)
keys = st.one_of(st.integers(), st.uuids(), st.text(st.characters(exclude_categories=["Cs"])))


@given(names, keys)
def test_an_id_tells_its_type_and_key(name, key):
    node_id = make_node_id(name, key)
    assert parse_node_id(node_id) == (name, str(key))
    assert node_id.isascii()
    assert not set(node_id) & set("+/= ")


def test_an_id_stays_the_same():
    assert make_node_id("Note", 7) == "Tm90ZTo3"


@given(st.text())
def test_any_text_is_an_id_of_one_object_or_of_none(text):
    parsed = parse_node_id(text)
    assert parsed is None or make_node_id(*parsed) == text


def encoded(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "7", "Note:7", encoded(b"Note"), encoded(b"\xff:1"), encoded(b"Note:7") + "=",
        "Tm90ZTo3\n", "T m90ZTo3", "Tm90ZTo3!", "Tm90ZTozB", "\ud800", "Tm90ZTo3é",
    ],
)  # fmt: skip
def test_a_text_that_is_no_id(text):
    assert parse_node_id(text) is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Note", "07"), ("Note", "+7"), ("Note", " 7"), ("Note", "x"), ("Note", ""),
        ("Note", 2**63), ("Note", "\u0667"), ("Nothing", 7), ("note", 7), ("Query", 7), ("", 7),
    ],
)  # fmt: skip
def test_an_id_that_no_object_has(name, key):
    assert NodeTypes([NoteType]).route(make_node_id(name, key)).key is None


def test_the_route_of_an_id():
    route = NodeTypes([NoteType]).route(make_node_id("Note", 7))
    assert (route.loader, route.key) == ("notes.NoteById", 7)


# -- declarations


def test_types_that_are_no_nodes():
    class Plain(DjangoObjectType):
        class Meta:
            model = Tag
            fields = ("id",)
            skip_registry = True

    class WithoutId(DjangoObjectType):
        class Meta:
            model = Tag
            fields = ("id",)
            interfaces = (Node,)
            skip_registry = True

    class WithoutInterface(DjangoObjectType):
        node_id = NodeId("tags.TagById")

        class Meta:
            model = Tag
            fields = ("id",)
            skip_registry = True

    for type_ in (Plain, WithoutId, WithoutInterface):
        with pytest.raises(ImproperlyConfigured, match=f"{type_.__name__} is no node"):
            NodeEdge(type_)


def test_two_types_of_one_model():
    class OtherNote(DjangoObjectType):
        node_id = NodeId("notes.NoteById")

        class Meta:
            model = Note
            fields = ("id",)
            interfaces = (Node,)
            skip_registry = True

    with pytest.raises(ImproperlyConfigured, match="NoteType and OtherNote are nodes of one model"):
        NodesEdge(NoteType, OtherNote)


# -- what is found


def ids(*rows):
    return [make_node_id(type(row).__name__, row.pk) for row in rows]


def quoted(node_ids):
    return ", ".join(f'"{node_id}"' for node_id in node_ids)


def ask(way, text, viewer=ANONYMOUS, **variables):
    return executed(way, parse(text), viewer, variable_values=variables)


@both
def test_nodes_come_in_the_order_of_their_ids_with_a_statement_for_each_type(world, way):
    rows = [world.red, world.ann, world.public, world.bob, world.blue, world.red]
    result, dependencies, sql = ask(
        way, f"{{ nodes(nodeIds: [{quoted(ids(*rows))}]) {{ __typename nodeId }} }}"
    )
    assert result.errors is None
    types = ["Tag", "User", "Note", "User", "Tag", "Tag"]
    assert result.data["nodes"] == [
        {"__typename": name, "nodeId": node_id}
        for name, node_id in zip(types, ids(*rows), strict=True)
    ]
    assert len(sql) == 3
    assert dependencies == {
        "tag": {world.red.pk, world.blue.pk},
        "user": {world.ann.pk, world.bob.pk},
        "note": {world.public.pk},
    }


@both
def test_nobody_finds_a_node_that_they_may_not_see(world, way):
    text = """query ($one: ID!, $all: [ID!]!) {
        node(nodeId: $one) { nodeId } nodes(nodeIds: $all) { nodeId } }"""
    absent = make_node_id("Note", 999_999_999)
    hidden, *_ = given = [*ids(world.private, world.public), absent, "x"]
    for viewer, seen in (
        (ANONYMOUS, [None, given[1], None, None]),
        (Viewer(world.bob.pk), [None, given[1], None, None]),
        (Viewer(world.ann.pk), [*given[:2], None, None]),
        (Viewer(world.staff.pk, is_staff=True), [*given[:2], None, None]),
    ):
        result, dependencies, _ = ask(way, text, viewer, one=hidden, all=given)
        assert result.errors is None
        found = [result.data["node"], *result.data["nodes"]]
        assert [node and node["nodeId"] for node in found] == [seen[0], *seen]
        expected = {world.private.pk, world.public.pk, 999_999_999}
        assert dependencies["note"] == expected, "a row that appears removes the response"


@both
def test_more_nodes_than_one_operation_may_ask_for(world, way):
    text = "query ($ids: [ID!]!) { nodes(nodeIds: $ids) { nodeId } }"
    result, _, _ = ask(way, text, ids=["x"] * MAX_NODES)
    assert result.data == {"nodes": [None] * MAX_NODES}
    result, _, sql = ask(way, text, ids=ids(*[world.ann] * (MAX_NODES + 1)))
    assert (result.data, sql) == (None, [])
    assert result.errors[0].message == "'nodeIds' may have 100 ids, got 101"


def test_only_the_columns_that_are_needed_are_fetched(world):
    text = f"""{{ nodes(nodeIds: [{quoted(ids(world.public, world.ann))}]) {{
        nodeId ... on Note {{ title }} ... on User {{ email }} }} }}"""
    result, _, sql = ask(by_plan, text, Viewer(world.ann.pk))
    assert result.data["nodes"][1]["email"] == world.ann.email
    notes, users = sorted(sql, key=lambda text: "users_user" in text)
    assert "title" in notes
    assert "content" not in notes
    assert "email" in users
    assert "password" not in users
    result, _, (note,) = ask(by_plan, f'{{ node(nodeId: "{ids(world.public)[0]}") {{ nodeId }} }}')
    assert result.data["node"]["nodeId"] == ids(world.public)[0]
    assert "title" not in note


@pytest.mark.parametrize(
    ("selected", "is_innermost"),
    [
        ("nodeId ... on Note { title }", True),
        ("... on Note { title } ... on Tag { id notes { id } }", False),
    ],
)
def test_a_plan_knows_when_nothing_is_read_behind_nodes(selected, is_innermost):
    """The last statement of a query needs no transaction."""
    document = parse(
        f'{{ node(nodeId: "x") {{ {selected} }} nodes(nodeIds: []) {{ {selected} }} }}'
    )
    context = PromiseExecutionContext.build(schema.graphql_schema, document)
    plan = PlanCache(eager=True).plan(context, document)
    assert [field.is_innermost for field in plan.fields] == [is_innermost] * 2


@both
def test_the_row_of_a_type_that_decides_for_itself(world, way):
    """An interface with a resolve_type of its own sees instances of the model."""
    seen = []

    class Titled(graphene.Interface):
        title = graphene.String()

        @classmethod
        def resolve_type(cls, instance, info):
            seen.append(type(instance))

    class Page(DjangoObjectType):
        class Meta:
            model = Note
            fields = ("title",)
            interfaces = (Titled,)
            skip_registry = True

    class Query(graphene.ObjectType):
        titled = RootEdge(
            Titled,
            loaders=("notes.NoteById",),
            route=lambda *_: Route("notes.NoteById", world.public.pk),
        )

    titles = graphene.Schema(query=Query, types=[Page]).graphql_schema
    result = way(titles, parse("{ titled { title } }"), context_value=RequestContext())
    assert result.data == {"titled": {"title": "public of ann"}}
    assert seen == [Note]
