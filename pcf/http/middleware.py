"""Django's middleware for PCF: request id and deadline, allowed hosts, the content security policy.

The ASGI application answers most GraphQL requests without Django's middleware. For these requests
``activate_request`` and ``send_request_started`` do what Django and RequestMiddleware do otherwise.
``unknown_middleware`` tells whether the ASGI application may skip the settings' MIDDLEWARE.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse

from pcf._compat.django import SignalReceivers
from pcf.conf import debugging, graphql_path, middleware_settings
from pcf.database.pool import check_kept_connections, release_connections
from pcf.http.request import BadRequest
from pcf.http.request_state import REQUEST_ID, RequestState, request_state_of
from pcf.http.views import refuse
from pcf.observability import logs
from pcf.timeouts import activate

CSP_HEADER = "Content-Security-Policy"

# The page may load the project's own files alone: no inline code, no eval, and no frame around it.
CSP_DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
CSP_POLICY = "; ".join(f"{name} {sources}" for name, sources in CSP_DIRECTIVES.items())

# Middleware that adds nothing but headers to the response to a GraphQL request.
KNOWN_MIDDLEWARE = frozenset(
    {
        "axes.middleware.AxesMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "pcf.http.middleware.HostMiddleware",
        "pcf.http.middleware.RequestMiddleware",
        "pcf.http.middleware.CSPMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
    }
)

_started_receivers = SignalReceivers(signals.request_started)
_finished_receivers = SignalReceivers(signals.request_finished)

logger = logging.getLogger("pcf.http")


class RequestMiddleware:
    """Opens the request's TimeoutContext as ``request.timeout``; log lines name the request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return the response with its ``X-Request-ID``."""
        state = request_state_of(request)
        request.timeout = state.timeout  # type: ignore[attr-defined]
        request.pcf_request_id = state.request_id  # type: ignore[attr-defined]
        with activate_request(state):
            response = self._get_response(request)
        response[REQUEST_ID] = state.request_id
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            del response["Content-Length"]  # in a 304 it would mean the length of the 200
        if request.method == "HEAD" and not response.streaming:
            response.content = b""  # servers log a warning when they drop the content themselves
        return response


class HostMiddleware:
    """Refuses foreign hosts at the GraphQL endpoint with JSON.

    The middleware stands before Django's, which would refuse the request with an HTML page.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return the response, with the status 400 for a host that is not allowed."""
        if request.path_info.rstrip("/") == graphql_path():
            try:
                request.get_host()
            except DisallowedHost:
                return refuse(request, BadRequest("The Host header names no host of this service"))
        return self._get_response(request)


class CSPMiddleware:
    """Adds the content security policy to HTML pages that have none of their own.

    JSON needs no policy, and the GraphiQL page has its own. Django's pages for debugging have
    inline styles, so they get no policy.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return the response, with the policy if it is an HTML page."""
        response = self._get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if is_page and not (debugging() and response.status_code in {404, 500}):
            response.headers.setdefault(CSP_HEADER, CSP_POLICY)
        return response


class activate_request:  # noqa: N801 - callers use it like a function
    """Make the request's deadline and its id in the log current for the block."""

    __slots__ = ("_deadline", "_state", "_token")

    def __init__(self, state: RequestState) -> None:
        self._state = state
        self._deadline = activate(state.timeout)

    def __enter__(self) -> None:
        self._token = logs.request_id.set(self._state.request_id)
        self._deadline.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._deadline.__exit__(None, None, None)
        logs.request_id.reset(self._token)


def only_django_listens() -> bool:
    """Return whether the signals of requests have no receivers but Django's."""
    return _started_receivers.only_django and _finished_receivers.only_django


def send_request_started(sender: Any, scope: dict[str, Any]) -> None:
    """Send Django's ``request_started`` for a request with this ASGI scope.

    The signal is not sent when only Django listens. Django's receivers then have nothing to do: the
    query log exists under DEBUG alone, and no middleware has changed the URLs.
    """
    if settings.DEBUG or not _started_receivers.only_django:
        signals.request_started.send(sender=sender, scope=scope)
    else:
        check_kept_connections()


def send_request_finished(sender: Any) -> None:
    """Send Django's ``request_finished``.

    When only Django listens, the thread keeps its database connections for its next request, or
    gives them back to their pool, without the signal (``pcf.database.pool.release_connections``).
    The cache's connections stay open.
    """
    if settings.DEBUG or not _finished_receivers.only_django:
        signals.request_finished.send(sender=sender)
    else:
        release_connections()


def unknown_middleware() -> list[str]:
    """Return the entries of MIDDLEWARE that may do more than add headers; log a warning.

    With such an entry, every GraphQL request passes all of MIDDLEWARE. CommonMiddleware is such an
    entry when DISALLOWED_USER_AGENTS is set.
    """
    entries, refuses_clients = middleware_settings()
    unknown = [entry for entry in entries if entry not in KNOWN_MIDDLEWARE]
    if refuses_clients:
        unknown += [entry for entry in entries if entry.endswith(".CommonMiddleware")]
    if unknown:
        logger.warning(
            "GraphQL requests pass all of MIDDLEWARE and are slower, because of %s",
            ", ".join(unknown),
        )
    return unknown
