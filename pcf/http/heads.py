"""The headers of an HTTP request and of its answer, the same whether Django answers or the front.

Requests are read from their WSGI environ, which Django calls ``request.META``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from http import HTTPStatus
from typing import Any

from pcf import metrics
from pcf.apps import config
from pcf.http.address import client_address
from pcf.http.authentication import bearer_token
from pcf.http.caching import NO_STORE, VARY, accepts_gzip, best_coding
from pcf.http.cors import cors_headers, varies_by_origin
from pcf.http.protocol import GRAPHQL_JSON, GraphQLResponse
from pcf.http.watchdog import current_watch
from pcf.timeouts import TimeoutContext

GRAPHQL_PATH = "/graphql"
MAX_SILENCE = 5.0  # seconds between two pieces of a body


def read_head(environ: Mapping[str, Any], media: str) -> dict[str, Any]:
    """The fields of a GraphQLRequest that do not come from what the client asks.

    Raises NotAuthenticated for credentials that cannot be any.
    """
    return {
        "token": bearer_token(environ.get("HTTP_AUTHORIZATION")),
        "no_store": "no-store" in environ.get("HTTP_CACHE_CONTROL", "").lower(),
        "queries_only": environ["REQUEST_METHOD"] != "POST",
        "accepts_gzip": accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")),
        "coding": best_coding(environ.get("HTTP_ACCEPT_ENCODING", "")),
        "if_none_match": environ.get("HTTP_IF_NONE_MATCH", ""),
        "media": media,
        "address": client_address(environ, config().rates.trusted_proxies),
    }


def finish(
    environ: Mapping[str, Any], response: GraphQLResponse, media: str
) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer, all but those that belong to its connection; counts it."""
    status = response.status if media == GRAPHQL_JSON else response.json_status
    metrics.http_responses.labels(str(status), response.outcome).inc()
    headers = {
        "Content-Type": f"{media}; charset=utf-8",
        "Vary": VARY,
        "Cache-Control": NO_STORE,
        **response.headers,
        **cors_headers(environ.get("HTTP_ORIGIN")),
    }
    if varies_by_origin():
        headers["Vary"] += ", Origin"
    if status == HTTPStatus.NOT_MODIFIED:
        del headers["Content-Type"]
    else:
        headers["Content-Length"] = str(len(response.body))
    return status, headers


@contextmanager
def impatient(environ: Mapping[str, Any], timeout: TimeoutContext) -> Iterator[None]:
    """Bound each wait for a piece of the body by MAX_SILENCE and by what is left.

    gunicorn reads bodies in the thread that answers: a client that stops sending must not keep it.
    For one that sends a byte now and then there is the watchdog, which ends the body as a whole
    with the request's deadline.
    """
    watch = current_watch()
    with nullcontext() if watch is None else watch.reading(), _impatience(environ, timeout):
        yield


@contextmanager
def _impatience(environ: Mapping[str, Any], timeout: TimeoutContext) -> Iterator[None]:
    connection = environ.get("gunicorn.socket")
    if connection is None:
        yield
        return
    before = connection.gettimeout()
    connection.settimeout(min(MAX_SILENCE, max(0.001, timeout.remaining())))
    try:
        yield
    finally:
        connection.settimeout(before)
