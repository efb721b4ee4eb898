"""What writes to users and tokens touch."""

from collections.abc import Sequence

from pcf.cache.invalidation import register
from pcf.execution.dependencies import Dependencies
from users.models import ApiToken, User


def users_touched(users: Sequence[User], deleting: bool) -> Dependencies:
    """A user: itself (also as a viewer) and the list of users."""
    del deleting
    touched = Dependencies()
    if users:
        touched.add("user", [user.pk for user in users])
        touched.add_list("users")
    return touched


def tokens_touched(tokens: Sequence[ApiToken], deleting: bool) -> Dependencies:
    """A token: the credentials that are remembered for it."""
    del deleting
    touched = Dependencies()
    touched.add("api-token", [token.pk for token in tokens])
    return touched


def register_all() -> None:
    """Called when the app is ready."""
    register(User, ("user", "users"), users_touched)
    register(ApiToken, ("api-token",), tokens_touched)
