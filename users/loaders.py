"""Loaders of users."""

from typing import Any

from django.db.models import QuerySet

from pcf.execution.row_loaders import RootPageLoader, RowLoader
from pcf.pagination.loaders import RootConnectionLoader
from pcf.viewer import Viewer
from users.filters import USER_FILTERS, USER_ORDERS
from users.models import User


class _Users(RowLoader):
    """Every viewer may see that a user exists."""

    model = User

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any, Any]:
        """Return all users."""
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


class UserConnections(_Users, RootConnectionLoader):
    """A page of users, filtered and sorted."""

    dependency = "users"
    row_dependency = "user"
    orders = USER_ORDERS
    filters = USER_FILTERS
