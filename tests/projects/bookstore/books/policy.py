"""Who may see books and reviews: loaders, mutations and the admin all ask here."""

from django.db.models import Q

from pcf.viewer import Viewer


def visible_books(viewer: Viewer) -> Q:
    """Return the books that ``viewer`` may see: published ones; staff see all."""
    return Q() if viewer.is_staff else Q(is_published=True)


def visible_reviews(viewer: Viewer) -> Q:
    """Return the reviews that ``viewer`` may see: approved ones and their own; staff see all."""
    if viewer.is_staff:
        return Q()
    if viewer.is_authenticated:
        return Q(is_approved=True) | Q(reader_id=viewer.id)
    return Q(is_approved=True)
