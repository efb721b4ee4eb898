"""What writes to users and tokens touch.

``user`` is a user's record, ``users`` the list of users, which also depends on each user that it
shows. ``account`` is what a user may do: every response to that user depends on it. ``api-token``
stands for the credentials that the cache remembers for a token. ``sessions-by-user`` and
``tokens-by-user`` are lists of a user's own. No cache keeps a response that shows them. So these
declare only what the check of declarations demands, and no log-in and no refresh pays for them.
"""

from pcf.cache.triggers import Touch, declare, list_touches
from users.models import ApiToken, Session, User

# columns that no response shows and no policy reads
_UNSEEN = (
    "username", "password", "last_login", "first_name", "last_name", "is_superuser", "date_joined",
    "name_folded", "deletion_requested_at",
)  # fmt: skip
_RIGHTS = ("is_active", "is_staff")

declare(
    User,
    Touch(kind="user", key="id", ignoring=(*_UNSEEN, *_RIGHTS)),
    Touch(kind="users", only=("id",)),
    *list_touches("users", "name_folded", "created_at"),
    Touch(
        kind="account",
        key="id",
        ignoring=(*_UNSEEN, "name", "email", "confirmed_email", "created_at"),
    ),
)
declare(
    ApiToken,
    Touch(kind="api-token", key="id", ignoring=("name", "last_used_at", "replaced_by")),
    Touch(
        kind="tokens-by-user",
        key="user_id",
        only=("user", "session", "revoked_at"),
        updates_only=True,
    ),
)
declare(
    Session,
    Touch(kind="sessions-by-user", key="user_id", only=("user",), updates_only=True),
)
