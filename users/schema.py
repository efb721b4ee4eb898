"""The part of the schema about users."""

import graphene
from graphene_django import DjangoObjectType
from graphql import GraphQLResolveInfo

from pcf.execution.cache_hints import CacheHint, cache_hints
from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import Edge, RootEdge, Route
from pcf.execution.nodes import Node, NodeId
from pcf.execution.paging import page_of, parse_id
from pcf.execution.rows import requires_columns
from pcf.pagination.fields import ConnectionField, ListCount, RowConnection
from pcf.viewer import Scope
from users.models import User
from users.policy import may_see_email

SHARED = CacheHint(shared=True)  # all viewers see the same values


class TokenScope(graphene.Enum):
    """How much of its user's rights a token or a session has."""

    READ = Scope.READ.value
    WRITE = Scope.WRITE.value
    ADMIN = Scope.ADMIN.value

    @property
    def description(self) -> str:
        """The description of a value."""
        return _SCOPES[self.value]


_SCOPES = {
    "read": "Queries.",
    "write": "Queries and mutations.",
    "admin": "Everything, with the powers of staff.",
}


@cache_hints(id=SHARED, node_id=SHARED, name=SHARED, created_at=SHARED)
class UserType(DjangoObjectType):
    """A person who writes notes."""

    node_id = NodeId("users.UserById")
    id = graphene.ID(required=True, description="The primary key: unique among users.")
    name = graphene.String(required=True, description="The name, which everybody sees.")
    created_at = graphene.DateTime(required=True, description="When the user joined.")
    email = graphene.String(description="Only for oneself and for staff; otherwise null.")
    notes = Edge(
        "notes.schema.NoteType",
        loader="notes.NotesByAuthor",
        many=True,
        first=100,
        description="The notes of this user that the viewer may read, by id.",
    )

    notes_connection = ConnectionField(
        "notes.schema.NoteConnection",
        loader="notes.NoteConnectionsByAuthor",
        description="The notes of this user that the viewer may read.",
    )
    note_count = ListCount(
        loader="notes.NoteConnectionsByAuthor",
        description="The number of notes of this user that the viewer may read.",
    )

    trash = ConnectionField(
        "notes.schema.TrashConnection",
        loader="notes.TrashByAuthor",
        description="The viewer's own notes in the trash, those deleted last first. The trash of "
        "another user is empty.",
    )

    class Meta:
        """Only these fields of the model are public."""

        name = "User"
        model = User
        interfaces = (Node,)
        fields = ("id", "name", "created_at")

    @staticmethod
    @requires_columns("id", "email")
    def resolve_email(user: User, info: GraphQLResolveInfo) -> str | None:
        """Return the address if the policy allows it, else None."""
        return user.email if may_see_email(info.context.viewer, user.id) else None


class UserConnection(RowConnection):
    """Users, page by page."""

    class Meta:
        """The rows are users."""

        node = UserType


@cache_hints(users=SHARED, user=SHARED)
class UserQuery(graphene.ObjectType):
    """Queries for users."""

    users = RootEdge(
        "users.schema.UserType",
        loaders=("users.AllUsers",),
        route=lambda _context, arguments: Route("users.AllUsers", WHOLE, page_of(arguments)),
        many=True,
        first=20,
        description="All users, by id.",
    )
    users_connection = ConnectionField(
        "users.schema.UserConnection",
        loader="users.UserConnections",
        key=None,
        description="All users.",
    )
    user = RootEdge(
        "users.schema.UserType",
        loaders=("users.UserById",),
        route=lambda _context, arguments: Route("users.UserById", parse_id(arguments["id"])),
        description="One user; null if there is none.",
        id=graphene.ID(required=True, description="The id of the user."),
    )
    me = RootEdge(
        "users.schema.UserType",
        loaders=("users.UserById",),
        route=lambda context, _arguments: Route("users.UserById", context.viewer.id),
        description="The viewer; null for an anonymous one.",
    )
