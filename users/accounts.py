"""Accounts: signing up, confirming an address, passwords that were forgotten or change, the end.

No answer says whether an e-mail address has an account. Anybody may sign up with any address, and
several accounts may have one address. But one account alone can confirm it
(``User.confirmed_email``), and only a confirmed address is good for log-ins.

A username is a handle: the answer says that another account has it, because the person has to
choose another one. Where no answer may say so, ``USERS_USERNAMES`` is False: nobody chooses a
username, and people log in with their confirmed address. An account without a chosen username has a
random one.

The links of mails hold signed texts, so no table holds them (``django.core.signing``, and Django's
generator of tokens to reset passwords).
"""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core import signing
from django.db.models import Q
from django.utils import timezone
from django.utils.http import base36_to_int, int_to_base36

from pcf.database.deletion import delete_in_steps, deletes, run_in_time
from pcf.database.transactions import run_transaction
from pcf.execution.mutations import clean, is_storable, refusal
from pcf.http.idempotency import forget_answers
from users import mail, passwords, sessions
from users.models import User

SIGN_UP_MODES = ("open", "invited", "closed")
CONFIRMATION_LIFETIME = timedelta(days=3)
INVITATION_LIFETIME = timedelta(days=14)

_CONFIRMATION = "users.confirm-email"
_INVITATION = "users.invitation"
_MAX_RESETS = 3  # accounts with one address that get a mail


class SignUp(NamedTuple):
    """What a person gives to sign up."""

    username: str | None
    email: str
    password: str
    name: str
    invitation: str | None = None


def sign_up(given: SignUp) -> User:
    """Create a user. Raises MutationRefused and TooManyPasswords."""
    if given.username is not None and not settings.USERS_USERNAMES:
        message = "Nobody has a username here. Leave it out, and log in with the address."
        raise refusal("INVALID", message, "username")
    username = _random_username() if given.username is None else given.username
    user = User(username=username, email=given.email.strip(), name=given.name.strip())
    invited = _check_mode(given, user.email)
    if not user.email:
        raise refusal("REQUIRED", "The address is missing.", "email")
    if "@" in user.username:
        message = "A username has no @, so that nobody takes it for an address."
        raise refusal("INVALID", message, "username")
    clean(user, {name: name for name in ("username", "email", "name")})
    passwords.check_rules(given.password, user, "password")
    user.password = passwords.hashed(given.password)

    def create() -> User:
        new = User(username=user.username, email=user.email, name=user.name)
        new.password = user.password
        if invited:
            if _owner_of(new.email) is not None:
                raise _wrong_invitation()
            new.confirmed_email = new.email.lower()
        new.save(force_insert=True)
        if not invited:
            send_confirmation(new)
        return new

    return run_transaction(create)


def _random_username() -> str:
    return f"user-{secrets.token_hex(16)}"


def send_confirmation(user: User) -> None:
    """Send a link that confirms the address of ``user``.

    The owner of the address learns of it when another account has confirmed the address.
    """
    owner = _owner_of(user.email)
    if owner is None:
        token = signing.dumps({"user": user.pk, "email": user.email}, salt=_CONFIRMATION)
        days = CONFIRMATION_LIFETIME.days
        mail.send("confirm_email", user.email, token=token, days=days)
    elif owner.pk != user.pk:
        mail.send("account_exists", user.email, name=owner.name, username=owner.username)


def announce_address(user: User) -> None:
    """Send a link to the new address of ``user``, and tell the owner of the confirmed one."""
    if user.email:
        send_confirmation(user)
    if user.confirmed_email and user.confirmed_email != user.email.lower():
        mail.send("email_changed", user.confirmed_email, name=user.name, username=user.username)


def confirm_email(token: str) -> User:
    """Confirm the address that a link was sent to. Raises MutationRefused."""
    wrong = refusal("INVALID", "The link is not valid, or no longer.", "token")
    found = _read(token, _CONFIRMATION, CONFIRMATION_LIFETIME)
    if found is None:
        raise wrong
    user = User.objects.select_for_update().filter(pk=found["user"], is_active=True).first()
    if user is None or user.email != found["email"]:
        raise wrong
    if _owner_of(user.email) not in {None, user}:
        raise wrong
    user.confirmed_email = user.email.lower()
    user.save(update_fields=["confirmed_email"])
    return user


def invite(email: str) -> str:
    """Send an invitation to sign up with the address ``email``; return its text."""
    token = signing.dumps({"email": email.lower()}, salt=_INVITATION)
    mail.send("invitation", email, token=token, days=INVITATION_LIFETIME.days)
    return token


def request_reset(typed: str) -> None:
    """Send a link that sets another password, if there is such an account."""
    if not is_storable(typed):
        return
    unconfirmed = Q(confirmed_email=None, email__iexact=typed) & ~Q(email="")
    meant = Q(username=typed) | Q(confirmed_email=typed.lower()) | unconfirmed
    hours = timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT) // timedelta(hours=1)
    for user in User.objects.filter(meant, is_active=True).order_by("pk")[:_MAX_RESETS]:
        address = user.confirmed_email or user.email
        if address:
            token = f"{int_to_base36(user.pk)}-{default_token_generator.make_token(user)}"
            mail.send(
                "reset_password",
                address,
                name=user.name,
                username=user.username,
                token=token,
                hours=hours,
            )


def reset_password(token: str, password: str) -> User:
    """Set the password by the link of a mail, and end all sessions of the user.

    The link was read by the owner of the address, so it confirms an address that nobody has
    confirmed. Raises MutationRefused and TooManyPasswords.
    """
    user = _user_of_reset(token)
    if user is None:
        raise refusal("INVALID", "The link is not valid, or no longer.", "token")
    passwords.check_rules(password, user, "password")
    hashed = passwords.hashed(password)

    def change() -> User:
        locked = User.objects.select_for_update().get(pk=user.pk)
        if not default_token_generator.check_token(locked, token.partition("-")[2]):
            raise refusal("INVALID", "The link is not valid, or no longer.", "token")
        if locked.confirmed_email is None and _owner_of(locked.email) is None:
            locked.confirmed_email = locked.email.lower()
        _set_password(locked, hashed)
        sessions.end_all(locked.pk)
        return locked

    return run_transaction(change)


def change_password(user: User, password: str, *, session_id: int | None) -> None:
    """Set the password of ``user``, and end all sessions but ``session_id``.

    Raises MutationRefused and TooManyPasswords.
    """
    passwords.check_rules(password, user, "newPassword")
    hashed = passwords.hashed(password)

    def change() -> None:
        _set_password(User.objects.select_for_update().get(pk=user.pk), hashed)
        sessions.end_all(user.pk, but=session_id)

    run_transaction(change)


def deactivate(user: User) -> None:
    """End all sessions and tokens of ``user``, and refuse further log-ins.

    Staff can activate the account again. Its tokens stay revoked.
    """
    user.is_active = False
    user.save(update_fields=["is_active"])
    sessions.end_all(user.pk)
    user.api_tokens.filter(revoked_at=None).update(revoked_at=timezone.now())


def delete(user: User) -> None:
    """Close the account, and delete it with all that belongs to it, in steps.

    The time of a request may not be enough for many rows. Then ``manage.py purge_accounts`` deletes
    the rest. Raises MutationRefused for staff: the admin deletes them, with the history of their
    changes.
    """
    if user.is_staff:
        raise refusal("FORBIDDEN", "The accounts of staff are deleted in the admin.")

    def close() -> None:
        locked = User.objects.select_for_update().get(pk=user.pk)
        locked.deletion_requested_at = timezone.now()
        locked.save(update_fields=["deletion_requested_at"])
        deactivate(locked)
        _forget([user.pk])

    run_transaction(close)
    run_in_time(delete_in_steps(User.objects.filter(pk=user.pk)))


def delete_rows(user_id: int) -> None:
    """Delete an account that is closed, in steps, however long it takes."""
    for _ in delete_in_steps(User.objects.filter(pk=user_id)):
        pass


@deletes(User)
def _delete_users(user_ids: Sequence[int]) -> int:
    """Delete users, with the stored answers of their mutations and those that show them."""
    count, _ = User.objects.filter(pk__in=user_ids).only("pk").delete()
    _forget(user_ids)
    return count


def _forget(user_ids: Sequence[int]) -> None:
    for kind in ("account", "user"):
        forget_answers(kind, user_ids)


def _check_mode(given: SignUp, email: str) -> bool:
    """Return whether the person was invited. Raises MutationRefused where nobody may sign up."""
    mode = settings.USERS_SIGN_UP
    if mode == "closed":
        raise refusal("FORBIDDEN", "Nobody can sign up here.")
    if given.invitation is None and mode == "open":
        return False
    found = _read(given.invitation or "", _INVITATION, INVITATION_LIFETIME)
    if found is None or found["email"] != email.lower():
        raise _wrong_invitation()
    return True


def _wrong_invitation() -> Exception:
    message = "The invitation is not valid, or no longer, or for another address."
    return refusal("INVALID", message, "invitation")


def _owner_of(email: str) -> User | None:
    """Return the user that has confirmed this address."""
    return User.objects.filter(confirmed_email=email.lower()).first() if email else None


def _user_of_reset(token: str) -> User | None:
    key, _, rest = token.partition("-")
    try:
        pk = base36_to_int(key)
    except ValueError:
        return None
    user = User.objects.filter(pk=pk, is_active=True).first()
    return user if user is not None and default_token_generator.check_token(user, rest) else None


def _set_password(user: User, hashed: str) -> None:
    user.password = hashed
    user.save(update_fields=["password", "confirmed_email"])
    address = user.confirmed_email or user.email
    if address:
        mail.send("password_changed", address, name=user.name, username=user.username)


def _read(token: str, salt: str, lifetime: timedelta) -> Any:
    """Return what a signed text holds; None for a text that is wrong or too old."""
    try:
        return signing.loads(token, salt=salt, max_age=lifetime)
    except (signing.BadSignature, ValueError):
        return None
