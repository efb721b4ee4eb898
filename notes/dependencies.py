"""What writes to notes, and to the tags on them, touch."""

from notes.models import Note, NoteTag
from pcf.cache.touches import Touch, declare

_PLACE = ("is_public", "author")  # what decides in which lists a note is, and for whom


def register_all() -> None:
    """Called when the app is ready.

    A note: itself, and when its place changes the list of notes, its author's notes, and the notes
    of its tags; a list depends on each note that it shows as well. A tag on a note: the note's
    tags and the tag's notes; it holds its note, so that a write to that note cannot miss the tag.
    """
    declare(
        Note,
        Touch(kind="note", key="id"),
        Touch(kind="notes", only=_PLACE),
        Touch(kind="notes-by-author", key="author", only=_PLACE),
        Touch(kind="notes-by-tag", key="tag", through=NoteTag, only=_PLACE),
    )
    declare(
        NoteTag,
        Touch(kind="tags-by-note", key="note"),
        Touch(kind="notes-by-tag", key="tag"),
        holding=("note",),
    )
