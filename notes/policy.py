"""Who may see and change a note: lists, loaders, mutations and the admin all ask here."""

from django.db.models import Q

from notes.models import Note
from pcf.viewer import Viewer


def visible_notes(viewer: Viewer) -> Q:
    """The notes that ``viewer`` may read: public ones and their own; staff read all."""
    if viewer.is_staff:
        return Q()
    if viewer.is_authenticated:
        return Q(is_public=True) | Q(author_id=viewer.id)
    return Q(is_public=True)


def may_read(viewer: Viewer, note: Note) -> bool:
    """The same rule for a note at hand."""
    return viewer.is_staff or note.is_public or may_write(viewer, note)


def may_write(viewer: Viewer, note: Note) -> bool:
    """A note is written by its author or by staff."""
    return viewer.is_staff or (viewer.is_authenticated and note.author_id == viewer.id)
