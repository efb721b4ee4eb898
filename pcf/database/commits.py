"""Before and after every COMMIT: the place where a floor above may take part in a transaction.

Django calls hooks after a commit only, one after the other until one fails. A cache has to know
before it: what a transaction changes must not be served from the moment others can see it.
"""

import logging
import re
from collections.abc import Callable
from enum import Enum
from typing import Any

logger = logging.getLogger("pcf.database")


class Outcome(Enum):
    """How a COMMIT ended."""

    COMMITTED = "the server said so"
    ABORTED = "the server refused it"
    UNKNOWN = "the connection broke before the server said"


Finish = Callable[[Outcome], None]
Guard = Callable[[Any], Finish | None]  # takes Django's connection

_guards: list[Guard] = []  # filled once, when the apps are ready


def guard_commits(guard: Guard) -> None:
    """Call ``guard(connection)`` before every COMMIT of a transaction that ran a statement.

    What it returns is called with the outcome, before any ``on_commit`` hook. When ``guard`` raises
    the transaction is rolled back.
    """
    if guard not in _guards:
        _guards.append(guard)


def prepare(connection: Any) -> Finish:
    """Ask every guard; the result tells all of them the outcome."""
    finishers = [each for guard in _guards if (each := guard(connection)) is not None]

    def finish(outcome: Outcome) -> None:
        for each in finishers:
            try:
                each(outcome)
            except Exception:  # the write is committed or not, whatever happens here
                logger.exception("a guard of commits failed")

    return finish


_WRITES = re.compile(
    r"[\s(]*(?:insert|update|delete|merge|truncate|copy)\b"
    r"|[\s(]*with\b.*\b(?:insert|update|delete|merge)\b",
    re.IGNORECASE | re.DOTALL,
)


def may_write(sql: str) -> bool:
    """Whether ``sql`` looks like a statement that changes rows.

    A SELECT or a CALL of a function which writes does not: a procedure may commit by itself.
    """
    return _WRITES.match(sql) is not None
