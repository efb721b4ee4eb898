"""Reading ahead: statements that are known to be needed are sent at once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connections

from pcf.database.prepared import Prepared
from pcf.database.reads import Asked


class PlannedRead(NamedTuple):
    """A statement with the values for its Parameters, to be run on the database ``using``."""

    using: str
    statement: Prepared
    values: Mapping[str, Any]


@contextmanager
def read_ahead(planned: Sequence[PlannedRead]) -> Iterator[None]:
    """Send the statements that the block is going to run, in this order, with one message a
    database; the block finds their rows there, and their errors.

    Where that cannot be (see ``pcf.database.reads``) each is sent when it is run, as ever.
    """
    ahead = []
    for alias, asked in _by_alias(planned).items():
        if len(asked) > 1:
            connection: Any = connections[alias]
            reads = connection.read_ahead(asked)
            if reads is not None:
                ahead.append((connection, reads))
    try:
        yield
    finally:
        for connection, reads in ahead:
            connection.forget_ahead(reads)


def _by_alias(planned: Sequence[PlannedRead]) -> dict[str, list[Asked]]:
    found: dict[str, list[Asked]] = {}
    for using, statement, values in planned:
        try:
            asked = statement.asked(values)
        except KeyError:  # running it says which value is missing
            return {}
        if asked is not None:
            found.setdefault(using, []).append(asked)
    return found
