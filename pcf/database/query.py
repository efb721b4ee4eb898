"""Plain SQL under a deadline of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections

from pcf.apps import config
from pcf.database.connection import LAYER
from pcf.database.routing import reading_alias
from pcf.timeouts import TimeoutContext, activate, current_timeout


def query_with_timeout(
    sql: str,
    params: Sequence[Any] | Mapping[str, Any] | None,
    timeout: TimeoutContext | float,
    *,
    using: str | None = None,
) -> list[tuple[Any, ...]]:
    """The rows of ``sql``, at most ``timeout`` seconds from now and never past the request's end.

    ``using`` is the database; without it, the one that queries read from here.
    A TimeoutContext is used as it is. Raises ``InsufficientTime`` when the request has less than
    ``timeouts.min_database_budget`` left, ``DeadlineExceeded`` when the time is up.
    """
    with activate(_context(timeout)), connections[using or reading_alias()].cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def _context(timeout: TimeoutContext | float) -> TimeoutContext:
    if isinstance(timeout, TimeoutContext):
        return timeout
    outer = current_timeout()
    if outer is None:
        return TimeoutContext.start(LAYER, timeout)
    if outer.layer != LAYER:
        outer.require(config().timeouts.min_database_budget)
    return outer.child_budget(LAYER, timeout)
