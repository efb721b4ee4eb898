"""Errors whose message and extensions the client sees. The engine masks every other error.

The errors of the database are Django's ``OperationalError`` as well, so code that does not know the
engine (the admin, checks) recognises them. A ``ConfigError`` is no client error: it ends the start
of a process.
"""

from collections.abc import Mapping
from typing import Any

from django.db import OperationalError


class ClientError(Exception):
    """An error that the client sees: its message, and ``extensions`` with a ``code``.

    A resolver raises a subclass. Errors that belong to one part of the engine stand in that part,
    for instance in ``pcf.timeouts``. graphql-core copies the ``extensions`` of the original
    error into the GraphQL error (GraphQL specification, section 7.1.2). A response that consists of
    this error alone has its ``headers``.
    """

    code = "BAD_REQUEST"
    headers: Mapping[str, str] = {}

    @property
    def extensions(self) -> dict[str, Any]:
        """The error's ``extensions`` entry in the response."""
        return {"code": self.code}


class LimitExceeded(ClientError):
    """A request exceeds one of the limits.

    ``limit`` is the limit's name (one of ``metrics.LIMITS``), ``allowed`` its value.
    """

    code = "LIMIT_EXCEEDED"

    def __init__(self, limit: str, allowed: float, message: str) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed

    @property
    def extensions(self) -> dict[str, Any]:
        """The code, the name of the limit, and its value."""
        return {"code": self.code, "limit": self.limit, "allowed": self.allowed}


class ResponseTooLarge(LimitExceeded):
    """A response would exceed the limit of list items, or of bytes.

    ``limit`` is ``items`` or ``response``.
    """

    code = "RESPONSE_TOO_LARGE"

    @classmethod
    def by_items(cls, allowed: int) -> "ResponseTooLarge":
        """Return the error of a response with more than ``allowed`` list items in total."""
        message = f"The lists would have more than {allowed} items; ask for fewer"
        return cls("items", allowed, message)

    @classmethod
    def by_bytes(cls, allowed: int) -> "ResponseTooLarge":
        """Return the error of a response with more than ``allowed`` bytes of JSON."""
        message = f"The answer would have more than {allowed} bytes; ask for less"
        return cls("response", allowed, message)


class InvalidArgument(ClientError):
    """An argument has the right type, but the field does not accept its value."""

    code = "BAD_USER_INPUT"


class NotAuthenticated(ClientError):
    """The request has credentials of an unknown kind."""

    code = "UNAUTHENTICATED"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}  # RFC 6750 section 3


class InvalidToken(NotAuthenticated):
    """The token is unknown, expired or revoked, or its user is not active.

    The message does not name the reason.
    """

    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}

    def __init__(self) -> None:
        super().__init__("The token is not valid")


class InsufficientScope(ClientError):
    """The scope of the token does not allow an operation of this type (RFC 6750 section 3.1)."""

    code = "INSUFFICIENT_SCOPE"

    def __init__(self, operation_type: str, needed: str) -> None:
        super().__init__(f"A {operation_type} needs a token with the scope '{needed}'")
        challenge = f'Bearer error="insufficient_scope", scope="{needed}"'
        self.headers = {"WWW-Authenticate": challenge}


class ForeignOrigin(ClientError):
    """A page of another origin sent the request, and the browser added the session cookie."""

    code = "FOREIGN_ORIGIN"


class ServiceUnavailable(ClientError):
    """The service cannot do this now; the client may try again."""

    code = "SERVICE_UNAVAILABLE"


class DatabaseUnavailable(ServiceUnavailable, OperationalError):
    """No connection was free in time: the server is away, or all connections are in use."""

    def __init__(self, message: str = "The database is not available at the moment") -> None:
        super().__init__(message)


class TooManyWaiting(DatabaseUnavailable):
    """The pool refused the request at once: too many others wait for a connection."""

    def __init__(self) -> None:
        super().__init__("Too many requests are waiting for the database")


class OutOfResources(DatabaseUnavailable):
    """The server lacks disk space, memory or another resource; the statement did nothing."""

    def __init__(self) -> None:
        super().__init__("The database cannot do this at the moment")


class ReadOnlyDatabase(DatabaseUnavailable):
    """The server takes no writes: it was demoted, or an operator made it read-only."""

    def __init__(self) -> None:
        super().__init__("The database takes no writes at the moment")


class ConnectionLost(DatabaseUnavailable):
    """The connection broke during a statement that cannot be retried, or all retries failed."""

    def __init__(self) -> None:
        super().__init__("The connection to the database was lost")


class OutcomeUnknown(ClientError, OperationalError):
    """The connection broke after COMMIT was sent and before the server answered.

    The engine cannot know whether the transaction was committed, so it never retries it. The client
    has to check before it retries.
    """

    code = "OUTCOME_UNKNOWN"

    def __init__(self) -> None:
        super().__init__(
            "The connection to the database was lost during the commit: "
            "whether the change was made is not known"
        )


class ConfigError(ValueError):
    """A setting has a value that cannot work, or two settings contradict each other."""
