"""The headers of GraphQL requests and responses, with those of CORS.

The server's fast path and Django's view both use this module, so their responses have the same
headers.

CORS follows https://fetch.spec.whatwg.org/#http-cors-protocol. No response allows credentials: the
session cookie is for pages of the service's own origin (``pcf.http.session_cookie``), and a page
that has a bearer token sends the token itself. The middleware
of django-cors-headers would not see the responses of the fast path.
"""

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from pcf.conf import config
from pcf.http.caching import NO_STORE, accepts_gzip, best_coding, vary
from pcf.http.request import GRAPHQL_JSON
from pcf.http.response import GraphQLResponse
from pcf.http.session_cookie import cookie_token, is_same_origin
from pcf.observability import metrics
from pcf.viewer import bearer_token

IPV6_PREFIX = 64  # bits of an IPv6 address that belong to one subscriber as a rule

# PCF reads these headers.
READ_HEADERS = (
    "Accept",  # browsers ask for permission for some values, such as one with quotation marks
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "traceparent",
    "X-Request-ID",
    "X-Request-Timeout",
)
# PCF ignores these headers. They are listed because common clients send them, and a browser does
# not send a request with a header that is not allowed. urql, graphql-request and GraphiQL are not
# named below: they add only Accept and Content-Type. Relay adds no header.
CLIENT_HEADERS = (
    "apollographql-client-name",  # Apollo Client, Apollo Kotlin
    "apollographql-client-version",
    "apollo-require-preflight",  # for servers that refuse requests without a preflight
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
_NOT_MODIFIED = HTTPStatus.NOT_MODIFIED.value  # a plain number: Enum's attributes are functions
_NO_HEADERS: Mapping[str, str] = {}


def header_fields(
    headers: Mapping[str, str], method: str, remote: str | None, media: str
) -> dict[str, Any]:
    """Return the fields of a GraphQLRequest that come from the HTTP request's headers.

    ``remote`` is the network address at the other end of the connection.
    Raises NotAuthenticated for malformed credentials, and ForeignOrigin for a session cookie that a
    page of another origin made the browser send.
    """
    get = headers.get
    trusted = config().rates.trusted_proxies
    bearer = bearer_token(get("authorization"))
    cookie = cookie_token(headers) if bearer is None else None
    return {
        "token": cookie if bearer is None else bearer,
        "from_cookie": cookie is not None,
        "same_origin": is_same_origin(headers),
        "no_store": "no-store" in (get("cache-control") or "").lower(),
        "queries_only": method != "POST",
        "accepts_gzip": accepts_gzip(get("accept-encoding") or ""),
        "coding": best_coding(get("accept-encoding") or ""),
        "if_none_match": get("if-none-match") or "",
        "idempotency_key": get("idempotency-key"),
        "media": media,
        "address": client_address(remote, get("x-forwarded-for") if trusted else None, trusted),
    }


def finish_response(
    origin: str | None, response: GraphQLResponse, media: str
) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of the response to ``origin``, and count the response.

    The server adds the headers of the connection.
    """
    status = response.status if media == GRAPHQL_JSON else response.json_status
    metrics.http_responses.labels(str(status), response.outcome).inc()
    headers = {
        "Content-Type": f"{media}; charset=utf-8",
        "Vary": vary(),
        "Cache-Control": NO_STORE,
        **response.headers,
    }
    if config().requests.cors_origins:
        headers.update(cors_headers(origin))
        if varies_by_origin():
            headers["Vary"] += ", Origin"
    if status == _NOT_MODIFIED:
        del headers["Content-Type"]
    else:
        headers["Content-Length"] = str(len(response.body))
    return status, headers


def client_address(remote: str | None, forwarded: str | None, trusted_proxies: int) -> str:
    """Return the client's address: an IPv4 address, or the /64 network of an IPv6 address.

    ``remote`` is the other end of the connection, ``forwarded`` the value of X-Forwarded-For.
    ``trusted_proxies`` is the number of proxies that add to X-Forwarded-For. A client can write the
    entries to the left of theirs, so these entries are ignored. Returns "unknown" for text that is
    no address.
    """
    address = remote or ""
    if trusted_proxies:
        hops = (forwarded or "").split(",")
        if len(hops) >= trusted_proxies and hops[-trusted_proxies].strip():
            address = hops[-trusted_proxies].strip()
    return _network(address)


@lru_cache(maxsize=1_024)
def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), IPV6_PREFIX), strict=False))


def cors_headers(origin: str | None) -> Mapping[str, str]:
    """Return the headers that let a page of ``origin`` read the response.

    Empty for an origin that ``requests.cors_origins`` does not list. If the setting names origins,
    every response also needs ``Vary: Origin``, see ``varies_by_origin``.
    """
    allowed = config().requests.cors_origins
    if not origin or not allowed:
        return _NO_HEADERS
    if "*" not in allowed and origin not in allowed:
        return _NO_HEADERS
    return {
        "Access-Control-Allow-Origin": "*" if "*" in allowed else origin,
        "Access-Control-Expose-Headers": ", ".join(EXPOSED_HEADERS),
    }


def varies_by_origin() -> bool:
    """Return whether responses differ by origin, so that shared caches must tell them apart."""
    allowed = config().requests.cors_origins
    return bool(allowed) and "*" not in allowed


def preflight_headers(origin: str | None, requested_method: str | None) -> Mapping[str, str] | None:
    """Return the headers of the response (204, no body) to a preflight, an OPTIONS request.

    None for a request that is no preflight, and for an origin that is not allowed.
    """
    headers = cors_headers(origin)
    if not headers or not requested_method:
        return None
    requests = config().requests
    allowed = (*READ_HEADERS, *CLIENT_HEADERS, *requests.cors_headers)
    return {
        "Access-Control-Allow-Origin": headers["Access-Control-Allow-Origin"],
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": ", ".join(allowed),
        "Access-Control-Max-Age": str(requests.cors_max_age),
    }
