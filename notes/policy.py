"""The rules for notes. Lists, loaders, mutations and the admin all apply them."""

from django.db.models import Q

from notes.models import Note
from pcf.viewer import Viewer


def visible_notes(viewer: Viewer) -> Q:
    """Return a filter for the notes that the viewer may read.

    A viewer may read public notes and their own; staff may read all.
    """
    if viewer.is_staff:
        return Q()
    if viewer.is_authenticated:
        return Q(is_public=True) | Q(author_id=viewer.id)
    return Q(is_public=True)


def may_read(viewer: Viewer, note: Note) -> bool:
    """Return whether the viewer may read ``note``, by the rule of ``visible_notes``."""
    return viewer.is_staff or note.is_public or may_write(viewer, note)


def may_write(viewer: Viewer, note: Note) -> bool:
    """Return whether the viewer may change ``note``: its author or staff.

    No mutation changes the author of a note. Only the admin does (``notes.admin.NoteForm``).
    """
    return viewer.is_staff or (viewer.is_authenticated and note.author_id == viewer.id)
