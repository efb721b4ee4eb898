"""Mutations of notes.

No input has a field for the author: a new note belongs to the viewer, and only the admin can give a
note another author (``notes.admin.NoteForm``).
"""

from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from notes.models import MAX_CONTENT, MAX_TITLE, Note
from notes.policy import may_write, visible_notes
from notes.schema import NoteType
from pcf.execution.mutations import (
    clean,
    mutation,
    mutation_field,
    payload_errors,
    refusal,
    require_login,
)
from pcf.execution.paging import parse_id
from pcf.viewer import Viewer
from tags.models import Tag
from users import audit

MAX_TAGS = 100  # tags in one input

_TITLE = f"The title, at most {MAX_TITLE} characters."
_CONTENT = f"The text, at most {MAX_CONTENT} characters."
_IS_PUBLIC = "Whether everybody may read the note."
_FIELDS = {"title": "title", "content": "content", "is_public": "isPublic"}


class CreateNoteInput(graphene.InputObjectType):
    """A new note of the viewer."""

    title = graphene.String(required=True, description=_TITLE)
    content = graphene.String(default_value="", description=_CONTENT)
    is_public = graphene.Boolean(default_value=False, description=_IS_PUBLIC)
    tag_ids = graphene.List(
        graphene.NonNull(graphene.ID),
        default_value=[],
        description=f"The ids of the tags, {MAX_TAGS} at most.",
    )


class UpdateNoteInput(graphene.InputObjectType):
    """What to change of a note; what is left out stays."""

    id = graphene.ID(required=True, description="The id of the note.")
    title = graphene.String(description=_TITLE)
    content = graphene.String(description=_CONTENT)
    is_public = graphene.Boolean(description=_IS_PUBLIC)
    tag_ids = graphene.List(
        graphene.NonNull(graphene.ID),
        description=f"The ids of the tags that replace all tags, {MAX_TAGS} at most.",
    )


class DeleteNoteInput(graphene.InputObjectType):
    """The note to delete."""

    id = graphene.ID(required=True, description="The id of the note.")


class NoteTagsInput(graphene.InputObjectType):
    """A note and the tags to put on it or to take off."""

    note_id = graphene.ID(required=True, description="The id of the note.")
    tag_ids = graphene.List(
        graphene.NonNull(graphene.ID),
        required=True,
        description=f"The ids of the tags, {MAX_TAGS} at most.",
    )


class NotePayload(graphene.ObjectType):
    """The note after the change, null when it was refused."""

    note = graphene.Field(
        NoteType, description="The note after the change, null when it was refused."
    )
    user_errors = payload_errors()


class DeleteNotePayload(graphene.ObjectType):
    """The id of the note that is gone, null when the deletion was refused."""

    deleted_id = graphene.ID(
        description="The id of the note that is gone, null when the deletion was refused."
    )
    user_errors = payload_errors()


def _writable_note(viewer: Viewer, note_id: Any, field: str) -> Note:
    """Return the note, locked until the transaction ends.

    A note that the viewer may not read is treated as missing, and is not locked. Neither the answer
    nor its duration reveals the ids of private notes. Raises a refusal without a writable note.
    """
    require_login(viewer)
    key = parse_id(note_id) or 0
    notes = Note.objects.filter(visible_notes(viewer), pk=key)
    note: Note | None = notes.select_for_update(of=("self",)).first()
    if note is None:
        raise refusal("NOT_FOUND", "There is no such note.", field)
    if not may_write(viewer, note):
        raise refusal("FORBIDDEN", "Only its author may change this note.", field)
    return note


def _tags(tag_ids: list[Any]) -> list[Tag]:
    """Return the tags with these ids. Raises a refusal for a missing tag or too many ids."""
    if len(tag_ids) > MAX_TAGS:
        raise refusal("TOO_LONG", f"At most {MAX_TAGS} tags can be named at once.", "tagIds")
    keys = {parse_id(tag_id) or 0 for tag_id in tag_ids}
    tags = list(Tag.objects.filter(pk__in=keys))
    if len(tags) != len(keys):
        raise refusal("NOT_FOUND", "One of the tags does not exist.", "tagIds")
    return tags


def _record(viewer: Viewer, note: Note, changed: list[str]) -> None:
    """Record the fields that staff changed in a note of another user."""
    audit.record(viewer, note, note.author_id, audit.CHANGE, f"changed {', '.join(changed)}")


@mutation(NotePayload)
def create_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Create a note of the viewer."""
    del info
    require_login(viewer)
    note = Note(
        author_id=viewer.id or 0,
        title=values.title,
        content=values.content or "",
        is_public=bool(values.is_public),
    )
    clean(note, _FIELDS)
    tags = _tags(values.tag_ids or [])
    note.save(force_insert=True)
    if tags:
        note.tags.set(tags)
    return {"note": note}


@mutation(NotePayload)
def update_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Change a note."""
    del info
    note = _writable_note(viewer, values.id, "id")
    changed = [name for name in _FIELDS if values.get(name) is not None]
    for name in changed:
        setattr(note, name, values[name])
    clean(note, {name: _FIELDS[name] for name in changed})
    tag_ids = values.get("tag_ids")
    tags = None if tag_ids is None else _tags(tag_ids)
    if changed or tags is not None:
        note.save(update_fields=[*changed, "updated_at"])
        _record(viewer, note, [_FIELDS[name] for name in changed] + ["tags"] * (tags is not None))
    if tags is not None:
        note.tags.set(tags)
    return {"note": note}


@mutation(DeleteNotePayload)
def delete_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Delete a note."""
    del info
    note = _writable_note(viewer, values.id, "id")
    deleted_id = note.pk
    audit.record(viewer, note, note.author_id, audit.DELETION, "deleted")
    note.delete()
    return {"deleted_id": deleted_id}


@mutation(NotePayload)
def tag_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Add tags to a note. Tags that the note already has are no error."""
    del info
    note = _writable_note(viewer, values.note_id, "noteId")
    note.tags.add(*_tags(values.tag_ids))
    _record(viewer, note, ["tags"])
    return {"note": note}


@mutation(NotePayload)
def untag_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Remove tags from a note. Tags that the note does not have are no error."""
    del info
    note = _writable_note(viewer, values.note_id, "noteId")
    note.tags.remove(*_tags(values.tag_ids))
    _record(viewer, note, ["tags"])
    return {"note": note}


class NoteMutation(graphene.ObjectType):
    """Mutations of notes."""

    create_note = mutation_field(NotePayload, CreateNoteInput, create_note)
    update_note = mutation_field(NotePayload, UpdateNoteInput, update_note)
    delete_note = mutation_field(DeleteNotePayload, DeleteNoteInput, delete_note)
    tag_note = mutation_field(NotePayload, NoteTagsInput, tag_note)
    untag_note = mutation_field(NotePayload, NoteTagsInput, untag_note)
