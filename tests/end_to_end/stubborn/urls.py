"""The schema of the stubborn service, and where it is served."""

from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import graphene
from django.urls import path

from pcf.database.statements import query_with_timeout
from pcf.http.service import GraphQLService, make_service
from pcf.http.views import graphql_view
from pcf.server.probes import livez
from pcf.timeouts import current_timeout


class Row(graphene.ObjectType):
    """One of many, each of which takes its time."""

    value = graphene.Int()

    @staticmethod
    def resolve_value(row: int, _info: Any) -> int:
        """Compute for a tenth of a millisecond."""
        ends = perf_counter() + 0.0001
        while perf_counter() < ends:
            pass
        return row


class Query(graphene.ObjectType):
    """Fields that do not end by themselves."""

    fine = graphene.Int()
    rows = graphene.List(Row)
    large = graphene.String()
    sleeping = graphene.Int(name=graphene.String())
    computing = graphene.Int(until=graphene.String(required=True))

    @staticmethod
    def resolve_fine(_root: Any, _info: Any) -> int:
        """What it should be like."""
        return 1

    @staticmethod
    def resolve_rows(_root: Any, _info: Any) -> range:
        """Far more than can be completed in the time there is."""
        return range(60_000)

    @staticmethod
    def resolve_large(_root: Any, info: Any) -> str:
        """More than the sockets on the way can hold."""
        info.context.no_store()
        return "x" * 40_000_000

    @staticmethod
    def resolve_sleeping(_root: Any, _info: Any, name: str) -> int:
        """Sleep in PostgreSQL, under a name by which the statement is found."""
        timeout = current_timeout()
        assert timeout is not None
        budget = timeout.child_budget("database")
        query_with_timeout("SELECT pg_sleep(60), %s", [name], budget)
        return 1

    @staticmethod
    def resolve_computing(_root: Any, _info: Any, until: str) -> int:
        """Compute until there is a file ``until``."""
        while not Path(until).exists():
            pass
        return 1


schema = graphene.Schema(query=Query)


@lru_cache(maxsize=1)
def service() -> GraphQLService:
    """The process's service."""
    return make_service(schema)


urlpatterns = [path("graphql", graphql_view(service)), path("readyz", livez)]
