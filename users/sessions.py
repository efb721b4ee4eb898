"""Sessions: log-ins of a user, each on one device, with access tokens.

A session has one of two forms:

- A client with a **refresh token** gets access tokens of 15 minutes. Each refresh replaces the
  refresh token. Its use after that ends the session (RFC 9700 section 4.14.2), because the client
  and a thief cannot be told apart.
- A browser with the **session cookie** has one token, as long as the session.

The row of a session is its life. To end a session is to delete it and its access tokens, and the
triggers of the tokens end them in all processes at once (``users.touches``).

Every function here needs a transaction around it. A function that returns None may have ended the
session, so the caller commits before it refuses.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from users import audit
from users.models import ApiToken, Session, User
from users.tokens import digest_of, family_of, new_family, new_refresh_text

MAX_SESSIONS = 100  # of a user; a further one ends the one that was not used for the longest time
TOKEN_NAME = "session"  # noqa: S105 - the name of a token, not its text


@dataclass(frozen=True, slots=True)
class Access:
    """What a log-in or a refresh gives to its client.

    ``expires_at`` is the end of the access token. ``refresh_token`` is None for a session with a
    cookie.
    """

    session: Session
    expires_at: datetime
    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)


def begin(user: User, *, device: str, scope: str, has_cookie: bool) -> Access:
    """Begin a session of ``user``. Sessions of the user that have expired end."""
    now = timezone.now()
    _make_room(user, now)
    session = Session(
        user=user, device=device, scope=scope, created_at=now, last_used_at=now,
        expires_at=now + settings.USERS_SESSION_LIFETIME,
    )  # fmt: skip
    refresh_text = None
    if not has_cookie:
        family = new_family()
        refresh_text = new_refresh_text(family)
        session.family, session.refresh_digest = digest_of(family), digest_of(refresh_text)
    session.save()
    expires_at = session.expires_at if has_cookie else now + settings.USERS_ACCESS_LIFETIME
    return _issue(session, expires_at, refresh_text)


def refresh(refresh_text: str) -> Access | None:
    """Replace a refresh token, and return a new access token with it.

    Returns None for a text that is no refresh token of a session. A token that another one has
    replaced ends its session. Of several callers with one text, exactly one gets new tokens.
    """
    family = family_of(refresh_text)
    if family is None:
        return None
    session = _locked(Session.objects.filter(family=digest_of(family)))
    if session is None or not _is_usable(session):
        return None
    if not hmac.compare_digest(bytes(session.refresh_digest or b""), digest_of(refresh_text)):
        end([session.pk])
        audit.log("ended a session, whose old refresh token came again", user=session.user_id)
        return None
    now = timezone.now()
    new_text = new_refresh_text(family)
    session.refresh_digest = digest_of(new_text)
    session.last_used_at, session.expires_at = now, now + settings.USERS_SESSION_LIFETIME
    session.save(update_fields=["refresh_digest", "last_used_at", "expires_at"])
    ApiToken.objects.filter(session=session, expires_at__lte=now).delete()
    return _issue(session, now + settings.USERS_ACCESS_LIFETIME, new_text)


def prolong(cookie_text: str) -> Access | None:
    """Let the session of a cookie expire later, and return the same token.

    Tabs of a browser share the cookie and may prolong it at the same time, so its text stays.
    """
    session = _locked(Session.objects.filter(family=None, tokens__digest=digest_of(cookie_text)))
    if session is None or not _is_usable(session):
        return None
    now = timezone.now()
    session.last_used_at, session.expires_at = now, now + settings.USERS_SESSION_LIFETIME
    session.save(update_fields=["last_used_at", "expires_at"])
    session.tokens.update(expires_at=session.expires_at)
    return Access(session, session.expires_at, cookie_text)


def session_id_of(token_text: str | None) -> int | None:
    """Return the id of the session that a token belongs to; None for a token of its own."""
    if token_text is None:
        return None
    found = ApiToken.objects.filter(digest=digest_of(token_text)).values_list("session_id")
    row = found.first()
    return row[0] if row else None


def end(session_ids: Iterable[int]) -> int:
    """End sessions; return how many there were."""
    found = Session.objects.select_for_update().filter(pk__in=session_ids).order_by("pk")
    ids = list(found.values_list("pk", flat=True))
    if ids:
        ApiToken.objects.filter(session_id__in=ids).delete()
        Session.objects.filter(pk__in=ids).delete()
    return len(ids)


def end_all(user_id: int, *, but: int | None = None) -> int:
    """End the sessions of a user, except the one with the id ``but``; return how many."""
    found = Session.objects.filter(user_id=user_id).exclude(pk=but or 0)
    return end(found.values_list("pk", flat=True))


def _issue(session: Session, expires_at: datetime, refresh_text: str | None) -> Access:
    _, text = ApiToken.issue(
        session.user, TOKEN_NAME, session=session, scope=session.scope, expires_at=expires_at
    )
    return Access(session, expires_at, text, refresh_text)


def _locked(found: "QuerySet[Session]") -> Session | None:
    """Return the session with its user, locked until the transaction ends."""
    return found.select_related("user").select_for_update(of=("self",)).first()


def _is_usable(session: Session) -> bool:
    """Return whether a session may go on; end it if it may not."""
    if session.expires_at > timezone.now() and session.user.is_active:
        return True
    end([session.pk])
    return False


def _make_room(user: User, now: datetime) -> None:
    found = Session.objects.filter(user=user).order_by("-last_used_at", "-pk")
    rows = list(found.values_list("pk", "expires_at"))
    kept = [key for key, expires_at in rows if expires_at > now][: MAX_SESSIONS - 1]
    end({key for key, _ in rows} - set(kept))


def seconds_until(moment: datetime) -> int:
    """Return the whole seconds until ``moment``, 0 at least."""
    return max(0, (moment - timezone.now()) // timedelta(seconds=1))
