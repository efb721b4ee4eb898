"""Mutations of API tokens."""

from datetime import timedelta
from functools import partial
from typing import Any

import graphene
from django.utils import timezone
from graphql import GraphQLResolveInfo

from pcf.database.transactions import run_transaction
from pcf.execution.mutations import (
    clean,
    mutation,
    mutation_field,
    payload_errors,
    refusal,
    require_login,
)
from pcf.execution.paging import parse_id
from pcf.viewer import Scope, Viewer
from users import sessions
from users.models import MAX_TOKEN_DAYS, ApiToken, User
from users.policy import own_access
from users.schema import TokenScope, TokenType
from users.session_mutations import scope_of

MAX_TOKENS = 100  # of a user, neither revoked nor expired


class CreateTokenInput(graphene.InputObjectType):
    """A new token of the viewer."""

    name = graphene.String(
        required=True, description="The purpose of the token, at most 100 characters."
    )
    scope = graphene.Field(
        TokenScope,
        default_value=Scope.WRITE.value,
        description="What the token may do: no more than the session.",
    )
    expires_in_days = graphene.Int(
        description=f"The days until the token expires, 1 to {MAX_TOKEN_DAYS:,}. Without it the "
        "token works until it is revoked."
    )


class RevokeTokenInput(graphene.InputObjectType):
    """The token to revoke."""

    id = graphene.ID(required=True, description="The id of the token.")


class CreateTokenPayload(graphene.ObjectType):
    """The new token with its text, null when it was refused."""

    token = graphene.Field(TokenType, description="The token, null when it was refused.")
    text = graphene.String(
        description="The text for the header Authorization. It cannot be read again."
    )
    user_errors = payload_errors()


class RevokeTokenPayload(graphene.ObjectType):
    """The id of the token that does not work any more."""

    revoked_id = graphene.ID(description="The id of the revoked token, null when refused.")
    user_errors = payload_errors()


@mutation(CreateTokenPayload, atomic=False)
def create_token(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Create an API token of the viewer. Only a session creates tokens: a token does not."""
    require_login(viewer)
    if sessions.session_id_of(info.context.client.token) is None:
        raise refusal("FORBIDDEN", "Only a session creates tokens. Log in with a password.")
    scope = scope_of(values.scope)
    if not viewer.scope.covers(scope):
        raise refusal("FORBIDDEN", "The session has less rights than this scope.", "scope")
    now, days = timezone.now(), values.get("expires_in_days")
    if days is not None and not 1 <= days <= MAX_TOKEN_DAYS:
        message = f"A token expires after 1 to {MAX_TOKEN_DAYS:,} days."
        raise refusal("INVALID", message, "expiresInDays")
    token = ApiToken(
        user_id=viewer.id,
        name=values.name.strip(),
        scope=scope.value,
        expires_at=None if days is None else now + timedelta(days=days),
    )
    clean(token, {"name": "name"})
    return run_transaction(partial(_create, token))


def _create(token: ApiToken) -> dict[str, Any]:
    User.objects.select_for_update().only("pk").get(pk=token.user_id)  # others count after this
    if ApiToken.objects.valid().filter(user_id=token.user_id, session=None).count() >= MAX_TOKENS:
        raise refusal("INVALID", f"A user has {MAX_TOKENS} tokens at most; revoke one.")
    new, text = ApiToken.issue(
        token.user, token.name, scope=token.scope, expires_at=token.expires_at
    )
    return {"token": new, "text": text}


@mutation(RevokeTokenPayload)
def revoke_token(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Revoke an API token of the viewer. It stops working at once."""
    del info
    require_login(viewer)
    key = parse_id(values.id) or 0
    own = ApiToken.objects.filter(own_access(viewer), session=None, revoked_at=None, pk=key)
    if not own.update(revoked_at=timezone.now()):
        raise refusal("NOT_FOUND", "There is no such token.", "id")
    return {"revoked_id": key}


class TokenMutation(graphene.ObjectType):
    """Mutations of API tokens."""

    create_token = mutation_field(CreateTokenPayload, CreateTokenInput, create_token)
    revoke_token = mutation_field(RevokeTokenPayload, RevokeTokenInput, revoke_token)
