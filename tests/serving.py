"""A service for another schema than the project's, with everything it needs."""

from collections.abc import Callable

from graphql import GraphQLSchema

from pcf.apps import config
from pcf.cache.gate import gate
from pcf.cache.responses import ResponseCache
from pcf.cache.texts import RedisTexts
from pcf.documents.persisted import PersistedDocuments
from pcf.documents.store import DocumentStore
from pcf.http.authentication import Credentials
from pcf.http.service import GraphQLService
from pcf.http.throttle import Throttle
from pcf.schema import graphql_service


def service_of(
    schema: GraphQLSchema, find_credentials: Callable[[str], Credentials | None] = lambda _: None
) -> GraphQLService:
    """As the composition root makes it (``pcf.schema``), on the same database and Redis."""
    documents = DocumentStore(schema, config().documents)
    return GraphQLService(
        schema,
        PersistedDocuments(documents, RedisTexts(gate()), {}, "automatic"),
        ResponseCache(gate()),
        find_credentials,
        Throttle(gate()),
        graphql_service()._sources,
    )
