"""Cross-origin requests from browsers: who may ask, by the allow-list ``requests.cors_origins``.

https://fetch.spec.whatwg.org/#http-cors-protocol

No answer ever allows credentials: cookies mean nothing here, and a page that knows a bearer token
sends it itself. The headers are plain text to text, so that whatever answers, Django or not, adds
the same ones; django-cors-headers is a middleware of Django and would not see the others.
"""

from collections.abc import Mapping

from pcf.apps import config

READ_HEADERS = (
    "Accept",  # a browser asks for some of its values, such as one with quotation marks
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "traceparent",
    "X-Request-ID",
    "X-Request-Timeout",
)
# PCF reads none of these. A browser refuses to send a request with a header that is not allowed.
# urql, graphql-request and GraphiQL add none but Accept and Content-Type; Relay adds none at all.
CLIENT_HEADERS = (
    "apollographql-client-name",  # Apollo Client, Apollo Kotlin
    "apollographql-client-version",
    "apollo-require-preflight",  # for servers that refuse what needs no preflight
    "GraphQL-Preflight",
    "GraphQL-Require-Preflight",
    "X-Requested-With",
    "X-Apollo-Operation-Name",  # Apollo Kotlin before version 4
    "X-Apollo-Operation-ID",
    "X-GraphQL-Client-Name",  # for GraphQL Hive
    "X-GraphQL-Client-Version",
    "sentry-trace",  # Sentry
    "baggage",  # Sentry, OpenTelemetry
    "tracestate",
)
EXPOSED_HEADERS = (
    "Accept-Encoding",
    "Age",
    "Allow",
    "Cache-Status",
    "Content-Encoding",
    "ETag",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)
_NONE: Mapping[str, str] = {}


def cors_headers(origin: str | None) -> Mapping[str, str]:
    """What an answer to a request from ``origin`` carries so that the page there may read it.

    Empty for an origin that is not on the list. Where the list names origins, every answer must
    also say ``Vary: Origin``, see ``varies_by_origin``.
    """
    allowed = config().requests.cors_origins
    if not origin or not allowed:
        return _NONE
    if "*" not in allowed and origin not in allowed:
        return _NONE
    return {
        "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
        "Access-Control-Expose-Headers": ", ".join(EXPOSED_HEADERS),
    }


def varies_by_origin() -> bool:
    """Whether answers differ by origin, so that shared caches must tell them apart."""
    allowed = config().requests.cors_origins
    return bool(allowed) and "*" not in allowed


def preflight_headers(origin: str | None, asked_method: str | None) -> Mapping[str, str] | None:
    """The headers of the answer (204, no body) to a preflight, an OPTIONS request.

    None when it is no preflight or comes from an origin that is not on the list.
    """
    headers = cors_headers(origin)
    if not headers or not asked_method:
        return None
    requests = config().requests
    allowed = (*READ_HEADERS, *CLIENT_HEADERS, *requests.cors_headers)
    return {
        "Access-Control-Allow-Origin": headers["Access-Control-Allow-Origin"],
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": ", ".join(allowed),
        "Access-Control-Max-Age": str(requests.cors_max_age),
    }
