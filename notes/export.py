"""The export of one's data: a JSON document with the account, its sessions, tokens and notes.

``GET /account/export`` answers the viewer of a bearer token or of the session cookie. Notes come in
batches, each with statements of its own, so memory does not grow with their number. A document has
about MAX_BYTES of notes at most. Its last member, ``next``, is the value of ``?after=`` for the
rest of the notes, or null. No document holds a password, a digest or the text of a token.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from notes.models import Note
from pcf.cache.redis_gateway import CacheUnavailable, redis_gateway
from pcf.cache.response_cache import TokenBucket
from pcf.conf import config
from pcf.errors import ClientError, InvalidToken, NotAuthenticated
from pcf.execution.paging import parse_id
from pcf.http.headers import header_fields
from pcf.http.rate_limits import RateLimited, client_key, take_tokens
from pcf.http.request import JSON
from pcf.http.views import refuse
from pcf.viewer import Viewer
from users.authentication import find_credentials
from users.models import User

BATCH = 200  # notes of a statement
MAX_BYTES = 20_000_000  # of notes in one document
PER_HOUR = 20  # documents that a viewer gets


@require_GET
def export_view(request: HttpRequest) -> HttpResponseBase:
    """Return the data of the viewer as a file. Errors have the form of GraphQL's."""
    try:
        viewer = _viewer_of(request)
        _charge(viewer)
    except ClientError as error:
        return refuse(request, error)
    user = User.objects.get(pk=viewer.id)
    after = parse_id(request.GET.get("after") or "0") or 0
    response = StreamingHttpResponse(document(user, after), content_type=JSON)
    response["Content-Disposition"] = 'attachment; filename="account.json"'
    response["Cache-Control"] = "no-store"
    return response


def document(user: User, after: int = 0) -> Iterator[bytes]:
    """Yield the parts of the document, with the notes whose id is greater than ``after``."""
    head = orjson.dumps(_account(user))
    yield head[:-1] + b',"notes":['
    size, last, is_first = 0, after, True
    while size < MAX_BYTES:
        notes = list(
            Note.objects.filter(author=user, pk__gt=last)
            .order_by("pk")
            .prefetch_related("tags")[:BATCH]
        )
        for note in notes:
            text = orjson.dumps(_note(note))
            size, last = size + len(text), note.pk
            yield text if is_first else b"," + text
            is_first = False
            if size >= MAX_BYTES:
                break
        if len(notes) < BATCH:
            break
    is_left = Note.objects.filter(author=user, pk__gt=last).exists()
    yield b'],"next":' + (b'"%d"' % last if is_left else b"null") + b"}"


def _viewer_of(request: HttpRequest) -> Viewer:
    """Return the viewer. Raises NotAuthenticated and ForeignOrigin."""
    remote = request.META.get("REMOTE_ADDR")
    token = header_fields(request.headers, "GET", remote, JSON)["token"]
    if token is None:
        raise NotAuthenticated("The export needs a token or the session cookie")
    credentials = find_credentials(token)
    if credentials is None:
        raise InvalidToken
    return credentials.viewer


def _charge(viewer: Viewer) -> None:
    """Count one more document. Raises RateLimited; without Redis nothing is counted."""
    if not config().rates.enabled:
        return
    bucket = TokenBucket(PER_HOUR, PER_HOUR / 3_600)
    try:
        wait = take_tokens(redis_gateway(), f"export:{client_key(viewer, '')}", bucket, 1)
    except CacheUnavailable:
        return
    if wait > 0:
        raise RateLimited(PER_HOUR, wait)


def _account(user: User) -> dict[str, Any]:
    return {
        "exportedAt": _time(timezone.now()),
        "user": {
            "id": str(user.pk),
            "username": user.username,
            "name": user.name,
            "email": user.email,
            "confirmedEmail": user.confirmed_email,
            "createdAt": _time(user.created_at),
            "lastLogin": _time(user.last_login),
        },
        "sessions": [
            {
                "id": str(session.pk),
                "device": session.device,
                "scope": session.scope,
                "createdAt": _time(session.created_at),
                "lastUsedAt": _time(session.last_used_at),
                "expiresAt": _time(session.expires_at),
            }
            for session in user.sessions.order_by("pk")
        ],
        "tokens": [
            {
                "id": str(token.pk),
                "name": token.name,
                "scope": token.scope,
                "createdAt": _time(token.created_at),
                "lastUsedAt": _time(token.last_used_at),
                "expiresAt": _time(token.expires_at),
                "revokedAt": _time(token.revoked_at),
            }
            for token in user.api_tokens.filter(session=None).order_by("pk")
        ],
    }


def _note(note: Note) -> dict[str, Any]:
    return {
        "id": str(note.pk),
        "title": note.title,
        "content": note.content,
        "isPublic": note.is_public,
        "createdAt": _time(note.created_at),
        "updatedAt": _time(note.updated_at),
        "deletedAt": _time(note.deleted_at),
        "tags": sorted(tag.name for tag in note.tags.all()),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
