"""The tags' part of the schema."""

from typing import Any

import graphene
from graphene_django import DjangoObjectType
from graphql import GraphQLResolveInfo

from pcf.execution.edges import Edge
from pcf.execution.hints import CacheHint, cache_hints
from pcf.execution.paging import page_arguments, parse_id, parse_page
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

    tags = graphene.List(
        graphene.NonNull(TagType),
        required=True,
        description="All tags, by id.",
        **page_arguments(20),
    )
    tag = graphene.Field(TagType, id=graphene.ID(required=True))

    @staticmethod
    def resolve_tags(_root: Any, info: GraphQLResolveInfo, first: int, after: Any = None) -> Any:
        """A page of tags."""
        page = parse_page(first, after)
        info.context.dependencies.add_list("tags")
        return list(Tag.objects.filter(id__gt=page.after).order_by("id")[: page.first])

    @staticmethod
    def resolve_tag(_root: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        """One tag, or null."""
        tag_id = parse_id(arguments["id"])
        return tag_id and info.context.loaders.get("tags.TagById").load(tag_id)
