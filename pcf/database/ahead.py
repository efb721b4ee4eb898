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
    by_alias: dict[str, list[Asked]] = {}
    for using, statement, values in planned:
        asked = statement.asked(values)
        if asked is not None:
            by_alias.setdefault(using, []).append(asked)
    many: list[Any] = []
    try:
        for alias, each in by_alias.items():
            if len(each) > 1:
                many.append(connections[alias])
                many[-1].read_ahead(each)
        yield
    finally:
        for connection in many:
            connection.forget_ahead()
