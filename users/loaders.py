"""Loaders of users."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import QuerySet

from pcf.execution.loaders import Loader
from pcf.execution.row_loaders import RootPageLoader, RowListLoader, RowLoader
from pcf.pagination.loaders import RootConnectionLoader
from pcf.viewer import Viewer
from users.filters import USER_FILTERS, USER_ORDERS
from users.models import ApiToken, Session, User
from users.policy import own_access


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


class SessionsByUser(RowListLoader):
    """The sessions of each user, by id: those of the viewer alone."""

    model = Session
    dependency = "sessions-by-user"
    key = "user_id"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any, Any]:
        """Return the sessions of the viewer."""
        return Session.objects.filter(own_access(viewer))


class TokensByUser(RowListLoader):
    """The API tokens of each user that are not revoked, by id: those of the viewer alone."""

    model = ApiToken
    dependency = "tokens-by-user"
    key = "user_id"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Any, Any]:
        """Return the tokens of the viewer, without the access tokens of sessions."""
        return ApiToken.objects.filter(own_access(viewer), session=None, revoked_at=None)


class SessionByToken(Loader):
    """The id of the session that each token belongs to, by the digest of the token."""

    def record(self, keys: Sequence[Any]) -> None:
        """Record nothing: what depends on the client's token is not stored."""

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, int | None]:
        """Return the ids by digest."""
        found = ApiToken.objects.filter(digest__in=keys).values_list("digest", "session_id")
        return {bytes(digest): session_id for digest, session_id in found}
