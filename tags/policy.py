"""The rules for tags: every viewer may see them, a user may make them, staff may edit them."""

from pcf.viewer import Viewer


def may_create_tags(viewer: Viewer) -> bool:
    """Return whether the viewer may make tags."""
    return viewer.is_authenticated


def may_edit_tags(viewer: Viewer) -> bool:
    """Return whether the viewer may rename, merge and delete tags."""
    return viewer.is_staff
