"""The outermost layer: request id, deadline, a last answer when something fell through."""

import logging
import re
import secrets
from collections.abc import Callable
from functools import partial

from django.http import HttpRequest, HttpResponse

from pcf.apps import config
from pcf.http import logs
from pcf.http.last_word import last_word
from pcf.http.watchdog import current_watch
from pcf.timeouts import TimeoutContext, activate, carried

logger = logging.getLogger("pcf.http")

REQUEST_ID = "X-Request-ID"
TIMEOUT = "X-Request-Timeout"  # seconds; a client may ask for less than the HTTP limit
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SANE_TIMEOUT = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")


class RequestMiddleware:
    """Opens the TimeoutContext that everything below answers to, as ``request.timeout``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer ``request`` within its time; the answer carries its ``X-Request-ID``."""
        given = request.headers.get(REQUEST_ID, "")
        identity = given if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
        token = logs.request_id.set(identity)
        timeout = open_timeout(request.headers.get(TIMEOUT))
        watch = current_watch()
        if watch is not None:
            watch.work(timeout.deadline, carried(partial(last_word, timeout, identity)))
        request.timeout = timeout  # type: ignore[attr-defined]
        request.request_id = identity  # type: ignore[attr-defined]
        try:
            with activate(timeout):
                response = self._get_response(request)
            if watch is not None and not watch.answer():
                logger.warning("the answer came too late, the client has been told of the timeout")
        finally:
            logs.request_id.reset(token)
        response[REQUEST_ID] = identity
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
        reserve=limits.reserve_http,
        reserves={"graphql": limits.reserve_graphql, "": limits.reserve},
    )
