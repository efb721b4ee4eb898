"""The rules that decide who may see and change a user's data."""

from django.db.models import Q

from pcf.viewer import Viewer


def may_see_email(viewer: Viewer, user_id: int) -> bool:
    """Return whether the viewer may see the user's e-mail address: the user or staff."""
    return viewer.is_staff or viewer.id == user_id


def may_edit_profile(viewer: Viewer, user_id: int) -> bool:
    """Return whether the viewer may edit the user's profile: the user or staff."""
    return viewer.is_staff or viewer.id == user_id


def own_access(viewer: Viewer) -> Q:
    """Return a filter for the sessions and the tokens that the viewer may see and end: their own.

    Staff see those of others in the admin alone.
    """
    return Q(user_id=viewer.id) if viewer.is_authenticated else Q(pk__in=[])
