"""Edges: their options and the arguments of their fields."""

import graphene
import pytest

from pcf.errors import InvalidArgument
from pcf.execution.edges import Edge, RootEdge, Route

OPTIONS = ("key", "many", "first", "size", "required", "description", "args")


def test_a_graphene_type_is_an_argument_with_the_name_of_an_option():
    arguments = {name: graphene.String() for name in OPTIONS}
    edge = Edge("notes.schema.NoteType", loader="notes.NoteById", **arguments)
    assert set(edge.args) == set(OPTIONS)
    assert (edge.columns, edge.many, edge.is_paged, edge.size) == (("id",), False, False, None)
    assert not isinstance(edge._type, graphene.NonNull)


def test_options_and_arguments_of_one_name():
    edge = Edge(
        "notes.schema.NoteType", loader="notes.NoteById", size=5, required=True,
        description="Text.", args={"size": graphene.Int(), "loader": graphene.String()},
        other=graphene.Int(),
    )  # fmt: skip
    assert set(edge.args) == {"size", "loader", "other"}
    assert (edge.size, edge.description) == (5, "Text.")


@pytest.mark.parametrize("name", ["first", "after"])
def test_an_argument_that_occurs_twice_is_refused(name):
    with pytest.raises(ValueError, match=f"two arguments called '{name}'"):
        Edge("notes.schema.NoteType", loader="notes.NotesByAuthor", many=True, first=5,
             args={name: graphene.Int()})  # fmt: skip
    with pytest.raises(ValueError, match="two arguments called 'size'"):
        Edge("notes.schema.NoteType", loader="notes.NoteById", size=graphene.Int(),
             args={"size": graphene.Int()})  # fmt: skip


@pytest.mark.parametrize("value", [graphene.Int, int])
def test_a_class_is_no_option(value):
    with pytest.raises(ValueError, match="Unknown argument"):
        Edge("notes.schema.NoteType", loader="notes.NoteById", required=value)


def test_pages_by_integers_are_as_they_were():
    edge = RootEdge("notes.schema.NoteType", loaders=("notes.AllNotes",), many=True, first=5,
                    route=lambda _context, given: Route("notes.AllNotes", "", given))  # fmt: skip
    assert edge.route(None, {"first": 2, "after": "7"}).arguments == {"first": 2, "after": "7"}
    nested = Edge("notes.schema.NoteType", loader="notes.NotesByAuthor", many=True, first=5)
    assert nested.route(None, {"first": 2}).arguments == {"first": 2, "after": 0}
    with pytest.raises(InvalidArgument):
        nested.route(None, {"first": 2, "after": "x"})
