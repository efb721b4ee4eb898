"""Log-ins to the admin that failed too often: who is counted, and what they see.

django-axes counts in PostgreSQL, by account and by address (``settings.base``). With PostgreSQL
gone nobody can log in anyhow.
"""

from collections.abc import Mapping
from typing import Any

from axes.helpers import get_cool_off, get_failure_limit
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from pcf.apps import config
from pcf.http.address import client_address as address_of
from users.models import User

MAX_NAME = 150  # characters; Django's log-in form does not hold it


def client_address(request: HttpRequest) -> str | None:
    """The address that failures are counted for, as rates count it (``rates.trusted_proxies``).

    Of an IPv6 address the network; None when it is not known, and those count as one.
    """
    forwarded = request.headers.get("x-forwarded-for")
    remote = request.META.get("REMOTE_ADDR")
    address = address_of(remote, forwarded, config().rates.trusted_proxies)
    return None if address == "unknown" else address.partition("/")[0]


def account_name(request: HttpRequest, credentials: Mapping[str, Any] | None) -> str:
    """The account that failures are counted for: what was typed, cut to what a name can have."""
    typed = (request.POST if credentials is None else credentials).get(User.USERNAME_FIELD)
    return str(typed or "")[:MAX_NAME]


def locked_out(request: HttpRequest, _response: Any, credentials: Any) -> HttpResponse:
    """The page that an account or an address gets while it is locked out: 429 (RFC 6585)."""
    wait = get_cool_off(request).total_seconds()
    context = {"failures": get_failure_limit(request, credentials), "minutes": round(wait / 60)}
    response = render(request, "admin/locked_out.html", context, status=429)
    response["Retry-After"] = str(round(wait))
    response["Cache-Control"] = "no-store"
    return response
