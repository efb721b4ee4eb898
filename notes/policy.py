"""The rules for notes. Lists, loaders, mutations and the admin all apply them.

Four other places know that all viewers see public notes, and change with that rule:
``note_count`` (``notes.filters``), the counters (``notes.tag_counts``), ``_LISTED_BY``
(``notes.touches``), and the conditions of indexes (``notes.models``).
"""

from django.db.models import Q

from notes.models import Note
from pcf.viewer import Viewer

LISTED = Q(deleted_at=None)  # the notes outside of the trash
IN_TRASH = Q(deleted_at__isnull=False)
NOTHING = Q(pk__in=[])


def visible_notes(viewer: Viewer) -> Q:
    """Return a filter for the notes that the viewer may read.

    A viewer may read public notes and their own; staff may read all. ``is_staff`` is True for a
    token with the scope admin alone (``Viewer.from_token``), so staff with another scope read what
    all others do. Nobody reads a note in the trash this way.
    """
    if viewer.is_staff:
        return LISTED
    if viewer.is_authenticated:
        return LISTED & (Q(is_public=True) | Q(author_id=viewer.id))
    return LISTED & Q(is_public=True)


def own_trash(viewer: Viewer) -> Q:
    """Return a filter for the notes in the viewer's own trash, which ``User.trash`` lists."""
    if not viewer.is_authenticated:
        return NOTHING
    return IN_TRASH & Q(author_id=viewer.id)


def restorable_notes(viewer: Viewer) -> Q:
    """Return a filter for the notes in the trash that the viewer may restore and purge.

    These are the viewer's own; staff may restore all. ``may_write`` holds for each.
    """
    return IN_TRASH if viewer.is_staff else own_trash(viewer)


def may_read(viewer: Viewer, note: Note) -> bool:
    """Return whether the viewer may read ``note``, by the rule of ``visible_notes``."""
    if note.deleted_at is not None:
        return False
    return viewer.is_staff or note.is_public or may_write(viewer, note)


def may_restore(viewer: Viewer, note: Note) -> bool:
    """Return whether the viewer may restore and purge ``note``: ``restorable_notes``."""
    return note.deleted_at is not None and may_write(viewer, note)


def may_write(viewer: Viewer, note: Note) -> bool:
    """Return whether the viewer may change ``note``: its author or staff.

    No mutation changes the author of a note. Only the admin does (``notes.admin.NoteForm``).
    """
    return viewer.is_staff or (viewer.is_authenticated and note.author_id == viewer.id)
