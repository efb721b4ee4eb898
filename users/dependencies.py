"""What writes to users and tokens touch."""

from pcf.cache.touches import Touch, declare
from users.models import ApiToken, User

# what no answer shows and no policy asks for
_UNSEEN = (
    "username", "password", "last_login", "first_name", "last_name", "is_superuser", "date_joined",
)  # fmt: skip
_RIGHTS = ("is_active", "is_staff")


def register_all() -> None:
    """Called when the app is ready.

    A user: its record, and when it comes or goes the list of users, which depends on each user
    that it shows as well; ``account`` is what it may do, on which everything depends that is
    answered to it. A token: the credentials that are remembered for it.
    """
    declare(
        User,
        Touch(kind="user", key="id", ignoring=(*_UNSEEN, *_RIGHTS)),
        Touch(kind="users", only=("id",)),
        Touch(kind="account", key="id", ignoring=(*_UNSEEN, "name", "email", "created_at")),
    )
    unread = ("name", "last_used_at", "replaced_by")
    declare(ApiToken, Touch(kind="api-token", key="id", ignoring=unread))
