"""The ``slowQuery`` field: a query that reaches the time limits, where a setting allows it."""

from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from pcf.conf import config
from pcf.database.statements import query_with_timeout
from pcf.errors import InvalidArgument
from pcf.execution.cache_hints import CacheHint, cache_hints
from pcf.timeouts import TimeoutContext, current_timeout

MAX_DELAY = 60.0  # seconds


@cache_hints(slow_query=CacheHint(max_age=0))
class DiagnosticsQuery(graphene.ObjectType):
    """Queries about the service itself."""

    slow_query = graphene.Float(
        delay=graphene.Float(
            required=True, description=f"The time to sleep in seconds, 0 to {MAX_DELAY:g}."
        ),
        description="Sleeps in PostgreSQL for 'delay' seconds and returns them.",
    )

    @staticmethod
    def resolve_slow_query(_root: Any, _info: GraphQLResolveInfo, delay: float) -> float:
        """Sleep in PostgreSQL for ``delay`` seconds. Raises InvalidArgument, DeadlineExceeded."""
        if not config().features.slow_query:
            raise InvalidArgument("slowQuery is switched off here")
        if not 0 <= delay <= MAX_DELAY:
            raise InvalidArgument(f"'delay' must be between 0 and {MAX_DELAY:g} seconds")
        timeout = current_timeout() or TimeoutContext.start("database", config().timeouts.database)
        query_with_timeout("SELECT pg_sleep(%s)", [delay], timeout.child_budget("database"))
        return delay
