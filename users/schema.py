"""The users' part of the schema."""

from typing import Any

import graphene
from graphene_django import DjangoObjectType
from graphql import GraphQLResolveInfo

from pcf.execution.edges import Edge
from pcf.execution.paging import page_arguments, parse_id, parse_page
from pcf.execution.rows import needs
from users.models import User
from users.policy import may_see_email


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


class UserQuery(graphene.ObjectType):
    """Queries for users."""

    users = graphene.List(
        graphene.NonNull(UserType),
        required=True,
        description="All users, by id.",
        **page_arguments(20),
    )
    user = graphene.Field(UserType, id=graphene.ID(required=True))
    me = graphene.Field(UserType, description="The viewer; null for an anonymous one.")

    @staticmethod
    def resolve_users(_root: Any, info: GraphQLResolveInfo, first: int, after: Any = None) -> Any:
        """A page of users."""
        page = parse_page(first, after)
        info.context.dependencies.add_list("users")
        return list(User.objects.filter(id__gt=page.after).order_by("id")[: page.first])

    @staticmethod
    def resolve_user(_root: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        """One user, or null."""
        user_id = parse_id(arguments["id"])
        return user_id and info.context.loaders.get("users.UserById").load(user_id)

    @staticmethod
    def resolve_me(_root: Any, info: GraphQLResolveInfo) -> Any:
        """The viewer's own record."""
        viewer = info.context.viewer
        return viewer.id and info.context.loaders.get("users.UserById").load(viewer.id)
