"""A service for another schema than the project's, with everything it needs."""

from collections.abc import Callable

from graphql import GraphQLSchema

from pcf.cache.redis_gateway import redis_gateway
from pcf.cache.response_cache import CachedResponses
from pcf.conf import config
from pcf.documents.document import DocumentStore
from pcf.documents.persisted import PersistedDocuments, PersistedStore
from pcf.http.rate_limits import RateLimiter
from pcf.http.service import GraphQLService
from pcf.project.schema import graphql_service
from pcf.viewer import Credentials


def service_of(
    schema: GraphQLSchema, find_credentials: Callable[[str], Credentials | None] = lambda _: None
) -> GraphQLService:
    """As the composition root makes it (``pcf.project.schema``), on the same database and Redis."""
    documents = DocumentStore(schema, config().documents)
    return GraphQLService(
        schema,
        PersistedDocuments(documents, PersistedStore(redis_gateway()), {}, "automatic"),
        CachedResponses(redis_gateway()),
        find_credentials,
        RateLimiter(redis_gateway()),
        graphql_service()._sources,
    )
