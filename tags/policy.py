"""The rules for tags: every viewer may see them, staff may edit them (in the admin)."""

from pcf.viewer import Viewer


def may_edit_tags(viewer: Viewer) -> bool:
    """Return whether the viewer may edit tags."""
    return viewer.is_staff
