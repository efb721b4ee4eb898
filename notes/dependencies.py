"""What writes to notes, and to the tags on them, touch."""

from collections.abc import Sequence

from notes.models import Note, NoteTag
from pcf.cache.invalidation import register
from pcf.execution.dependencies import Dependencies


def notes_touched(notes: Sequence[Note], deleting: bool) -> Dependencies:
    """A note: itself, the list of notes, its author's notes, and the notes of its tags.

    On deletion the rows of NoteTag go as well and speak for the tags. One SQL statement otherwise.
    """
    touched = Dependencies()
    if not notes:
        return touched
    keys = [note.pk for note in notes]
    touched.add("note", keys)
    touched.add("notes-by-author", {note.author_id for note in notes})
    touched.add_list("notes")
    if not deleting:
        links = NoteTag.objects.filter(note_id__in=keys)
        touched.add("notes-by-tag", links.values_list("tag_id", flat=True).distinct())
    return touched


def note_tags_touched(links: Sequence[NoteTag], deleting: bool) -> Dependencies:
    """A tag on a note: the note's tags and the tag's notes."""
    del deleting
    touched = Dependencies()
    touched.add("tags-by-note", [link.note_id for link in links])
    touched.add("notes-by-tag", [link.tag_id for link in links])
    return touched


def register_all() -> None:
    """Called when the app is ready."""
    register(Note, ("note", "notes", "notes-by-author", "notes-by-tag"), notes_touched)
    register(NoteTag, ("tags-by-note", "notes-by-tag"), note_tags_touched)
