"""A WSGI client: calls an application as a server does."""

import io
from dataclasses import dataclass, field
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.core.wsgi import get_wsgi_application


@dataclass
class Reply:
    status: str
    headers: dict[str, str]
    body: bytes


@dataclass
class CountingDjango:
    """Django's WSGI application; ``reached`` has the environs of its requests."""

    application: Any = field(default_factory=get_wsgi_application)
    reached: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, environ, start):
        self.reached.append(environ)
        return self.application(environ, start)


def environ_of(body: bytes | None = None, query_string: str = "", **headers: str) -> dict[str, Any]:
    """Return the environ of a POST of ``body``, or of a GET; headers: ``if_none_match="..."``."""
    environ: dict[str, Any] = {
        "PATH_INFO": "/graphql",
        "REQUEST_METHOD": "GET" if body is None else "POST",
        "QUERY_STRING": query_string,
        "wsgi.input": io.BytesIO(body or b""),
        "HTTP_X_REQUEST_ID": "same",
    }
    if body is not None:
        environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    setup_testing_defaults(environ)
    return environ


def call(application: Any, environ: dict[str, Any]) -> Reply:
    told: list[Any] = []
    answer = application(environ, lambda status, headers, *_: told.extend((status, headers)))
    body = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    status, headers = told
    assert len({name.lower() for name, _ in headers}) == len(headers)
    return Reply(status, dict(headers), body)
