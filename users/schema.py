"""The users' part of the schema."""

import graphene
from graphene_django import DjangoObjectType
from graphql import GraphQLResolveInfo

from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import Edge, RootEdge, Route, page_of
from pcf.execution.hints import CacheHint, cache_hints
from pcf.execution.paging import parse_id
from pcf.execution.rows import needs
from users.models import User
from users.policy import may_see_email

SHARED = CacheHint(shared=True)  # all viewers see the same users


@cache_hints(id=SHARED, name=SHARED, created_at=SHARED)
class UserType(DjangoObjectType):
    """A person who writes notes."""

    email = graphene.String(description="Only for oneself and for staff; otherwise null.")
    notes = Edge(
        "notes.schema.NoteType",
        loader="notes.NotesByAuthor",
        many=True,
        first=100,
        description="The notes of this user that the viewer may read, by id.",
    )

    class Meta:
        """Only these fields of the model are public."""

        name = "User"
        model = User
        fields = ("id", "name", "created_at")

    @staticmethod
    @needs("id", "email")
    def resolve_email(user: User, info: GraphQLResolveInfo) -> str | None:
        """The address when the policy allows it."""
        return user.email if may_see_email(info.context.viewer, user.id) else None


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
    user = RootEdge(
        "users.schema.UserType",
        loaders=("users.UserById",),
        route=lambda _context, arguments: Route("users.UserById", parse_id(arguments["id"])),
        id=graphene.ID(required=True),
    )
    me = RootEdge(
        "users.schema.UserType",
        loaders=("users.UserById",),
        route=lambda context, _arguments: Route("users.UserById", context.viewer.id),
        description="The viewer; null for an anonymous one.",
    )
