"""The viewer of a request: identity, authentication by bearer token (RFC 6750), scope, and locale.

The locale is the language and the time zone that middleware has activated. A resolver may read both
from Django, and so may a loader's query set. So the locale is a part of the key of a cached
response, and of the key of a compiled statement.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone, translation

from pcf.errors import InsufficientScope, NotAuthenticated

ViewerId = int | str | UUID
"""The primary key of a user. Keys of other types have no place in the names of the cache."""


class Scope(StrEnum):
    """The rights of its user that a token grants; each scope includes those before it."""

    READ = "read"  # queries
    WRITE = "write"  # and mutations
    ADMIN = "admin"  # and the rights of staff

    __hash__ = str.__hash__  # Enum's own is a function of Python's

    def covers(self, needed: "Scope") -> bool:
        """Return whether this scope is ``needed`` or includes it."""
        return _RANKS[self] >= _RANKS[needed]


_RANKS = {scope: rank for rank, scope in enumerate(Scope)}


@dataclass(frozen=True, slots=True)
class Viewer:
    """The authenticated user of a request, or the anonymous viewer.

    ``id`` is the user's primary key, a ViewerId, and None for the anonymous viewer. ``scope`` is
    the token's; a viewer without a token (in the admin, for example) has the scope ADMIN.
    ``is_staff`` is True when the user is a member of staff and the scope is ADMIN; policies read
    this flag. A viewer is a value: it holds no connection and sends no statement.

    Raises ValueError for staff with another scope than ADMIN, so no policy has to check the scope.
    """

    id: Any = None
    is_staff: bool = False
    scope: Scope = Scope.ADMIN

    def __post_init__(self) -> None:
        if self.is_staff and self.scope is not Scope.ADMIN:
            raise ValueError(f"the rights of staff need the scope admin, not {self.scope}")

    @classmethod
    def from_token(cls, user_id: ViewerId, scope: Scope, *, staff: bool) -> "Viewer":
        """Return the viewer of a token; ``staff`` says whether its user is a member of staff."""
        return cls(user_id, staff and scope is Scope.ADMIN, scope)

    @property
    def is_authenticated(self) -> bool:
        """Whether the request has a user."""
        return self.id is not None

    @property
    def kind(self) -> tuple[bool, bool, Scope]:
        """The properties that a policy can distinguish, except for the identity of the user."""
        return self.id is not None, self.is_staff, self.scope

    @property
    def id_name(self) -> str:
        """The id as one word, for cache keys: letters, digits, ``-`` and ``_``.

        Users with different ids have different words. Raises TypeError for an id of another type
        than those of ``ViewerId``.
        """
        match self.id:
            case None:
                return "anonymous"
            case int():
                return f"{self.id:d}"
            case UUID():
                return f"u-{_encoded(self.id.bytes)}"
            case str():
                return f"t-{_encoded(self.id.encode())}"
        raise TypeError(f"the id of a viewer is an int, a str or a UUID, not {self.id!r}")

    @property
    def name(self) -> str:
        """The viewer as one word, for cache keys.

        Two viewers that a policy can distinguish have different names.
        """
        if self.id is None:
            return self.id_name
        name = f"{self.id_name}.{self.scope}"
        return f"{name}.staff" if self.is_staff else name

    @staticmethod
    @lru_cache(maxsize=4_096)
    def from_name(name: str) -> "Viewer":
        """Return the authenticated viewer with this ``name``. Raises ValueError for other text."""
        id_name, scope, *staff = name.split(".")
        return Viewer(_id_of(id_name), staff == ["staff"], Scope(scope))


ANONYMOUS = Viewer()


def _id_of(id_name: str) -> ViewerId:
    kind, _, rest = id_name.partition("-")
    match kind:
        case "u":
            return UUID(bytes=_decoded(rest))
        case "t":
            return _decoded(rest).decode()
    return int(id_name)


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


MAX_TOKEN = 512  # characters

REQUIRED_SCOPES = {"query": Scope.READ, "mutation": Scope.WRITE}  # by the operation's type


@dataclass(frozen=True, slots=True)
class Credentials:
    """The viewer behind a token.

    The token is valid until ``expires_at`` (seconds since 1970); None means that it never expires.
    ``dependencies`` are the (kind, key) pairs whose writes may invalidate the credentials.
    """

    viewer: Viewer
    expires_at: float | None
    dependencies: tuple[tuple[str, Hashable], ...]


def bearer_token(authorization: str | None) -> str | None:
    """Return the token in an ``Authorization`` header, None when there is no such header.

    Raises NotAuthenticated for another scheme and for a malformed token. The service must not treat
    a client that sent credentials as anonymous.
    """
    if not authorization:
        return None
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN or not token.isascii():
        raise NotAuthenticated("The Authorization header must be 'Bearer <token>'")
    return token


def require_scope(viewer: Viewer, operation_type: str) -> None:
    """Raise InsufficientScope if the token's scope does not cover the operation.

    The service checks every operation here, so mutations need no check of their own. An anonymous
    viewer has no token and passes; mutations refuse anonymous viewers themselves.
    """
    required = REQUIRED_SCOPES.get(operation_type, Scope.ADMIN)
    if not viewer.scope.covers(required):
        raise InsufficientScope(operation_type, required)


_locale: ContextVar[str] = ContextVar("pcf_locale", default="")


def current_locale() -> str:
    """Return the locale of the request as text; empty for the locale of the settings."""
    return _locale.get()


def default_locale() -> str:
    """Return the locale of the settings."""
    return f"{settings.LANGUAGE_CODE} {settings.TIME_ZONE}"


@contextmanager
def active_locale() -> Iterator[None]:
    """Make the active language and the active time zone the locale of the block.

    Requests that skip Django's middleware need no such block: they have the settings' locale.
    """
    language, zone = translation.get_language(), timezone.get_current_timezone()
    is_default = language == settings.LANGUAGE_CODE and zone == timezone.get_default_timezone()
    token = _locale.set("" if is_default else f"{language} {zone!r}")
    try:
        yield
    finally:
        _locale.reset(token)
