"""Failed log-ins to the admin: the account and the address that django-axes counts, the lock page.

django-axes counts failures in PostgreSQL, by account and by address (``settings.base``). While
PostgreSQL is down, every log-in fails.
"""

from collections.abc import Mapping
from typing import Any

from axes.helpers import get_cool_off, get_failure_limit
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from pcf.conf import config
from pcf.http.headers import client_address as address_of
from users.models import User

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
