"""The composition root: the schema, and the service that answers with it."""

from functools import lru_cache

import graphene

from notes.mutations import NoteMutation
from notes.schema import NoteQuery
from pcf.apps import config
from pcf.cache.gate import gate
from pcf.cache.positions import Positions
from pcf.cache.responses import ResponseCache
from pcf.cache.texts import RedisTexts
from pcf.database.replicas import replicas
from pcf.documents.manifest import load_manifest
from pcf.documents.persisted import PersistedDocuments
from pcf.documents.store import DocumentStore
from pcf.http.diagnostics import DiagnosticsQuery
from pcf.http.service import GraphQLService
from pcf.http.sources import Sources
from pcf.http.throttle import Throttle
from tags.schema import TagQuery
from users.authentication import find_credentials, find_viewer
from users.mutations import UserMutation
from users.schema import UserQuery


class Query(UserQuery, NoteQuery, TagQuery, DiagnosticsQuery):
    """Everything that can be asked."""


class Mutation(NoteMutation, UserMutation):
    """Everything that can be changed."""


schema = graphene.Schema(query=Query, mutation=Mutation)


@lru_cache(maxsize=1)
def graphql_service() -> GraphQLService:
    """The process's service."""
    persisted = config().persisted
    documents = PersistedDocuments(
        DocumentStore(schema.graphql_schema, config().documents),
        RedisTexts(gate()),
        load_manifest(persisted.manifest),
        persisted.mode,
    )
    return GraphQLService(
        schema.graphql_schema,
        documents,
        ResponseCache(gate()),
        find_credentials,
        Throttle(gate()),
        Sources(replicas(), Positions(gate())),
        find_viewer,
    )
