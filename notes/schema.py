"""The part of the schema about notes."""

from typing import Any

import graphene
from graphene_django import DjangoObjectType

from notes.filters import TAGS_OF_NOTES
from notes.models import MAX_CONTENT, MAX_TITLE, Note
from pcf.execution.context import RequestContext
from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import Edge, RootEdge, Route
from pcf.execution.mutations import is_storable
from pcf.execution.nodes import Node, NodeId
from pcf.execution.paging import page_of, parse_id
from pcf.pagination.fields import ConnectionField, Facets, RowConnection, Snippet


class NoteType(DjangoObjectType):
    """A text of its author."""

    node_id = NodeId("notes.NoteById")
    id = graphene.ID(required=True, description="The primary key: unique among notes.")
    title = graphene.String(
        required=True, description=f"The title, at most {MAX_TITLE} characters."
    )
    content = graphene.String(
        required=True, description=f"The text, at most {MAX_CONTENT} characters."
    )
    is_public = graphene.Boolean(
        required=True, description="Whether everybody may read the note, or its author and staff."
    )
    created_at = graphene.DateTime(required=True, description="When the note was written.")
    updated_at = graphene.DateTime(required=True, description="When the note was saved last.")
    deleted_at = graphene.DateTime(
        description="When the note was moved to the trash; null outside of the trash."
    )
    version = graphene.Int(
        required=True,
        description="Grows with each write to the note and to its tags. It starts at 1. Pass it as "
        "'expectedVersion' to change nothing but what you have read.",
    )
    author = Edge(
        "users.schema.UserType",
        loader="users.UserById",
        key="author_id",
        required=True,
        description="The user who wrote the note.",
    )
    tags = Edge(
        "tags.schema.TagType",
        loader="notes.TagsByNote",
        many=True,
        size=5,
        description="The tags of this note, by id.",
    )

    tags_connection = ConnectionField(
        "tags.schema.TagConnection",
        loader="notes.TagConnectionsByNote",
        description="The tags of this note.",
    )

    class Meta:
        """Only these fields of the model are public."""

        name = "Note"
        model = Note
        interfaces = (Node,)
        fields = (
            "id", "title", "content", "is_public", "created_at", "updated_at", "deleted_at",
            "version",
        )  # fmt: skip


class TrashConnection(RowConnection):
    """Notes in the trash, page by page."""

    class Meta:
        """The rows are notes."""

        node = NoteType


class TagFacet(graphene.ObjectType):
    """A tag, and the number of notes of a list that have it."""

    tag = Edge(
        "tags.schema.TagType",
        loader="tags.TagById",
        key="key",
        required=True,
        description="The tag.",
    )
    count = graphene.Int(required=True, description="The number of notes.")


class NoteConnection(RowConnection):
    """Notes, page by page."""

    tag_facets = Facets(
        TagFacet,
        source=TAGS_OF_NOTES,
        first=20,
        description="The tags of all notes that match the filter, those with the most notes first.",
    )

    class Meta:
        """The rows are notes."""

        node = NoteType

    class Edge:
        """The fields of an edge besides Relay's."""

        snippet = Snippet(loader="notes.NoteSnippets")


def _notes(context: RequestContext, arguments: dict[str, Any]) -> Route:
    """Return the route to all notes, or to those of ``authorId``, with ``tag``, or both."""
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
        author_id=graphene.ID(description="The id of the user who wrote the notes."),
        tag=graphene.String(description="The name of a tag."),
    )
    notes_connection = ConnectionField(
        "notes.schema.NoteConnection",
        loader="notes.NoteConnections",
        key=None,
        description="The notes that the viewer may read.",
    )
    note = RootEdge(
        "notes.schema.NoteType",
        loaders=("notes.NoteById",),
        route=lambda _context, arguments: Route("notes.NoteById", parse_id(arguments["id"])),
        description="One note; null if there is none that the viewer may read.",
        id=graphene.ID(required=True, description="The id of the note."),
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
        user_id=graphene.ID(required=True, description="The id of the user."),
    )
