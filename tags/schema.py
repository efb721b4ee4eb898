"""The part of the schema about tags."""

import graphene
from graphene_django import DjangoObjectType

from pcf.execution.cache_hints import CacheHint, cache_hints
from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import Edge, RootEdge, Route
from pcf.execution.nodes import Node, NodeId
from pcf.execution.paging import page_of, parse_id
from pcf.pagination.fields import ConnectionField, RowConnection
from tags.models import Tag

PUBLIC = CacheHint(public=True)  # all viewers see the same values


@cache_hints(id=PUBLIC, node_id=PUBLIC, name=PUBLIC)
class TagType(DjangoObjectType):
    """A word that notes are marked with."""

    node_id = NodeId("tags.TagById")
    id = graphene.ID(required=True, description="The primary key: unique among tags.")
    name = graphene.String(required=True, description="The word, unique among tags.")
    notes = Edge(
        "notes.schema.NoteType",
        loader="notes.NotesByTag",
        many=True,
        first=100,
        description="The notes with this tag that the viewer may read, by id.",
    )

    notes_connection = ConnectionField(
        "notes.schema.NoteConnection",
        loader="notes.NoteConnectionsByTag",
        description="The notes with this tag that the viewer may read.",
    )
    note_count = Edge(
        graphene.Int,
        loader="notes.NoteCountByTag",
        required=True,
        description="The number of notes with this tag that the viewer may read.",
    )

    class Meta:
        """Only these fields of the model are public."""

        name = "Tag"
        model = Tag
        interfaces = (Node,)
        fields = ("id", "name")


class TagConnection(RowConnection):
    """Tags, page by page."""

    class Meta:
        """The rows are tags."""

        node = TagType


@cache_hints(tags=PUBLIC, tag=PUBLIC)
class TagQuery(graphene.ObjectType):
    """Queries for tags."""

    tags = RootEdge(
        "tags.schema.TagType",
        loaders=("tags.AllTags",),
        route=lambda _context, arguments: Route("tags.AllTags", WHOLE, page_of(arguments)),
        many=True,
        first=20,
        description="All tags, by id.",
    )
    tags_connection = ConnectionField(
        "tags.schema.TagConnection",
        loader="notes.TagConnections",
        key=None,
        description="All tags.",
    )
    tag = RootEdge(
        "tags.schema.TagType",
        loaders=("tags.TagById",),
        route=lambda _context, arguments: Route("tags.TagById", parse_id(arguments["id"])),
        description="One tag; null if there is none.",
        id=graphene.ID(required=True, description="The id of the tag."),
    )
