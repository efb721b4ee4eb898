"""Who may see and change tags: all may see them, staff change them (in the admin)."""

from pcf.viewer import Viewer


def may_edit_tags(viewer: Viewer) -> bool:
    """Tags are edited by staff."""
    return viewer.is_staff
