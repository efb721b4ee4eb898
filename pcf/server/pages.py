"""Django's answers: the admin, static files, and GraphQL where only Django can tell.

Django's own ASGI handler starts a thread a request, so it has no bound. Here Django's synchronous
chain runs in the threads of the process, and its connections go back to their pool in the thread
that took them.
"""

import logging
import sys
from contextvars import Context
from http import HTTPStatus
from io import BytesIO
from typing import Any, NamedTuple

from django.core import signals
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpResponseBadRequest, HttpResponseBase
from django.urls import set_script_prefix

from pcf.http.arrival import REQUEST_ID, Arrival, keep_arrival
from pcf.http.views import DEFAULT_HEADERS
from pcf.server.threads import Pipe

Scope = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

logger = logging.getLogger("pcf.http")


class Body(NamedTuple):
    """The body of a request as far as it was read.

    ``length`` is its number of bytes: of ``content``, or more where the body was not read to its
    end; None where the request has no body. ``error`` is set when the body did not come in time.
    """

    content: bytes = b""
    length: int | None = None
    error: OSError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it was read to its end, so that the next request may follow."""
        return self.error is None and len(self.content) == (self.length or 0)


class BrokenBody(BytesIO):
    """A body that could not be read: every reader gets the error."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def read(self, _size: int | None = -1, /) -> bytes:
        """Raises the error."""
        raise self._error


class Pages(BaseHandler):
    """Django's synchronous handler for ASGI scopes; for all threads of a process."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()

    def respond(self, scope: Scope, body: Body, arrival: Arrival) -> HttpResponseBase:
        """Return Django's response, which the caller closes in the same thread."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            request = self._request(scope, body)
        except UnicodeDecodeError:
            logger.warning("Bad Request (UnicodeDecodeError)", exc_info=sys.exc_info())
            return self._sent_by_us(HttpResponseBadRequest())
        keep_arrival(request, arrival)
        return self._sent_by_us(self.get_response(request))

    def _sent_by_us(self, response: HttpResponseBase) -> HttpResponseBase:
        response._handler_class = self.__class__  # type: ignore[attr-defined]  # noqa: SLF001 - as Django's
        return response

    def default_headers(self, scope: Scope, keep: frozenset[bytes]) -> Headers | None:
        """Return the headers that middleware adds to every answer to the scope's origin.

        Only the request headers in ``keep`` are shown to the middleware. None when middleware
        refuses the request: a foreign host, or no TLS.
        """
        headers = [header for header in scope["headers"] if header[0] in keep]
        asked = {**scope, "method": "GET", "query_string": b"", "headers": headers}
        response = Context().run(self._ask_default_headers, asked)
        if response.status_code != HTTPStatus.OK:
            return None
        left_out = (REQUEST_ID.lower(), "content-length")
        return [(n, v) for n, v in encoded(response) if n.decode().lower() not in left_out]

    def _ask_default_headers(self, scope: Scope) -> HttpResponseBase:
        request = self._request(scope, Body())
        request.META[DEFAULT_HEADERS] = True
        response: HttpResponseBase = self.get_response(request)
        response.close()
        return response

    @staticmethod
    def _request(scope: Scope, body: Body) -> ASGIRequest:
        """Raises UnicodeDecodeError for headers that are no text."""
        query = scope["query_string"].decode("latin-1")  # bytes in disguise, as in WSGI
        stream = BytesIO(body.content) if body.error is None else BrokenBody(body.error)
        request = ASGIRequest({**scope, "query_string": query}, stream)
        if body.length is not None:
            request.META["CONTENT_LENGTH"] = str(body.length)
        return request


def encoded(response: HttpResponseBase) -> Headers:
    """Return the headers of Django's response, cookies among them."""
    headers = [(n.encode("ascii"), v.encode("latin-1")) for n, v in response.items()]
    headers += [
        (b"Set-Cookie", cookie.output(header="").strip().encode("ascii"))
        for cookie in response.cookies.values()
    ]
    return headers


def stream(response: Any, pipe: Pipe) -> None:
    """Put the pieces of a streaming response into ``pipe``, and None behind the last; close it."""
    pipe.is_begun = True
    try:
        for piece in response:
            if piece:
                pipe.put(bytes(piece))
    finally:
        response.close()
    pipe.put(None)
