"""What a client is told when the database cannot serve it.

They are ``ClientError``s, so that a response carries their code, and Django ``OperationalError``s,
so that code which knows nothing of the engine (admin, checks) still recognises them.
"""

from django.db import OperationalError

from pcf.errors import ClientError


class DatabaseUnavailable(ClientError, OperationalError):
    """No connection could be had in time: the server is away, or every connection is taken."""

    code = "SERVICE_UNAVAILABLE"

    def __init__(self, message: str = "The database is not available at the moment") -> None:
        super().__init__(message)


class TooManyWaiting(DatabaseUnavailable):
    """So many requests wait for a connection already that one more is refused at once."""

    def __init__(self) -> None:
        super().__init__("Too many requests are waiting for the database")


class OutOfResources(DatabaseUnavailable):
    """The server is out of disk space, memory or the like; the statement did nothing."""

    def __init__(self) -> None:
        super().__init__("The database cannot do this at the moment")


class OutcomeUnknown(ClientError, OperationalError):
    """The connection broke after COMMIT was sent and before the server answered.

    Whether the transaction was committed cannot be known, so it is never repeated. The client has
    to look before it tries again.
    """

    code = "OUTCOME_UNKNOWN"

    def __init__(self) -> None:
        super().__init__(
            "The connection to the database was lost during the commit: "
            "whether the change was made is not known"
        )


class ConnectionLost(DatabaseUnavailable):
    """The connection broke during a statement that may not be, or was in vain, repeated."""

    def __init__(self) -> None:
        super().__init__("The connection to the database was lost")
