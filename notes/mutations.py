"""Mutations of notes."""

from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from notes.models import Note
from notes.policy import may_write, visible_notes
from notes.schema import NoteType
from pcf.execution.mutations import clean, mutation, payload_errors, refuse, require_login
from pcf.execution.paging import parse_id
from pcf.viewer import Viewer
from tags.models import Tag
from users import audit

MAX_TAGS = 100  # tags in one input

_FIELDS = {"title": "title", "content": "content", "is_public": "isPublic"}


class CreateNoteInput(graphene.InputObjectType):
    """A new note of the viewer."""

    title = graphene.String(required=True)
    content = graphene.String(default_value="")
    is_public = graphene.Boolean(default_value=False)
    tag_ids = graphene.List(graphene.NonNull(graphene.ID), default_value=[])


class UpdateNoteInput(graphene.InputObjectType):
    """What to change of a note; what is left out stays. ``tagIds`` replaces all tags."""

    id = graphene.ID(required=True)
    title = graphene.String()
    content = graphene.String()
    is_public = graphene.Boolean()
    tag_ids = graphene.List(graphene.NonNull(graphene.ID))


class DeleteNoteInput(graphene.InputObjectType):
    """The note to delete."""

    id = graphene.ID(required=True)


class NoteTagsInput(graphene.InputObjectType):
    """A note and the tags to put on it or to take off."""

    note_id = graphene.ID(required=True)
    tag_ids = graphene.List(graphene.NonNull(graphene.ID), required=True)


class NotePayload(graphene.ObjectType):
    """The note after the change, null when it was refused."""

    note = graphene.Field(NoteType)
    user_errors = payload_errors()


class DeleteNotePayload(graphene.ObjectType):
    """The id of the note that is gone, null when the deletion was refused."""

    deleted_id = graphene.ID()
    user_errors = payload_errors()


def _writable_note(viewer: Viewer, note_id: Any, field: str) -> Note:
    """The note, locked until the transaction ends.

    One that the viewer may not read is as absent as one that does not exist, and is not locked
    either: neither the answer nor how long it takes tells ids of others' private notes.
    """
    require_login(viewer)
    key = parse_id(note_id) or 0
    notes = Note.objects.filter(visible_notes(viewer), pk=key)
    note: Note | None = notes.select_for_update(of=("self",)).first()
    if note is None:
        raise refuse("NOT_FOUND", "There is no such note.", field)
    if not may_write(viewer, note):
        raise refuse("FORBIDDEN", "Only its author may change this note.", field)
    return note


def _tags(tag_ids: list[Any]) -> list[Tag]:
    """The tags with these ids; refused when one does not exist or there are too many."""
    if len(tag_ids) > MAX_TAGS:
        raise refuse("TOO_LONG", f"At most {MAX_TAGS} tags can be named at once.", "tagIds")
    keys = {parse_id(tag_id) or 0 for tag_id in tag_ids}
    tags = list(Tag.objects.filter(pk__in=keys))
    if len(tags) != len(keys):
        raise refuse("NOT_FOUND", "One of the tags does not exist.", "tagIds")
    return tags


def _record(viewer: Viewer, note: Note, changed: list[str]) -> None:
    """Write down what staff change of somebody else's note."""
    audit.record(viewer, note, note.author_id, audit.CHANGE, f"changed {', '.join(changed)}")


@mutation(NotePayload)
def create_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Write a note."""
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
    """Put tags on a note; those it carries already stay."""
    del info
    note = _writable_note(viewer, values.note_id, "noteId")
    note.tags.add(*_tags(values.tag_ids))
    _record(viewer, note, ["tags"])
    return {"note": note}


@mutation(NotePayload)
def untag_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Take tags off a note; those it does not carry are no error."""
    del info
    note = _writable_note(viewer, values.note_id, "noteId")
    note.tags.remove(*_tags(values.tag_ids))
    _record(viewer, note, ["tags"])
    return {"note": note}


def _field(payload: Any, input_type: Any, resolver: Any) -> graphene.Field:
    return graphene.Field(
        payload, input=input_type(required=True), required=True, resolver=resolver
    )


class NoteMutation(graphene.ObjectType):
    """Mutations of notes."""

    create_note = _field(NotePayload, CreateNoteInput, create_note)
    update_note = _field(NotePayload, UpdateNoteInput, update_note)
    delete_note = _field(DeleteNotePayload, DeleteNoteInput, delete_note)
    tag_note = _field(NotePayload, NoteTagsInput, tag_note)
    untag_note = _field(NotePayload, NoteTagsInput, untag_note)
