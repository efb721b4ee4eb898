"""Mutations of notes.

No input has a field for the author: a new note belongs to the viewer, and only the admin can give a
note another author (``notes.admin.NoteForm``).
"""

from collections.abc import Callable, Sequence
from typing import Any

import graphene
from django.db.models import Q
from django.utils import timezone
from graphql import GraphQLResolveInfo

from notes import inputs, trash
from notes.models import Note, NoteTag
from notes.policy import may_write, restorable_notes, visible_notes
from notes.tagging import chosen_tags, names_tags
from pcf.execution.mutations import (
    MutationRefused,
    assign,
    clean,
    mutation,
    mutation_field,
    refusal,
    require_login,
)
from pcf.execution.paging import parse_id
from pcf.viewer import Viewer
from users import audit

_FIELDS = {"title": "title", "content": "content", "is_public": "isPublic"}
_NO_NOTE, _NOT_YOURS = "There is no such note", "Only its author may change this note"


def _writable_note(viewer: Viewer, note_id: Any, field: str, expected: int | None = None) -> Note:
    """Return the note, locked until the transaction ends.

    A note that the viewer may not read is treated as missing, and is not locked. Neither the answer
    nor its duration reveals the ids of private notes. Raises a refusal without a writable note, and
    for a note that has another version than ``expected``.
    """
    note = _locked_note(viewer, visible_notes, note_id, field)
    if not may_write(viewer, note):
        raise refusal("FORBIDDEN", f"{_NOT_YOURS}.", field)
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
        raise refusal("NOT_FOUND", f"{_NO_NOTE}.", field)
    return note


def _writable_notes(viewer: Viewer, note_ids: Sequence[Any]) -> list[Note]:
    """Return the notes by id, locked until the transaction ends; one statement fetches them.

    Raises a refusal with an error for each id without a writable note, and for too many ids.
    """
    require_login(viewer)
    if len(note_ids) > inputs.MAX_NOTES:
        message = f"At most {inputs.MAX_NOTES} notes can be named at once."
        raise refusal("TOO_LONG", message, "ids")
    keys = [parse_id(note_id) or 0 for note_id in note_ids]
    notes = Note.objects.filter(visible_notes(viewer), pk__in=keys).order_by("pk")
    found = {note.pk: note for note in notes.select_for_update(of=("self",))}
    errors: list[tuple[str | None, str, str]] = []
    for position, key in enumerate(keys, 1):
        place = f"item {position} of 'ids'"
        if key not in found:
            errors.append(("ids", "NOT_FOUND", f"{_NO_NOTE}: {place}."))
        elif not may_write(viewer, found[key]):
            errors.append(("ids", "FORBIDDEN", f"{_NOT_YOURS}: {place}."))
    if errors:
        raise MutationRefused(*errors)
    return list(found.values())


def _with_versions(*notes: Note) -> list[Note]:
    """Return the notes with the versions that the triggers have given to them."""
    keys = [note.pk for note in notes]
    versions = dict(Note.objects.filter(pk__in=keys).values_list("pk", "version"))
    for note in notes:
        note.version = versions[note.pk]
    return list(notes)


def _record(viewer: Viewer, note: Note, changed: list[str]) -> None:
    """Record the fields that staff changed in a note of another user."""
    audit.record(viewer, note, note.author_id, audit.CHANGE, f"changed {', '.join(changed)}")


@mutation(inputs.NotePayload)
def create_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Create a note of the viewer."""
    del info
    require_login(viewer)
    note = Note(author_id=viewer.id or 0)
    assign(note, {name: values.get(name) for name in _FIELDS})
    clean(note, _FIELDS)
    tags = chosen_tags(viewer, values)
    note.save(force_insert=True)
    if tags:
        note.tags.set(tags)
        _with_versions(note)
    return {"note": note}


@mutation(inputs.NotePayload)
def update_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Change a note. A null clears what may be empty, and is REQUIRED for what may not."""
    del info
    note = _writable_note(viewer, values.id, "id", values.get("expected_version"))
    changed = {name: values[name] for name in _FIELDS if name in values}
    assign(note, changed)
    clean(note, {name: _FIELDS[name] for name in changed})
    tags = chosen_tags(viewer, values) if names_tags(values) else None
    if changed or tags is not None:
        note.save(update_fields=[*changed, "updated_at"])
        _record(viewer, note, [_FIELDS[name] for name in changed] + ["tags"] * (tags is not None))
    if tags is not None:
        note.tags.set(tags)
    _with_versions(note)
    return {"note": note}


@mutation(inputs.DeleteNotePayload)
def delete_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Move a note to the trash. No other field than 'User.trash' shows it there."""
    del info
    note = _writable_note(viewer, values.id, "id", values.get("expected_version"))
    audit.record(viewer, note, note.author_id, audit.DELETION, "moved to the trash")
    note.deleted_at = timezone.now()
    note.save(update_fields=["deleted_at"])
    return {"deleted_id": note.pk}


@mutation(inputs.DeleteNotesPayload)
def delete_notes(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Move notes to the trash: all of them, or none when one is refused."""
    del info
    notes = _writable_notes(viewer, values.ids)
    keys = [note.pk for note in notes]
    audit.record_all(viewer, notes, "author_id", audit.DELETION, "moved to the trash")
    Note.objects.filter(pk__in=keys).update(deleted_at=timezone.now())
    return {"deleted_ids": keys}


@mutation(inputs.NotePayload)
def restore_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Take a note out of the trash, with its tags."""
    del info
    note = _locked_note(viewer, restorable_notes, values.id, "id")
    audit.record(viewer, note, note.author_id, audit.CHANGE, "restored")
    note.deleted_at = None
    note.save(update_fields=["deleted_at"])
    _with_versions(note)
    return {"note": note}


@mutation(inputs.PurgeNotePayload)
def purge_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Delete a note in the trash for ever."""
    del info
    note = _locked_note(viewer, restorable_notes, values.id, "id")
    audit.record(viewer, note, note.author_id, audit.DELETION, "deleted for ever")
    trash.purge([note.pk])
    return {"purged_id": note.pk}


@mutation(inputs.NotePayload)
def tag_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Add tags to a note. Tags that the note already has are no error."""
    del info
    note = _writable_note(viewer, values.note_id, "noteId", values.get("expected_version"))
    note.tags.add(*chosen_tags(viewer, values))
    _record(viewer, note, ["tags"])
    _with_versions(note)
    return {"note": note}


@mutation(inputs.TagNotesPayload)
def tag_notes(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Add tags to notes: to all of them, or to none when one is refused."""
    del info
    notes = _writable_notes(viewer, values.ids)
    tags = chosen_tags(viewer, values)
    links = [NoteTag(note=note, tag=tag) for note in notes for tag in tags]
    NoteTag.objects.bulk_create(links, ignore_conflicts=True)
    audit.record_all(viewer, notes, "author_id", audit.CHANGE, "changed tags")
    return {"notes": _with_versions(*notes)}


@mutation(inputs.NotePayload)
def untag_note(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Remove tags from a note. Tags that the note does not have are no error."""
    del info
    note = _writable_note(viewer, values.note_id, "noteId", values.get("expected_version"))
    note.tags.remove(*chosen_tags(viewer, values, create=False))
    _record(viewer, note, ["tags"])
    _with_versions(note)
    return {"note": note}


class NoteMutation(graphene.ObjectType):
    """Mutations of notes."""

    create_note = mutation_field(inputs.NotePayload, inputs.CreateNoteInput, create_note)
    update_note = mutation_field(inputs.NotePayload, inputs.UpdateNoteInput, update_note)
    delete_note = mutation_field(inputs.DeleteNotePayload, inputs.DeleteNoteInput, delete_note)
    delete_notes = mutation_field(inputs.DeleteNotesPayload, inputs.DeleteNotesInput, delete_notes)
    restore_note = mutation_field(inputs.NotePayload, inputs.RestoreNoteInput, restore_note)
    purge_note = mutation_field(inputs.PurgeNotePayload, inputs.PurgeNoteInput, purge_note)
    tag_note = mutation_field(inputs.NotePayload, inputs.NoteTagsInput, tag_note)
    tag_notes = mutation_field(inputs.TagNotesPayload, inputs.TagNotesInput, tag_notes)
    untag_note = mutation_field(inputs.NotePayload, inputs.NoteTagsInput, untag_note)
