"""Loaders of users."""

from typing import Any

from django.db.models import QuerySet

from pcf.execution.row_loaders import RootPageLoader, RowLoader
from pcf.viewer import Viewer
from users.models import User


class _Users(RowLoader):
    """Everybody may know that somebody exists."""

    model = User

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any, Any]:
        """All users."""
        del viewer
        users: QuerySet[Any, Any] = User.objects.all()
        return users


class UserById(_Users):
    """Users by primary key."""

    dependency = "user"


class AllUsers(_Users, RootPageLoader):
    """A page of all users. Arguments: ``first``, ``after``."""

    dependency = "users"
    row_dependency = "user"
