"""GraphiQL: the page that a browser gets from the GraphQL address, and who counts as a browser."""

import secrets

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers, patch_vary_headers

from pcf.http.negotiation import quality, quality_values

HTML = "text/html"
JSON = ("application/json", "application/graphql-response+json")

NONCE_BYTES = 16


def graphiql_page(request: HttpRequest) -> HttpResponse:
    """The page with GraphiQL, which sends its queries as POST to the address that it came from.

    Scripts and styles are the project's static files; a Content-Security-Policy lets the browser
    load and reach nothing else. The page holds a nonce and is not to be cached.
    """
    nonce = secrets.token_urlsafe(NONCE_BYTES)
    response = render(request, "pcf/graphiql.html", {"style_nonce": nonce})
    response["Content-Security-Policy"] = content_security_policy(nonce)
    add_never_cache_headers(response)
    patch_vary_headers(response, ("Accept",))
    return response


def content_security_policy(style_nonce: str) -> str:
    """The value of the header.

    ``style_nonce`` admits the one style element that GraphiQL's dialogs add. Its editor writes
    style attributes into HTML (jump to line, Alt-G), so those are allowed; they load nothing.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'nonce-{style_nonce}'",
            "style-src-attr 'unsafe-inline'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "form-action 'none'",
        )
    )


def wants_html(accept: str) -> bool:
    """Whether the value of an Accept header prefers the page over JSON (RFC 9110 12.5.1).

    A tie is no preference: a client that takes anything (``*/*``, or no header at all) gets JSON.
    Parameters other than ``q`` are not looked at; a range whose ``q`` is malformed is ignored.
    """
    ranges = quality_values(accept)
    return quality(HTML, ranges) > max(quality(media_type, ranges) for media_type in JSON)
