"""Authentication by bearer token: from the text of a token to a viewer."""

import hmac
from datetime import timedelta
from typing import Any

from django.db import Error, connection
from django.utils import timezone

from pcf.database.retry import is_read_only
from pcf.errors import OutcomeUnknown
from pcf.viewer import Credentials, Scope, Viewer
from users.models import ApiToken
from users.tokens import digest_of, may_be_token

LAST_USED_INTERVAL = timedelta(minutes=5)  # between two writes of last_used_at of a token

_VALID = """
WITH token AS (
    SELECT t.id, t.user_id, t.digest, t.scope, t.expires_at, t.last_used_at, t.session_id,
           u.is_staff
    FROM users_apitoken t JOIN users_user u ON u.id = t.user_id
    WHERE t.digest = %(digest)s AND u.is_active AND t.revoked_at IS NULL
      AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
)"""
_COLUMNS = "SELECT id, user_id, digest, scope, is_staff, expires_at FROM token"
_FIND = f"{_VALID} {_COLUMNS}"
# One statement finds the token and updates last_used_at, also of its session. The ORM cannot.
_FIND_AND_NOTE_USE = f"""{_VALID}, used AS (
    UPDATE users_apitoken SET last_used_at = %(now)s
    WHERE id IN (
        SELECT id FROM token WHERE last_used_at IS NULL OR last_used_at < %(used_before)s
    )
), used_session AS (
    UPDATE users_session SET last_used_at = %(now)s
    WHERE id IN (SELECT session_id FROM token) AND last_used_at < %(used_before)s
) {_COLUMNS}"""  # noqa: S608 (constants)


def find_viewers(user_id: int) -> list[Viewer]:
    """Return one viewer for each scope of a user's valid tokens, in one SQL statement.

    An inactive user has no viewers.
    """
    now = timezone.now()
    valid = ApiToken.objects.filter(user_id=user_id, user__is_active=True, revoked_at=None)
    valid = valid.exclude(expires_at__lte=now).order_by("scope")
    found = valid.values_list("scope", "user__is_staff").distinct()
    return [Viewer.from_token(user_id, Scope(scope), staff=staff) for scope, staff in found]


def find_credentials(text: str) -> Credentials | None:
    """Return the credentials of a token's text, with one SQL statement at most.

    Returns None if the token is unknown, expired or revoked, or if its user is not active. Where
    PostgreSQL takes no writes, or the connection breaks during the COMMIT, a second statement finds
    the token without the note of its use.

    The time of the index look-up may reveal how many bytes of a digest are right. This is safe: a
    digest does not reveal the 256 random bits of the text. The function compares the whole digest
    again in constant time.
    """
    if not may_be_token(text):
        return None
    digest = digest_of(text)
    now = timezone.now()
    parameters: dict[str, Any] = {
        "digest": digest,
        "now": now,
        "used_before": now - LAST_USED_INTERVAL,
    }
    row = _find(parameters)
    if row is None:
        return None
    token_id, user_id, stored, scope, is_staff, expires_at = row
    if not hmac.compare_digest(bytes(stored), digest):
        return None
    return Credentials(
        viewer=Viewer.from_token(user_id, Scope(scope), staff=is_staff),
        expires_at=None if expires_at is None else expires_at.timestamp(),
        dependencies=(("api-token", token_id), ("account", user_id)),
    )


def _find(parameters: dict[str, Any]) -> Any:
    try:
        return _first_row(_FIND_AND_NOTE_USE, parameters)
    except Error as error:
        if not (is_read_only(error) or isinstance(error, OutcomeUnknown)):
            raise
        return _first_row(_FIND, parameters)


def _first_row(sql: str, parameters: dict[str, Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()
