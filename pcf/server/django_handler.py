"""Answers by Django: the admin, static files, and GraphQL requests that only Django understands.

Django's own ASGI handler starts a thread for each request, without a bound. Here Django's
synchronous handler runs in the request threads. Its database connections return to their pool in
the thread that took them.
"""

import logging
from contextvars import Context
from http import HTTPStatus
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core import signals
from django.db import close_old_connections
from django.http import HttpResponseBadRequest, HttpResponseBase
from django.urls import set_script_prefix

from pcf._compat.django import ASGIRequest, BaseHandler, release_body, set_sender
from pcf.http.request_state import REQUEST_ID, attach_request_state
from pcf.http.views import DEFAULT_HEADERS
from pcf.server.messages import Answer, Body, Headers, ReceivedRequest, Scope
from pcf.server.threads import ChunkQueue

_PER_ANSWER = (REQUEST_ID.lower(), "content-length")  # headers that differ from answer to answer

logger = logging.getLogger("pcf.http")


class DjangoHandler(BaseHandler):
    """Django's synchronous handler for ASGI scopes; safe for all threads of a process."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()

    def answer(self, received: ReceivedRequest) -> Answer:
        """Return Django's answer, with a body or with a streaming response."""
        response = self.respond(received)
        if not response.streaming:
            try:
                content = bytes(response.content)  # type: ignore[attr-defined]
            finally:
                response.close()
            return Answer(response.status_code, encoded(response), content)
        close_old_connections()  # the thread that streams has its own connections
        return Answer(response.status_code, encoded(response), stream=response)

    def respond(self, received: ReceivedRequest) -> HttpResponseBase:
        """Return Django's response, which the caller closes in the same thread."""
        scope = received.scope
        set_script_prefix(settings.FORCE_SCRIPT_NAME or scope.get("root_path") or "")
        signals.request_started.send(sender=self.__class__, scope=scope)
        response: HttpResponseBase
        try:
            request = _request_of(scope, received.body)
        except UnicodeDecodeError:
            logger.warning("Bad Request: the path is not UTF-8")
            response = HttpResponseBadRequest()
        else:
            attach_request_state(request, received.state)
            response = self.get_response(request)
            if not response.streaming:
                release_body(request)
        set_sender(response, self.__class__)
        return response

    def default_headers(self, scope: Scope, names: frozenset[bytes]) -> Headers | None:
        """Return the headers that middleware adds to every answer, for the origin of ``scope``.

        The middleware sees the request headers in ``names`` alone. Returns None when the middleware
        refuses the request, because of its host or because it came without TLS.
        """
        headers = [header for header in scope["headers"] if header[0] in names]
        bare = {**scope, "method": "GET", "query_string": b"", "headers": headers}
        response = Context().run(self._respond_with_defaults, bare)
        if response.status_code != HTTPStatus.OK:
            return None
        return [(n, v) for n, v in encoded(response) if n.decode().lower() not in _PER_ANSWER]

    def _respond_with_defaults(self, scope: Scope) -> HttpResponseBase:
        request = _request_of(scope, Body())
        request.META[DEFAULT_HEADERS] = True
        response: HttpResponseBase = self.get_response(request)
        response.close()
        return response


class _BrokenBody(BytesIO):
    """A body that the server could not read: every read raises the error."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def read(self, _size: int | None = -1, /) -> bytes:
        """Raise the error."""
        raise self._error


def _request_of(scope: Scope, body: Body) -> ASGIRequest:
    """Return Django's request. Raises UnicodeDecodeError for headers that are no text."""
    query = scope["query_string"].decode("latin-1")  # one character a byte, as in WSGI
    stream = BytesIO(body.content) if body.error is None else _BrokenBody(body.error)
    request = ASGIRequest({**scope, "query_string": query}, stream)
    if body.length is not None:
        request.META["CONTENT_LENGTH"] = str(body.length)
    return request


def encoded(response: HttpResponseBase) -> Headers:
    """Return the headers and the cookies of a response as ASGI headers."""
    headers = [(n.encode("ascii"), v.encode("latin-1")) for n, v in response.items()]
    headers += [
        (b"Set-Cookie", cookie.output(header="").strip().encode("ascii"))
        for cookie in response.cookies.values()
    ]
    return headers


def send_chunks(response: Any, chunks: ChunkQueue) -> None:
    """Put the chunks of a streaming response and the end into the queue; close the response."""
    chunks.has_producer = True
    try:
        for chunk in response:
            if chunk:
                chunks.put(bytes(chunk))
    finally:
        response.close()
    chunks.put(None)
