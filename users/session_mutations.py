"""Mutations of sessions: logging in, refreshing the access, logging out."""

from datetime import UTC
from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from pcf.conf import config
from pcf.database.transactions import run_transaction
from pcf.execution.context import RequestContext, SessionCookie
from pcf.execution.mutations import (
    mutation,
    mutation_field,
    payload_errors,
    refusal,
    require_login,
)
from pcf.execution.paging import parse_id
from pcf.viewer import Scope, Viewer
from users import logins, sessions
from users.models import MAX_DEVICE, Session, User
from users.policy import own_access
from users.schema import TokenScope, UserType
from users.sessions import Access

PASSWORD_POINTS = 100  # of a mutation that hashes a password


class LogInInput(graphene.InputObjectType):
    """An account with its password, and what the session is for."""

    username = graphene.String(
        required=True, description="The username, or the confirmed e-mail address."
    )
    password = graphene.String(required=True, description="The password.")
    device = graphene.String(
        default_value="",
        description=f"A name for the device, which `sessions` shows; {MAX_DEVICE} characters at "
        "most.",
    )
    scope = graphene.Field(
        TokenScope, default_value=Scope.WRITE.value, description="What the session may do."
    )
    cookie = graphene.Boolean(
        default_value=False,
        description="Whether the browser keeps the session in a cookie, out of the reach of "
        "scripts. The payload has no tokens then.",
    )


class RefreshAccessInput(graphene.InputObjectType):
    """The session to go on with."""

    refresh_token = graphene.String(
        description="The newest refresh token. A browser with the session cookie leaves it out."
    )


class EndSessionInput(graphene.InputObjectType):
    """The session to end."""

    id = graphene.ID(required=True, description="The id of the session.")


class SessionPayload(graphene.ObjectType):
    """A session with its tokens. They are null for a session with a cookie."""

    access_token = graphene.String(
        description="The bearer token for the header Authorization; null when refused."
    )
    refresh_token = graphene.String(
        description="The token for the next `refreshAccess`. It is good for one use: a second use "
        "ends the session."
    )
    expires_at = graphene.DateTime(
        description="When the access token or the cookie expires; null when refused."
    )
    user = graphene.Field(UserType, description="The user of the session; null when refused.")
    user_errors = payload_errors()


class LogOutPayload(graphene.ObjectType):
    """Whether the session has ended."""

    user_errors = payload_errors()


class LogOutEverywherePayload(graphene.ObjectType):
    """The number of sessions that have ended."""

    count = graphene.Int(description="The number of sessions that have ended; null when refused.")
    user_errors = payload_errors()


class EndSessionPayload(graphene.ObjectType):
    """The id of the session that has ended."""

    ended_id = graphene.ID(description="The id of the session that has ended; null when refused.")
    user_errors = payload_errors()


@mutation(SessionPayload, atomic=False, points=PASSWORD_POINTS)
def log_in(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Begin a session with a password. The answer does not tell whether the account exists."""
    del viewer
    device = values.device or ""
    if len(device) > MAX_DEVICE:
        message = f"The name of a device has {MAX_DEVICE} characters at most."
        raise refusal("TOO_LONG", message, "device")
    if "\0" in device or not device.isprintable():
        message = "The name of a device has printable characters alone."
        raise refusal("INVALID", message, "device")
    has_cookie = bool(values.cookie)
    if has_cookie:
        _check_cookie(info.context)
    user = logins.authenticate(values.username, values.password, info.context.client.address)
    scope = scope_of(values.scope)
    if scope is Scope.ADMIN and not user.is_staff:
        raise refusal("FORBIDDEN", "Only staff have the powers of this scope.", "scope")
    access = run_transaction(
        lambda: sessions.begin(user, device=device, scope=scope.value, has_cookie=has_cookie)
    )
    return _payload(info.context, access, user)


@mutation(SessionPayload, atomic=False)
def refresh_access(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Get a new access token and a new refresh token, or let the session cookie expire later.

    Send no Authorization header with an access token that has expired.
    """
    del viewer
    client, text = info.context.client, values.get("refresh_token")
    if text is not None:
        access = run_transaction(lambda: sessions.refresh(text))
    elif client.from_cookie:
        access = run_transaction(lambda: sessions.prolong(client.token or ""))
    else:
        raise refusal("REQUIRED", "The refresh token is missing.", "refreshToken")
    if access is None:
        message = "The session has ended, or the refresh token is not its newest one."
        raise refusal("WRONG_CREDENTIALS", message, "refreshToken")
    return _payload(info.context, access, access.session.user)


@mutation(LogOutPayload, atomic=False)
def log_out(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """End the session that the request belongs to. Its tokens and its cookie stop working."""
    del values
    require_login(viewer)
    client = info.context.client
    session_id = sessions.session_id_of(client.token)
    if session_id is None:
        raise refusal("FORBIDDEN", "The token belongs to no session; revoke it instead.")
    run_transaction(lambda: sessions.end([session_id]))
    remove_cookie(info.context)
    return {}


@mutation(LogOutEverywherePayload, atomic=False)
def log_out_everywhere(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """End all sessions of the viewer, on all devices. API tokens stay."""
    del values
    require_login(viewer)
    count = run_transaction(lambda: sessions.end_all(viewer.id))
    remove_cookie(info.context)
    return {"count": count}


@mutation(EndSessionPayload)
def end_session(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """End one session of the viewer."""
    del info
    require_login(viewer)
    own = Session.objects.filter(own_access(viewer), pk=parse_id(values.id) or 0)
    key = own.values_list("pk", flat=True).first()
    if key is None or not sessions.end([key]):
        raise refusal("NOT_FOUND", "There is no such session.", "id")
    return {"ended_id": key}


def scope_of(given: Any) -> Scope:
    """Return the scope of an input: a value of TokenScope, its default, or null for the default."""
    return Scope(getattr(given, "value", given) or Scope.WRITE)


def _check_cookie(context: RequestContext) -> None:
    """Raise MutationRefused where the response cannot set the session cookie."""
    if not config().requests.session_cookie:
        raise refusal("INVALID", "This service keeps no sessions in cookies.", "cookie")
    if not context.client.same_origin:
        raise refusal("FORBIDDEN", "Only pages of this service get the cookie.", "cookie")


def _payload(context: RequestContext, access: Access, user: User) -> dict[str, Any]:
    payload: dict[str, Any] = {"user": user, "expires_at": access.expires_at.astimezone(UTC)}
    if access.session.family is None:
        seconds = sessions.seconds_until(access.expires_at)
        context.session_cookie = SessionCookie(access.access_token, seconds)
        return payload
    return payload | {"access_token": access.access_token, "refresh_token": access.refresh_token}


def remove_cookie(context: RequestContext) -> None:
    """Remove the session cookie of the client, if the request came with one."""
    if context.client.from_cookie:
        context.session_cookie = SessionCookie()


class SessionMutation(graphene.ObjectType):
    """Mutations of sessions."""

    log_in = mutation_field(SessionPayload, LogInInput, log_in)
    refresh_access = mutation_field(SessionPayload, RefreshAccessInput, refresh_access)
    log_out = mutation_field(LogOutPayload, None, log_out)
    log_out_everywhere = mutation_field(LogOutEverywherePayload, None, log_out_everywhere)
    end_session = mutation_field(EndSessionPayload, EndSessionInput, end_session)
