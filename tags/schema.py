"""The tags' part of the schema."""

import graphene
from graphene_django import DjangoObjectType

from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import Edge, RootEdge, Route, page_of
from pcf.execution.hints import CacheHint, cache_hints
from pcf.execution.paging import parse_id
from tags.models import Tag

PUBLIC = CacheHint(public=True)  # all viewers see the same tags


@cache_hints(id=PUBLIC, name=PUBLIC)
class TagType(DjangoObjectType):
    """A word that notes are marked with."""

    notes = Edge(
        "notes.schema.NoteType",
        loader="notes.NotesByTag",
        many=True,
        first=100,
        description="The notes with this tag that the viewer may read, by id.",
    )

    class Meta:
        """Only these fields of the model are public."""

        name = "Tag"
        model = Tag
        fields = ("id", "name")


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
    tag = RootEdge(
        "tags.schema.TagType",
        loaders=("tags.TagById",),
        route=lambda _context, arguments: Route("tags.TagById", parse_id(arguments["id"])),
        id=graphene.ID(required=True),
    )
