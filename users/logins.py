"""Log-ins by password, to the admin and through the API, and the limits of failed ones.

django-axes counts failures in PostgreSQL, by account and by address (``settings.base``). While
PostgreSQL is down, every log-in fails.

``authenticate`` does the same work for an account that does not exist: Django's backend then hashes
the password as well.
"""

from collections.abc import Mapping
from typing import Any

from axes.helpers import get_cool_off, get_failure_limit
from django.contrib import auth
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ValidationError
from django.db.models import Case, IntegerField, Q, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from pcf.conf import config, graphql_path
from pcf.execution.mutations import is_storable, refusal
from pcf.http.headers import client_address as address_of
from users import passwords
from users.models import User

MAX_PASSWORD = passwords.MAX_PASSWORD
MAX_NAME = 150  # characters; Django's log-in form has no such limit


def client_address(request: HttpRequest) -> str | None:
    """Return the client's address, found as for rate limits (``rates.trusted_proxies``).

    An IPv6 address stands for its network. All requests without a known address, None, count
    together.
    """
    forwarded = request.headers.get("x-forwarded-for")
    remote = request.META.get("REMOTE_ADDR")
    address = address_of(remote, forwarded, config().rates.trusted_proxies)
    return None if address == "unknown" else address.partition("/")[0]


def account_name(request: HttpRequest, credentials: Mapping[str, Any] | None) -> str:
    """Return the typed account name, cut to the length that a name can have."""
    typed = (request.POST if credentials is None else credentials).get(User.USERNAME_FIELD)
    return str(typed or "")[:MAX_NAME]


def locked_out(request: HttpRequest, _response: Any, credentials: Any) -> HttpResponse:
    """Return the page for a locked account or address, with status 429 (RFC 6585)."""
    wait = get_cool_off(request).total_seconds()
    context = {"failures": get_failure_limit(request, credentials), "minutes": round(wait / 60)}
    response = render(request, "admin/locked_out.html", context, status=429)
    response["Retry-After"] = str(round(wait))
    response["Cache-Control"] = "no-store"
    return response


class PasswordBackend(ModelBackend):
    """Django's backend, which checks a password within the limit of ``users.passwords``."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None,
        password: str | None = None, **credentials: Any,
    ) -> Any:  # fmt: skip
        """Return the user with this password, or None. Raises TooManyPasswords."""
        with passwords.limit.acquire():
            return super().authenticate(request, username, password, **credentials)


class LogInForm(AdminAuthenticationForm):
    """The admin's log-in form. It asks for patience when too many passwords wait."""

    def clean(self) -> dict[str, Any]:
        """Return the cleaned data, as Django's form does. Raises ValidationError."""
        try:
            return super().clean()
        except passwords.TooManyPasswords as error:
            raise ValidationError(str(error), code="too_many") from error


def authenticate(typed: str, password: str, address: str) -> User:
    """Return the active user with this username or confirmed address, and this password.

    ``address`` is the network address of the client. Raises MutationRefused: WRONG_CREDENTIALS, or
    THROTTLED after too many failures of the account or of the address. Raises TooManyPasswords.
    """
    if not (is_storable(typed) and is_storable(password)) or len(password) > MAX_PASSWORD:
        typed = password = ""
    request = _request_from(address)
    username = _username_of(typed) or typed[:MAX_NAME]
    user = auth.authenticate(request, username=username, password=password)
    if getattr(request, "axes_locked_out", False):
        minutes = round(get_cool_off(request).total_seconds() / 60)
        raise refusal(
            "THROTTLED", f"Too many log-ins failed. Try again after {minutes} minutes.", None
        )
    if not isinstance(user, User):
        raise refusal("WRONG_CREDENTIALS", "The account or the password is wrong.", None)
    user_logged_in.send(sender=User, request=request, user=user)
    return user


def _username_of(typed: str) -> str | None:
    """Return the username of the account that a person means; None when there is none.

    A username wins over an address.
    """
    found = User.objects.filter(Q(username=typed) | Q(confirmed_email=typed.lower()))
    is_username = Case(When(username=typed, then=Value(0)), default=Value(1))
    is_username.output_field = IntegerField()
    return found.order_by(is_username).values_list("username", flat=True).first()


def _request_from(address: str) -> HttpRequest:
    """Return a request of Django, as django-axes needs it."""
    request = HttpRequest()
    request.method = "POST"
    request.path = request.path_info = graphql_path()
    request.META = {"REMOTE_ADDR": address.partition("/")[0], "PATH_INFO": graphql_path()}
    return request
