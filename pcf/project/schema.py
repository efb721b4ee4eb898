"""The schema of this project, and the service that answers with it."""

from functools import cache

from notes.mutations import NoteMutation
from notes.schema import NoteQuery, NoteType
from notes.tag_mutations import TagMutation
from pcf.conf import config
from pcf.execution.nodes import NodeEdge, NodesEdge
from pcf.execution.schema import Schema
from pcf.http.diagnostics import DiagnosticsQuery
from pcf.http.service import GraphQLService, make_service
from tags.schema import TagQuery, TagType
from users.authentication import find_credentials, find_viewers
from users.mutations import UserMutation
from users.schema import UserQuery, UserType

NODES = (NoteType, UserType, TagType)


class Query(UserQuery, NoteQuery, TagQuery):
    """Everything that can be asked."""

    node = NodeEdge(*NODES)
    nodes = NodesEdge(*NODES)


class Mutation(NoteMutation, TagMutation, UserMutation):
    """Everything that can be changed."""


class QueryWithDiagnostics(Query, DiagnosticsQuery):
    """Everything that can be asked, also of the service itself."""

    class Meta:
        """Clients see no other type."""

        name = "Query"


schema = Schema(query=Query, mutation=Mutation)
schema_with_diagnostics = Schema(query=QueryWithDiagnostics, mutation=Mutation)


@cache
def graphql_service() -> GraphQLService:
    """Return the process's service."""
    served = schema_with_diagnostics if config().features.slow_query else schema
    return make_service(served, find_credentials, find_viewers)
