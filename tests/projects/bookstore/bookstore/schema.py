"""The bookstore's schema, and the service that answers with it."""

from functools import cache

from books.mutations import BookMutation
from books.schema import BookQuery

from bookstore.credentials import find_credentials
from pcf.execution.schema import Schema
from pcf.http.service import GraphQLService, make_service


class Query(BookQuery):
    """Everything that can be asked."""


class Mutation(BookMutation):
    """Everything that can be changed."""


schema = Schema(query=Query, mutation=Mutation)


@cache
def graphql_service() -> GraphQLService:
    """Return the process's service."""
    return make_service(schema, find_credentials)
