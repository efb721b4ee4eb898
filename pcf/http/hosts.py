"""Requests for a host that is not ours: at the GraphQL address the refusal is GraphQL's."""

from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse

from pcf.http.protocol import BadRequest
from pcf.http.views import refusal

GRAPHQL_PATH = "/graphql"


class HostMiddleware:
    """Looks at the host before any other middleware does, which would answer with a page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer of what comes after; 400 as JSON for a foreign host at ``/graphql``."""
        if request.path_info.rstrip("/") == GRAPHQL_PATH:
            try:
                request.get_host()
            except DisallowedHost:
                return refusal(request, BadRequest("The Host header names no host of this service"))
        return self._get_response(request)
