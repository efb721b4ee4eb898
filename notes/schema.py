"""The notes' part of the schema."""

from typing import Any

import graphene
from graphene_django import DjangoObjectType
from graphql import GraphQLResolveInfo

from notes.models import Note
from notes.policy import visible_notes
from pcf.execution.edges import Edge
from pcf.execution.paging import page_arguments, parse_id, parse_page
from pcf.execution.text import is_storable
from tags.models import Tag


class NoteType(DjangoObjectType):
    """A text of its author."""

    author = Edge("users.schema.UserType", loader="users.UserById", key="author_id", required=True)
    tags = Edge(
        "tags.schema.TagType",
        loader="notes.TagsByNote",
        many=True,
        size=5,
        description="The tags of this note, by id.",
    )

    class Meta:
        """Only these fields of the model are public."""

        name = "Note"
        model = Note
        fields = ("id", "title", "content", "is_public", "created_at", "updated_at")


class NoteQuery(graphene.ObjectType):
    """Queries for notes."""

    notes = graphene.List(
        graphene.NonNull(NoteType),
        required=True,
        description="The notes that the viewer may read, by id; of one author, with one tag.",
        author_id=graphene.ID(),
        tag=graphene.String(description="The name of a tag."),
        **page_arguments(20),
    )
    note = graphene.Field(NoteType, id=graphene.ID(required=True))
    user_notes = graphene.List(
        graphene.NonNull(NoteType),
        required=True,
        description="The notes of one user that the viewer may read, by id.",
        user_id=graphene.ID(required=True),
        **page_arguments(20),
    )

    @staticmethod
    def resolve_notes(
        _root: Any,
        info: GraphQLResolveInfo,
        first: int,
        after: Any = None,
        author_id: Any = None,
        tag: str | None = None,
    ) -> Any:
        """A page of notes; an author or a tag that does not exist has none."""
        page = parse_page(first, after)
        context = info.context
        notes = Note.objects.filter(visible_notes(context.viewer), id__gt=page.after)
        if author_id is not None:
            author = parse_id(author_id) or 0
            context.dependencies.add("notes-by-author", (author,))
            notes = notes.filter(author_id=author)
        if tag is None:
            if author_id is None:
                context.dependencies.add_list("notes")
            return list(notes.order_by("id")[: page.first])

        if not is_storable(tag):
            return []

        def of_tag(found: Tag | None) -> list[Note]:
            if found is None:
                return []
            context.dependencies.add("notes-by-tag", (found.pk,))
            return list(notes.filter(notetag__tag_id=found.pk).order_by("id")[: page.first])

        return context.loaders.get("tags.TagByName").load(tag).then(of_tag)

    @staticmethod
    def resolve_note(_root: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        """One note, or null when there is none that the viewer may read."""
        note_id = parse_id(arguments["id"])
        return note_id and info.context.loaders.get("notes.NoteById").load(note_id)

    @staticmethod
    def resolve_user_notes(
        _root: Any, info: GraphQLResolveInfo, user_id: Any, first: int, after: Any = None
    ) -> Any:
        """The page of a user's notes, from the same loader as ``User.notes``."""
        page = parse_page(first, after)
        author = parse_id(user_id)
        if author is None:
            return []
        loader = info.context.loaders.get("notes.NotesByAuthor", first=page.first, after=page.after)
        return loader.load(author)
