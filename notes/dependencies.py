"""What writes to notes, and to the tags on them, touch."""

from notes.models import Note, NoteTag
from pcf.cache.touches import Touch, declare


def register_all() -> None:
    """Called when the app is ready.

    A note: itself, the list of notes, its author's notes, and the notes of its tags. A tag on a
    note: the note's tags and the tag's notes; it holds its note, so that a write to that note
    cannot miss the tag.
    """
    declare(
        Note,
        Touch(kind="note", key="id"),
        Touch(kind="notes"),
        Touch(kind="notes-by-author", key="author"),
        Touch(kind="notes-by-tag", key="tag", through=NoteTag),
    )
    declare(
        NoteTag,
        Touch(kind="tags-by-note", key="note"),
        Touch(kind="notes-by-tag", key="tag"),
        holding=("note",),
    )
