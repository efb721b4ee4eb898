"""Who is asking: the bearer token of a request (RFC 6750) and the credentials behind it."""

from dataclasses import dataclass

from pcf.errors import NotAuthenticated
from pcf.viewer import Viewer

MAX_TOKEN = 512  # characters


@dataclass(frozen=True, slots=True)
class Credentials:
    """The viewer behind a token.

    ``seconds_left`` is how long the token is valid yet, None for ever; ``dependencies`` are the
    (kind, key) pairs whose writes may change the answer.
    """

    viewer: Viewer
    seconds_left: float | None
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
