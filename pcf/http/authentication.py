"""Who is asking: the bearer token of a request (RFC 6750) and the credentials behind it."""

from dataclasses import dataclass

from pcf.errors import InsufficientScope, NotAuthenticated
from pcf.viewer import Scope, Viewer

MAX_TOKEN = 512  # characters

NEEDED = {"query": Scope.READ, "mutation": Scope.WRITE}  # by the type of an operation


@dataclass(frozen=True, slots=True)
class Credentials:
    """The viewer behind a token.

    ``expires_at`` is until when the token is valid (seconds since 1970), None for ever;
    ``dependencies`` are the (kind, key) pairs whose writes may change the answer.
    """

    viewer: Viewer
    expires_at: float | None
    dependencies: tuple[tuple[str, int], ...]


def bearer_token(authorization: str | None) -> str | None:
    """The token in an ``Authorization`` header, None when there is no such header.

    Raises NotAuthenticated for any other scheme and for a token that cannot be one: a client that
    sent credentials must not be served as if it had sent none.
    """
    if not authorization:
        return None
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN or not token.isascii():
        raise NotAuthenticated("The Authorization header must be 'Bearer <token>'")
    return token


def require_scope(viewer: Viewer, operation_type: str) -> None:
    """Refuse an operation that the viewer's token does not reach to.

    Every operation passes here, so no mutation has to think of it. Raises InsufficientScope. An
    anonymous viewer has no token that could limit anything: mutations refuse them themselves.
    """
    needed = NEEDED.get(operation_type, Scope.ADMIN)
    if not viewer.scope.covers(needed):
        raise InsufficientScope(operation_type, needed)
