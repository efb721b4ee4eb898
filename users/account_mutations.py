"""Mutations of accounts: signing up, addresses, passwords."""

from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from pcf.database.transactions import run_transaction
from pcf.execution.mutations import (
    mutation,
    mutation_field,
    payload_errors,
    refusal,
    require_login,
)
from pcf.viewer import Viewer
from users import accounts, logins, sessions
from users.accounts import SignUp
from users.models import User
from users.passwords import MAX_PASSWORD
from users.schema import UserType
from users.session_mutations import PASSWORD_POINTS, remove_cookie

_NEW_PASSWORD = f"The new password, {MAX_PASSWORD} characters at most."


class SignUpInput(graphene.InputObjectType):
    """A new account."""

    username = graphene.String(
        description="The name to log in with, at most 150 characters: letters, digits and "
        ". + - _ alone. An account without one logs in with its confirmed address."
    )
    email = graphene.String(
        required=True,
        description="The e-mail address, at most 254 characters. It gets a link that confirms it.",
    )
    password = graphene.String(
        required=True, description=f"The password, {MAX_PASSWORD} characters at most."
    )
    name = graphene.String(
        required=True, description="The name, which everybody sees, at most 150 characters."
    )
    invitation = graphene.String(
        description="The text of an invitation, where only invited people can sign up."
    )


class TokenInput(graphene.InputObjectType):
    """The text of a link that a mail had."""

    token = graphene.String(required=True, description="The text of the link.")


class RequestPasswordResetInput(graphene.InputObjectType):
    """The account whose password was forgotten."""

    username = graphene.String(required=True, description="The username, or the e-mail address.")


class ResetPasswordInput(graphene.InputObjectType):
    """A new password, by the link of a mail."""

    token = graphene.String(required=True, description="The text of the link.")
    password = graphene.String(required=True, description=_NEW_PASSWORD)


class ChangePasswordInput(graphene.InputObjectType):
    """A new password of the viewer."""

    current_password = graphene.String(required=True, description="The password until now.")
    new_password = graphene.String(required=True, description=_NEW_PASSWORD)


class PasswordInput(graphene.InputObjectType):
    """The password of the viewer, once more."""

    password = graphene.String(required=True, description="The password of the viewer.")


class UserPayload(graphene.ObjectType):
    """The user after the change, null when it was refused."""

    user = graphene.Field(
        UserType, description="The user after the change, null when it was refused."
    )
    user_errors = payload_errors()


class DeactivateAccountPayload(graphene.ObjectType):
    """The id of the account that is closed."""

    deactivated_id = graphene.ID(description="The id of the user, null when it was refused.")
    user_errors = payload_errors()


class DeleteAccountPayload(graphene.ObjectType):
    """The id of the account that is gone."""

    deleted_id = graphene.ID(description="The id of the user, null when it was refused.")
    user_errors = payload_errors()


class RequestEmailConfirmationPayload(graphene.ObjectType):
    """Whether a mail goes to the address."""

    user_errors = payload_errors()


class RequestPasswordResetPayload(graphene.ObjectType):
    """The same for every account, and for none."""

    user_errors = payload_errors()


@mutation(UserPayload, atomic=False, points=PASSWORD_POINTS)
def sign_up(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Create an account. A mail confirms its address; the account works before.

    The answer is the same whether the address has another account or not.
    """
    del viewer, info
    given = SignUp(
        values.get("username"), values.email, values.password, values.name,
        values.get("invitation"),
    )  # fmt: skip
    return {"user": accounts.sign_up(given)}


@mutation(UserPayload)
def confirm_email(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Confirm the address of an account by the link of a mail."""
    del viewer, info
    return {"user": accounts.confirm_email(values.token)}


@mutation(RequestEmailConfirmationPayload, points=PASSWORD_POINTS)
def request_email_confirmation(
    viewer: Viewer, info: GraphQLResolveInfo, values: Any
) -> dict[str, Any]:
    """Send the viewer another link that confirms the e-mail address."""
    del info, values
    require_login(viewer)
    user = User.objects.get(pk=viewer.id)
    if not user.email:
        raise refusal("REQUIRED", "The account has no address.")
    accounts.send_confirmation(user)
    return {}


@mutation(RequestPasswordResetPayload, points=PASSWORD_POINTS)
def request_password_reset(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Send a mail with a link that sets another password.

    The answer does not tell whether there is such an account.
    """
    del viewer, info
    accounts.request_reset(values.username)
    return {}


@mutation(UserPayload, atomic=False, points=PASSWORD_POINTS)
def reset_password(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Set another password by the link of a mail. All sessions of the account end."""
    del viewer, info
    return {"user": accounts.reset_password(values.token, values.password)}


@mutation(UserPayload, atomic=False, points=PASSWORD_POINTS)
def change_password(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Change the password of the viewer. All other sessions of the viewer end."""
    user = authenticated(viewer, info, values.current_password)
    session_id = sessions.session_id_of(info.context.client.token)
    accounts.change_password(user, values.new_password, session_id=session_id)
    return {"user": user}


@mutation(DeactivateAccountPayload, atomic=False, points=PASSWORD_POINTS)
def deactivate_account(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Close the account of the viewer: all sessions and tokens end, and nobody can log in.

    The notes stay. Staff can open the account again.
    """
    user = authenticated(viewer, info, values.password)
    run_transaction(lambda: accounts.deactivate(user))
    remove_cookie(info.context)
    return {"deactivated_id": user.pk}


@mutation(DeleteAccountPayload, atomic=False, points=PASSWORD_POINTS)
def delete_account(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Delete the account of the viewer for ever, with all notes, sessions and tokens.

    Access ends at once. The rows of an account with very many notes go a little later.
    """
    user = authenticated(viewer, info, values.password)
    key = user.pk
    accounts.delete(user)
    remove_cookie(info.context)
    return {"deleted_id": key}


def authenticated(viewer: Viewer, info: GraphQLResolveInfo, password: str) -> User:
    """Return the viewer, who has to give the password again. Raises MutationRefused."""
    require_login(viewer)
    username = User.objects.values_list("username", flat=True).get(pk=viewer.id)
    return logins.authenticate(username, password, info.context.client.address)


class AccountMutation(graphene.ObjectType):
    """Mutations of accounts."""

    sign_up = mutation_field(UserPayload, SignUpInput, sign_up)
    confirm_email = mutation_field(UserPayload, TokenInput, confirm_email)
    request_email_confirmation = mutation_field(
        RequestEmailConfirmationPayload, None, request_email_confirmation
    )
    request_password_reset = mutation_field(
        RequestPasswordResetPayload, RequestPasswordResetInput, request_password_reset
    )
    reset_password = mutation_field(UserPayload, ResetPasswordInput, reset_password)
    change_password = mutation_field(UserPayload, ChangePasswordInput, change_password)
    delete_account = mutation_field(DeleteAccountPayload, PasswordInput, delete_account)
    deactivate_account = mutation_field(DeactivateAccountPayload, PasswordInput, deactivate_account)
