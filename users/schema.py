"""The part of the schema about users."""

from typing import Any

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
from users.models import ApiToken, Session, User
from users.policy import may_see_email
from users.tokens import digest_of

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


class SessionType(DjangoObjectType):
    """A log-in on one device, until it ends."""

    id = graphene.ID(required=True, description="The primary key: unique among sessions.")
    device = graphene.String(
        required=True, description="The name that the client gave at the log-in; may be empty."
    )
    scope = graphene.Field(TokenScope, required=True, description="What the session may do.")
    created_at = graphene.DateTime(required=True, description="When the log-in was.")
    last_used_at = graphene.DateTime(
        required=True, description="When the session was last used, exact to five minutes."
    )
    expires_at = graphene.DateTime(
        required=True, description="When the session ends, unless it is refreshed."
    )
    is_current = graphene.Boolean(
        required=True, description="Whether the request belongs to this session."
    )

    class Meta:
        """Only these fields of the model are public."""

        name = "Session"
        model = Session
        fields = ("id", "device", "scope", "created_at", "last_used_at", "expires_at")
        convert_choices_to_enum = False

    @staticmethod
    @requires_columns("id")
    def resolve_is_current(session: Session, info: GraphQLResolveInfo) -> Any:
        """Compare the session with that of the client's token."""
        text = info.context.client.token
        if text is None:
            return False
        found = info.context.loaders.get("users.SessionByToken").load(digest_of(text))
        return found.then(lambda session_id: session_id == session.id)


class TokenType(DjangoObjectType):
    """A token for programs. Its text is shown once, when it is created."""

    id = graphene.ID(required=True, description="The primary key: unique among tokens.")
    name = graphene.String(required=True, description="The purpose of the token.")
    scope = graphene.Field(TokenScope, required=True, description="What the token may do.")
    created_at = graphene.DateTime(required=True, description="When the token was created.")
    last_used_at = graphene.DateTime(
        description="When the token was last used, exact to five minutes; null if it was not."
    )
    expires_at = graphene.DateTime(
        description="When the token expires; null if it works until it is revoked."
    )

    class Meta:
        """Only these fields of the model are public."""

        name = "ApiToken"
        model = ApiToken
        fields = ("id", "name", "scope", "created_at", "last_used_at", "expires_at")
        convert_choices_to_enum = False


UNCACHED = CacheHint(max_age=0)


@cache_hints(
    id=SHARED,
    node_id=SHARED,
    name=SHARED,
    created_at=SHARED,
    sessions=UNCACHED,
    tokens=UNCACHED,
)
class UserType(DjangoObjectType):
    """A person who writes notes."""

    node_id = NodeId("users.UserById")
    id = graphene.ID(required=True, description="The primary key: unique among users.")
    name = graphene.String(required=True, description="The name, which everybody sees.")
    created_at = graphene.DateTime(required=True, description="When the user joined.")
    confirmed_email = graphene.String(
        description="The address that is good for log-ins, in lower case. Only for oneself and for "
        "staff; otherwise null."
    )
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

    sessions = Edge(
        "users.schema.SessionType",
        loader="users.SessionsByUser",
        many=True,
        description="The sessions of oneself, by id; empty for other users.",
    )
    tokens = Edge(
        "users.schema.TokenType",
        loader="users.TokensByUser",
        many=True,
        description="The API tokens of oneself that are not revoked, by id; empty for other users.",
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

    @staticmethod
    @requires_columns("id", "confirmed_email")
    def resolve_confirmed_email(user: User, info: GraphQLResolveInfo) -> str | None:
        """Return the confirmed address if the policy allows it, else None."""
        return user.confirmed_email if may_see_email(info.context.viewer, user.id) else None


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
