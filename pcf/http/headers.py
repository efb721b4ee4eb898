"""The headers of a GraphQL request and of its answer, the same whoever answers.

Headers are mappings from names to texts. Django's ``HttpRequest.headers`` is one, and so is what
``pcf.server`` makes of an ASGI scope; names are looked up in lower case.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pcf import metrics
from pcf.apps import config
from pcf.http.address import client_address
from pcf.http.authentication import bearer_token
from pcf.http.caching import NO_STORE, VARY, accepts_gzip, best_coding
from pcf.http.cors import cors_headers, varies_by_origin
from pcf.http.protocol import GRAPHQL_JSON, GraphQLResponse

GRAPHQL_PATH = "/graphql"


def read_head(
    headers: Mapping[str, str], method: str, remote: str | None, media: str
) -> dict[str, Any]:
    """Return the fields of a GraphQLRequest that do not come from what the client asks.

    ``remote`` is the network address at the other end of the connection.
    Raises NotAuthenticated for credentials that cannot be any.
    """
    get = headers.get
    trusted = config().rates.trusted_proxies
    return {
        "token": bearer_token(get("authorization")),
        "no_store": "no-store" in (get("cache-control") or "").lower(),
        "queries_only": method != "POST",
        "accepts_gzip": accepts_gzip(get("accept-encoding") or ""),
        "coding": best_coding(get("accept-encoding") or ""),
        "if_none_match": get("if-none-match") or "",
        "media": media,
        "address": client_address(remote, get("x-forwarded-for") if trusted else None, trusted),
    }


def finish(origin: str | None, response: GraphQLResponse, media: str) -> tuple[int, dict[str, str]]:
    """Return status and headers of the answer to a request from ``origin``, and count the answer.

    Headers of the connection are left to the server.
    """
    status = response.status if media == GRAPHQL_JSON else response.json_status
    metrics.http_responses.labels(str(status), response.outcome).inc()
    headers = {
        "Content-Type": f"{media}; charset=utf-8",
        "Vary": VARY,
        "Cache-Control": NO_STORE,
        **response.headers,
        **cors_headers(origin),
    }
    if varies_by_origin():
        headers["Vary"] += ", Origin"
    if status == HTTPStatus.NOT_MODIFIED:
        del headers["Content-Type"]
    else:
        headers["Content-Length"] = str(len(response.body))
    return status, headers
