"""Who may see and change what of a user."""

from pcf.viewer import Viewer


def may_see_email(viewer: Viewer, user_id: int) -> bool:
    """E-mail addresses are for oneself and for staff."""
    return viewer.is_staff or viewer.id == user_id


def may_edit_profile(viewer: Viewer, user_id: int) -> bool:
    """A profile is edited by its owner or by staff."""
    return viewer.is_staff or viewer.id == user_id
