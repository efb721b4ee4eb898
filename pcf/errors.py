"""Errors whose message and extensions may be shown to a client; every other error is masked."""

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """An error a client may see: its message, and ``extensions`` with a ``code``.

    graphql-core copies ``extensions`` of an original error into the GraphQL error (spec section
    7.1.2), so raising a subclass in a resolver is all that is needed. ``headers`` go with an answer
    that is nothing but this error.
    """

    code = "BAD_REQUEST"
    headers: Mapping[str, str] = {}

    @property
    def extensions(self) -> dict[str, Any]:
        """The error's ``extensions`` entry in the response."""
        return {"code": self.code}


class LimitExceeded(ClientError):
    """A request goes beyond one of the limits.

    ``limit`` is the limit's name (one of ``pcf.metrics.LIMITS``), ``allowed`` its value.
    """

    code = "LIMIT_EXCEEDED"

    def __init__(self, limit: str, allowed: float, message: str) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed

    @property
    def extensions(self) -> dict[str, Any]:
        """The code, and which limit it is."""
        return {"code": self.code, "limit": self.limit, "allowed": self.allowed}


class ResponseTooLarge(LimitExceeded):
    """The lists of a response would have more items together than a response may have, or its text
    more bytes: ``limit`` is ``items`` or ``response``.
    """

    code = "RESPONSE_TOO_LARGE"

    @classmethod
    def by_items(cls, allowed: int) -> "ResponseTooLarge":
        """The error of a response whose lists have more than ``allowed`` items together."""
        message = f"The lists would have more than {allowed} items; ask for fewer"
        return cls("items", allowed, message)


class InvalidArgument(ClientError):
    """An argument is of the right type but not a value that the field accepts."""

    code = "BAD_USER_INPUT"


class NotAuthenticated(ClientError):
    """The credentials of the request are of a kind that is not understood."""

    code = "UNAUTHENTICATED"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}  # RFC 6750 section 3


class InvalidToken(NotAuthenticated):
    """The token is unknown, expired or revoked, or its user is not active; which is not said."""

    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class InsufficientScope(ClientError):
    """The token is valid but not for an operation of this type (RFC 6750 section 3.1)."""

    code = "INSUFFICIENT_SCOPE"

    def __init__(self, operation_type: str, needed: str) -> None:
        super().__init__(f"A {operation_type} needs a token with the scope '{needed}'")
        challenge = f'Bearer error="insufficient_scope", scope="{needed}"'
        self.headers = {"WWW-Authenticate": challenge}
