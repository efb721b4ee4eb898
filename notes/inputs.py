"""The inputs and payloads of the mutations of notes."""

import graphene

from notes.models import MAX_CONTENT, MAX_TITLE
from notes.schema import NoteType
from notes.tagging import MAX_TAGS
from pcf.execution.mutations import payload_errors

MAX_NOTES = 100  # notes in one input

_TITLE = f"The title, at most {MAX_TITLE} characters."
_CONTENT = f"The text, at most {MAX_CONTENT} characters."
_IS_PUBLIC = "Whether everybody may read the note."
_EXPECTED_VERSION = (
    "The version of the note that the client has read. With another version nothing is written: "
    "the user error is CONFLICT, and 'note' is the note as it is now."
)
_NOTE_IDS = f"The ids of the notes, {MAX_NOTES} at most. One that is refused refuses all."
_TAG_IDS = f"The ids of the tags, {MAX_TAGS} at most together with 'tagNames'."
_TAG_NAMES = "The names of tags, without regard to case. Tags that do not exist are made."


class CreateNoteInput(graphene.InputObjectType):
    """A new note of the viewer."""

    title = graphene.String(required=True, description=_TITLE)
    content = graphene.String(default_value="", description=_CONTENT)
    is_public = graphene.Boolean(default_value=False, description=_IS_PUBLIC)
    tag_ids = graphene.List(graphene.NonNull(graphene.ID), default_value=[], description=_TAG_IDS)
    tag_names = graphene.List(
        graphene.NonNull(graphene.String), default_value=[], description=_TAG_NAMES
    )


class UpdateNoteInput(graphene.InputObjectType):
    """The changes of a note. A field that is left out stays as it is."""

    id = graphene.ID(required=True, description="The id of the note.")
    title = graphene.String(description=_TITLE)
    content = graphene.String(description=_CONTENT)
    is_public = graphene.Boolean(description=_IS_PUBLIC)
    tag_ids = graphene.List(
        graphene.NonNull(graphene.ID),
        description="The ids of the tags that replace all tags, together with 'tagNames'. Null "
        f"stands for no tags. Both may have {MAX_TAGS} items together.",
    )
    tag_names = graphene.List(
        graphene.NonNull(graphene.String),
        description="The names of the tags that replace all tags, together with 'tagIds'. Tags "
        "that do not exist are made. Null stands for no tags.",
    )
    expected_version = graphene.Int(description=_EXPECTED_VERSION)


class DeleteNoteInput(graphene.InputObjectType):
    """The note to move to the trash."""

    id = graphene.ID(required=True, description="The id of the note.")
    expected_version = graphene.Int(description=_EXPECTED_VERSION)


class DeleteNotesInput(graphene.InputObjectType):
    """The notes to move to the trash."""

    ids = graphene.List(graphene.NonNull(graphene.ID), required=True, description=_NOTE_IDS)


class TagNotesInput(graphene.InputObjectType):
    """Notes and the tags to put on each of them: ids, names, or both."""

    ids = graphene.List(graphene.NonNull(graphene.ID), required=True, description=_NOTE_IDS)
    tag_ids = graphene.List(graphene.NonNull(graphene.ID), description=_TAG_IDS)
    tag_names = graphene.List(graphene.NonNull(graphene.String), description=_TAG_NAMES)


class RestoreNoteInput(graphene.InputObjectType):
    """The note in the trash that becomes visible again."""

    id = graphene.ID(required=True, description="The id of the note.")


class PurgeNoteInput(graphene.InputObjectType):
    """The note in the trash to delete for ever."""

    id = graphene.ID(required=True, description="The id of the note.")


class NoteTagsInput(graphene.InputObjectType):
    """A note and the tags to put on it or to take off: ids, names, or both."""

    note_id = graphene.ID(required=True, description="The id of the note.")
    tag_ids = graphene.List(graphene.NonNull(graphene.ID), description=_TAG_IDS)
    tag_names = graphene.List(graphene.NonNull(graphene.String), description=_TAG_NAMES)
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


class DeleteNotesPayload(graphene.ObjectType):
    """The ids of the notes that are in the trash, null when the deletion was refused."""

    deleted_ids = graphene.List(
        graphene.NonNull(graphene.ID),
        description="The ids of the notes that are in the trash, null when the deletion was "
        "refused: then all notes stay where they are.",
    )
    user_errors = payload_errors()


class TagNotesPayload(graphene.ObjectType):
    """The notes after the change, by id; null when it was refused."""

    notes = graphene.List(
        graphene.NonNull(NoteType),
        description="The notes after the change, by id; null when it was refused. Then no note has "
        "changed.",
    )
    user_errors = payload_errors()


class PurgeNotePayload(graphene.ObjectType):
    """The id of the note that is gone for ever, null when the deletion was refused."""

    purged_id = graphene.ID(
        description="The id of the note that is gone for ever, null when the deletion was refused."
    )
    user_errors = payload_errors()
