"""From the text of a bearer token to a viewer."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from pcf.http.authentication import Credentials
from pcf.viewer import Viewer
from users.models import ApiToken, User

LAST_USED_GRAIN = timedelta(minutes=5)  # last_used_at is exact to this; it saves a write a request

# The look-up and the note that the token was used are one statement, hence SQL by hand.
_FIND = """
WITH token AS (
    SELECT t.id, t.user_id, t.expires_at, t.last_used_at, u.is_staff
    FROM users_apitoken t JOIN users_user u ON u.id = t.user_id
    WHERE t.digest = %(digest)s AND u.is_active AND t.revoked_at IS NULL
      AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
), used AS (
    UPDATE users_apitoken SET last_used_at = %(now)s
    WHERE id IN (
        SELECT id FROM token WHERE last_used_at IS NULL OR last_used_at < %(used_before)s
    )
)
SELECT id, user_id, is_staff, expires_at FROM token
"""


def find_viewer(user_id: int) -> Viewer | None:
    """The viewer that an active user is; None when there is no such user. One SQL statement."""
    user = User.objects.filter(pk=user_id, is_active=True).only("is_staff").first()
    return user and Viewer(user_id, user.is_staff)


def find_credentials(text: str) -> Credentials | None:
    """The credentials behind a token's text; None when it is unknown, expired or revoked, or its
    user is not active. One SQL statement.
    """
    now = timezone.now()
    parameters: dict[str, Any] = {
        "digest": ApiToken.digest_of(text),
        "now": now,
        "used_before": now - LAST_USED_GRAIN,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FIND, parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    token_id, user_id, is_staff, expires_at = row
    return Credentials(
        viewer=Viewer(user_id, is_staff),
        seconds_left=None if expires_at is None else (expires_at - now).total_seconds(),
        dependencies=(("api-token", token_id), ("user", user_id)),
    )
