"""From the text of a bearer token to a viewer."""

import hmac
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from pcf.http.authentication import Credentials
from pcf.viewer import Scope, Viewer
from users.models import User
from users.tokens import digest_of, may_be_token

LAST_USED_GRAIN = timedelta(minutes=5)  # last_used_at is exact to this; it saves a write a request

# The look-up and the note that the token was used are one statement, hence SQL by hand.
_FIND = """
WITH token AS (
    SELECT t.id, t.user_id, t.digest, t.scope, t.expires_at, t.last_used_at, u.is_staff
    FROM users_apitoken t JOIN users_user u ON u.id = t.user_id
    WHERE t.digest = %(digest)s AND u.is_active AND t.revoked_at IS NULL
      AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
), used AS (
    UPDATE users_apitoken SET last_used_at = %(now)s
    WHERE id IN (
        SELECT id FROM token WHERE last_used_at IS NULL OR last_used_at < %(used_before)s
    )
)
SELECT id, user_id, digest, scope, is_staff, expires_at FROM token
"""


def find_viewer(user_id: int) -> Viewer | None:
    """The viewer that an active user is, with the scope admin; None when there is no such user.

    One SQL statement.
    """
    user = User.objects.filter(pk=user_id, is_active=True).only("is_staff").first()
    return None if user is None else Viewer(user_id, user.is_staff)


def find_credentials(text: str) -> Credentials | None:
    """The credentials behind a token's text; None when it is unknown, expired or revoked, or its
    user is not active. One SQL statement at the most.

    The index compares digests, so its time may tell how far one agrees with a stored one. That
    gives nothing away: who learns a digest still has to find the 256 random bits behind it. The
    row that the index found is compared once more as a whole, in a time that tells nothing.
    """
    if not may_be_token(text):
        return None
    digest = digest_of(text)
    now = timezone.now()
    parameters: dict[str, Any] = {
        "digest": digest,
        "now": now,
        "used_before": now - LAST_USED_GRAIN,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FIND, parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    token_id, user_id, stored, scope, is_staff, expires_at = row
    if not hmac.compare_digest(bytes(stored), digest):
        return None
    return Credentials(
        viewer=Viewer.of_token(user_id, Scope(scope), staff=is_staff),
        expires_at=None if expires_at is None else expires_at.timestamp(),
        dependencies=(("api-token", token_id), ("account", user_id)),
    )
