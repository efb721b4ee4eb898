"""From which database the reads of the code that runs now are served.

Without a word it is the primary: mutations, the admin, commands. A GraphQL query may be told to
read from a replica. Writes always go to the primary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import DEFAULT_DB_ALIAS

PRIMARY = DEFAULT_DB_ALIAS

_reading: ContextVar[str] = ContextVar("pcf_reading", default=PRIMARY)


def reading_alias() -> str:
    """The database that reads are served from here."""
    return _reading.get()


@contextmanager
def read_from(alias: str) -> Iterator[None]:
    """Serve the reads of the block from the database ``alias``."""
    token = _reading.set(alias)
    try:
        yield
    finally:
        _reading.reset(token)


class ReplicaRouter:
    """Django's question which database to use, answered by ``read_from``."""

    def db_for_read(self, _model: Any, **_hints: Any) -> str:
        """Where ``read_from`` says."""
        return _reading.get()

    def db_for_write(self, _model: Any, **_hints: Any) -> str:
        """The primary: replicas cannot be written to."""
        return PRIMARY

    def allow_relation(self, _one: Any, _other: Any, **_hints: Any) -> bool:
        """All databases hold the same rows."""
        return True

    def allow_migrate(self, alias: str, _app: str, **_hints: Any) -> bool:
        """Only the primary; replicas follow it."""
        return alias == PRIMARY
