"""The outermost layer: request id, deadline, a last answer when something fell through."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from time import perf_counter
from typing import Any

from django.http import HttpRequest, HttpResponse

from pcf.apps import config
from pcf.cache.responses import Lookup
from pcf.http import logs
from pcf.timeouts import TimeoutContext, activate

REQUEST_ID = "X-Request-ID"
_ARRIVAL = "pcf.arrival"  # in the WSGI environ
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SANE_TIMEOUT = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")


@dataclass(slots=True)
class Arrival:
    """One request from its first moment: its id and deadline, and what the front found out.

    ``known_as`` is a digest of its bytes, by which the same request is recognised the next time.
    When the cache was ``asked`` already for ``digest``, ``lookup`` is what it said.
    """

    request_id: str
    timeout: TimeoutContext
    started: float = field(default_factory=perf_counter)  # seconds
    known_as: bytes | None = None
    asked: bool = False
    digest: str | None = None
    lookup: Lookup | None = field(default=None, repr=False)


def arrival_of(environ: dict[str, Any]) -> Arrival:
    """The arrival of the request with this WSGI environ; however often it is asked, the same."""
    arrival: Arrival | None = environ.get(_ARRIVAL)
    if arrival is None:
        given = environ.get("HTTP_X_REQUEST_ID")
        arrival = environ[_ARRIVAL] = Arrival(
            given if given and _SANE_ID.fullmatch(given) else secrets.token_hex(8),
            open_timeout(environ.get("HTTP_X_REQUEST_TIMEOUT")),
        )
    return arrival


class RequestMiddleware:
    """Opens the TimeoutContext that everything below answers to, as ``request.timeout``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer ``request`` within its time; the answer carries its ``X-Request-ID``."""
        arrival = arrival_of(request.META)
        token = logs.request_id.set(arrival.request_id)
        request.timeout = arrival.timeout  # type: ignore[attr-defined]
        request.request_id = arrival.request_id  # type: ignore[attr-defined]
        try:
            with activate(arrival.timeout):
                response = self._get_response(request)
        finally:
            logs.request_id.reset(token)
        response[REQUEST_ID] = arrival.request_id
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            del response["Content-Length"]  # of no bytes, while that of a 200 would be meant
        return response


def open_timeout(asked: str | None = None) -> TimeoutContext:
    """A request's deadline: the HTTP limit, or the seconds that the client asked for if fewer.

    What is not a number of seconds is as good as not asked.
    """
    limits = config().timeouts
    seconds = limits.http
    layer = "http"
    if asked and _SANE_TIMEOUT.fullmatch(asked) and 0 < float(asked) < seconds:
        seconds, layer = float(asked), "client"
    return TimeoutContext.start(
        layer,
        seconds,
        limits={"graphql": limits.graphql, "database": limits.database, "cache": limits.cache},
        reserve=limits.reserve,
    )
