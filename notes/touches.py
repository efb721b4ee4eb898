"""What writes to notes, and to the tags on them, touch.

A write to a note touches the note. A note that comes, goes, is published, changes its author, or
moves to the trash or back also touches the list of notes, its author's notes, and the notes of its
tags. Those lists depend on each note that they show as well.

A tag put on a note touches the note's tags and the tag's notes, and the note, whose version grows
(``notes.versions``). The trigger locks the note (``holding``), so that a write to the note at the
same time cannot miss the tag.
"""

from notes.models import Note, NoteTag, TagCount
from pcf.cache.triggers import Touch, declare, list_touches

_LISTED_BY = (
    "is_public",
    "author",
    "deleted_at",
)  # the columns that decide which lists show a note, and to whom
_LINK = ("note", "tag")  # the other columns are copies of the note's

# the columns by which connections of notes are filtered and sorted
_COLUMNS = ("created_at", "updated_at", "title_folded", "search_vector")

declare(
    Note,
    Touch(kind="note", key="id", ignoring=("title_folded", "search_vector")),
    Touch(kind="notes", only=_LISTED_BY),
    Touch(kind="notes-by-author", key="author", only=_LISTED_BY),
    Touch(kind="notes-by-tag", key="tag", through=NoteTag, only=_LISTED_BY),
    *list_touches("notes", *_COLUMNS),
    *list_touches("notes-by-author", *_COLUMNS, key="author"),
    *list_touches("notes-by-tag", *_COLUMNS, key="tag", through=NoteTag),
    Touch(kind="tags.note_count", only=_LISTED_BY, updates_only=True),
    Touch(kind="trash", key="author", only=("author", "deleted_at")),
)
declare(
    NoteTag,
    Touch(kind="tags-by-note", key="note", only=_LINK),
    Touch(kind="notes-by-tag", key="tag", only=_LINK),
    Touch(kind="notes.tags", only=_LINK),
    Touch(kind="notes-by-author.tags", key="author", via="note", only=_LINK),
    *list_touches("notes", "created_at"),
    *list_touches("notes-by-author", "created_at", key="author", via="note"),
    *list_touches("notes-by-tag", "created_at", key="tag"),
    Touch(kind="tags.note_count", only=_LINK),
    holding=("note",),
)
declare(
    TagCount,
    Touch(kind="notes-by-tag", key="tag", only=("tag", "total", "public")),
    Touch(kind="tags.note_count", only=("tag", "total", "public")),
)
