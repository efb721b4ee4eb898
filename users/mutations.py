"""Mutations of users."""

from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from pcf.execution.mutations import clean, mutation, mutation_field, payload_errors, require_login
from pcf.viewer import Viewer
from users import accounts
from users.account_mutations import AccountMutation
from users.models import User
from users.schema import UserType
from users.session_mutations import SessionMutation
from users.token_mutations import TokenMutation


class UpdateProfileInput(graphene.InputObjectType):
    """The changes of the viewer's own profile. A field that is left out stays as it is."""

    name = graphene.String(
        description="The new name, which everybody sees, at most 150 characters."
    )
    email = graphene.String(description="The new e-mail address, at most 254 characters.")


class UpdateProfilePayload(graphene.ObjectType):
    """The viewer after the change, null when it was refused."""

    user = graphene.Field(
        UserType, description="The viewer after the change, null when it was refused."
    )
    user_errors = payload_errors()


@mutation(UpdateProfilePayload)
def update_profile(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Change name and e-mail address of the viewer. A new address gets a link that confirms it."""
    del info
    require_login(viewer)
    user = User.objects.select_for_update().get(pk=viewer.id or 0)
    address = user.email
    for name in values:
        setattr(user, name, values[name] or "")
    if values:
        clean(user, {name: name for name in values})
        user.save(update_fields=list(values))
    if user.email != address:
        accounts.announce_address(user)
    return {"user": user}


class UserMutation(AccountMutation, SessionMutation, TokenMutation):
    """Mutations of users, their accounts, sessions and tokens."""

    update_profile = mutation_field(UpdateProfilePayload, UpdateProfileInput, update_profile)
