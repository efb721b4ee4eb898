"""Mutations of notes.

No input has a field for the author: a new note belongs to the viewer, and only the admin can give a
note another author (``notes.admin.NoteForm``).
"""

from collections.abc import Callable
from typing import Any

import graphene
from django.db.models import Q
from django.utils import timezone
from graphql import GraphQLResolveInfo

from notes import trash
from notes.models import MAX_CONTENT, MAX_TITLE, Note
from notes.policy import may_write, restorable_notes, visible_notes
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
_EXPECTED_VERSION = (
    "The version of the note that the client has read. With another version nothing is written: "
    "the user error is CONFLICT, and 'note' is the note as it is now."
)
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
    expected_version = graphene.Int(description=_EXPECTED_VERSION)


class DeleteNoteInput(graphene.InputObjectType):
    """The note to move to the trash."""

    id = graphene.ID(required=True, description="The id of the note.")
    expected_version = graphene.Int(description=_EXPECTED_VERSION)


class RestoreNoteInput(graphene.InputObjectType):
    """The note in the trash that becomes visible again."""

    id = graphene.ID(required=True, description="The id of the note.")


class PurgeNoteInput(graphene.InputObjectType):
    """The note in the trash to delete for ever."""

    id = graphene.ID(required=True, description="The id of the note.")


class NoteTagsInput(graphene.InputObjectType):
    """A note and the tags to put on it or to take off."""

    note_id = graphene.ID(required=True, description="The id of the note.")
    tag_ids = graphene.List(
        graphene.NonNull(graphene.ID),
        required=True,
        description=f"The ids of the tags, {MAX_TAGS} at most.",
    )
    expected_version = graphene.Int(description=_EXPECTED_VERSION)


class NotePayload(graphene.ObjectType):
    """The note after the change, or as it is now after a conflict."""

    note = graphene.Field(
        NoteType,
        description="The note after the change. After a CONFLICT it is the note as it is now. "
        "After any other refusal it is null.",
    )
    user_errors = payload_errors()


class DeleteNotePayload(graphene.ObjectType):
    """The id of the note that is in the trash, null when the deletion was refused."""

    deleted_id = graphene.ID(
        description="The id of the note that is in the trash, null when the deletion was refused."
    )
    note = graphene.Field(
        NoteType, description="The note as it is now after a CONFLICT, null otherwise."
    )
    user_errors = payload_errors()


class PurgeNotePayload(graphene.ObjectType):
    """The id of the note that is gone for ever, null when the deletion was refused."""

    purged_id = graphene.ID(
        description="The id of the note that is gone for ever, null when the deletion was refused."
    )
    user_errors = payload_errors()


def _writable_note(viewer: Viewer, note_id: Any, field: str, expected: int | None = None) -> Note:
    """Return the note, locked until the transaction ends.

    A note that the viewer may not read is treated as missing, and is not locked. Neither the answer
    nor its duration reveals the ids of private notes. Raises a refusal without a writable note, and
    for a note that has another version than ``expected``.
    """
    note = _locked_note(viewer, visible_notes, note_id, field)
    if not may_write(viewer, note):
        raise refusal("FORBIDDEN", "Only its author may change this note.", field)
    if expected is not None and note.version != expected:
        message = f"The note has version {note.version} by now, not {expected}."
        raise refusal("CONFLICT", message, "expectedVersion", note=note)
    return note


def _locked_note(viewer: Viewer, rule: Callable[[Viewer], Q], note_id: Any, field: str) -> Note:
    """Return the note among those of ``rule``, locked until the transaction ends."""
    require_login(viewer)
    notes = Note.objects.filter(rule(viewer), pk=parse_id(note_id) or 0)
    note: Note | None = notes.select_for_update(of=("self",)).first()
    if note is None:
        raise refusal("NOT_FOUND", "There is no such note.", field)
    return note


def _with_version(note: Note) -> Note:
    """Return the note with the version that the triggers have given to it."""
    note.refresh_from_db(fields=("version",))
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
    note = _writable_note(viewer, values.id, "id", values.get("expected_version"))
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
    return {"note": _with_version(note)}


@mutation(DeleteNotePayload)
def delete_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Move a note to the trash. No other field than 'User.trash' shows it there."""
    del info
    note = _writable_note(viewer, values.id, "id", values.get("expected_version"))
    audit.record(viewer, note, note.author_id, audit.DELETION, "moved to the trash")
    note.deleted_at = timezone.now()
    note.save(update_fields=["deleted_at"])
    return {"deleted_id": note.pk}


@mutation(NotePayload)
def restore_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Take a note out of the trash, with its tags."""
    del info
    note = _locked_note(viewer, restorable_notes, values.id, "id")
    audit.record(viewer, note, note.author_id, audit.CHANGE, "restored")
    note.deleted_at = None
    note.save(update_fields=["deleted_at"])
    return {"note": _with_version(note)}


@mutation(PurgeNotePayload)
def purge_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Delete a note in the trash for ever."""
    del info
    note = _locked_note(viewer, restorable_notes, values.id, "id")
    audit.record(viewer, note, note.author_id, audit.DELETION, "deleted for ever")
    trash.purge([note.pk])
    return {"purged_id": note.pk}


@mutation(NotePayload)
def tag_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Add tags to a note. Tags that the note already has are no error."""
    del info
    note = _writable_note(viewer, values.note_id, "noteId", values.get("expected_version"))
    note.tags.add(*_tags(values.tag_ids))
    _record(viewer, note, ["tags"])
    return {"note": _with_version(note)}


@mutation(NotePayload)
def untag_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Remove tags from a note. Tags that the note does not have are no error."""
    del info
    note = _writable_note(viewer, values.note_id, "noteId", values.get("expected_version"))
    note.tags.remove(*_tags(values.tag_ids))
    _record(viewer, note, ["tags"])
    return {"note": _with_version(note)}


class NoteMutation(graphene.ObjectType):
    """Mutations of notes."""

    create_note = mutation_field(NotePayload, CreateNoteInput, create_note)
    update_note = mutation_field(NotePayload, UpdateNoteInput, update_note)
    delete_note = mutation_field(DeleteNotePayload, DeleteNoteInput, delete_note)
    restore_note = mutation_field(NotePayload, RestoreNoteInput, restore_note)
    purge_note = mutation_field(PurgeNotePayload, PurgeNoteInput, purge_note)
    tag_note = mutation_field(NotePayload, NoteTagsInput, tag_note)
    untag_note = mutation_field(NotePayload, NoteTagsInput, untag_note)
