"""The notes' part of the schema."""

from typing import Any

import graphene
from graphene_django import DjangoObjectType

from notes.models import Note
from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import Edge, RootEdge, Route, page_of
from pcf.execution.paging import parse_id
from pcf.execution.request import RequestContext
from pcf.execution.text import is_storable


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


def _notes(context: RequestContext, arguments: dict[str, Any]) -> Route:
    """The way to the notes of ``authorId``, with ``tag``, or both, or to all of them."""
    page = page_of(arguments)
    tag, author_id = arguments.get("tag"), arguments.get("author_id")
    author = None if author_id is None else parse_id(author_id)
    if author_id is not None and author is None:
        return Route("notes.NotesByAuthor", None)  # no author can have this id
    if tag is None:
        if author is None:
            return Route("notes.AllNotes", WHOLE, page)
        return Route("notes.NotesByAuthor", author, page)
    if author is not None:
        context.dependencies.add("notes-by-author", (author,))
        page["author"] = author
    return Route("notes.NotesByTagName", tag if is_storable(tag) else None, page)


class NoteQuery(graphene.ObjectType):
    """Queries for notes."""

    notes = RootEdge(
        "notes.schema.NoteType",
        loaders=("notes.AllNotes", "notes.NotesByAuthor", "notes.NotesByTagName"),
        route=_notes,
        many=True,
        first=20,
        description="The notes that the viewer may read, by id; of one author, with one tag.",
        author_id=graphene.ID(),
        tag=graphene.String(description="The name of a tag."),
    )
    note = RootEdge(
        "notes.schema.NoteType",
        loaders=("notes.NoteById",),
        route=lambda _context, arguments: Route("notes.NoteById", parse_id(arguments["id"])),
        id=graphene.ID(required=True),
    )
    user_notes = RootEdge(
        "notes.schema.NoteType",
        loaders=("notes.NotesByAuthor",),
        route=lambda _context, arguments: Route(
            "notes.NotesByAuthor", parse_id(arguments["user_id"]), page_of(arguments)
        ),
        many=True,
        first=20,
        description="The notes of one user that the viewer may read, by id.",
        user_id=graphene.ID(required=True),
    )
