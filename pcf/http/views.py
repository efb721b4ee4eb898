"""The Django side of /graphql: an HttpRequest in, an HttpResponse out."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from pcf import metrics
from pcf.apps import config
from pcf.errors import ClientError
from pcf.http.address import client_address
from pcf.http.authentication import bearer_token
from pcf.http.batch import answer_batch
from pcf.http.cors import cors_headers, preflight_headers, varies_by_origin
from pcf.http.graphiql import graphiql_page, wants_html
from pcf.http.logs import request_id
from pcf.http.protocol import (
    GRAPHQL_JSON,
    JSON,
    METHODS,
    BadRequest,
    BodyTooLarge,
    GraphQLRequest,
    GraphQLResponse,
    check_content_type,
    make_request,
    media_type,
    parse_body,
    parse_query_string,
)
from pcf.http.service import GraphQLService, refused
from pcf.http.watchdog import current_watch
from pcf.timeouts import current_timeout

MAX_SILENCE = 5.0  # seconds between two pieces of a body
_ABOUT = ("Type", "Encoding")  # of the content

logger = logging.getLogger("pcf.http")


def graphql_view(make_service: Callable[[], GraphQLService]) -> Callable[..., Any]:
    """The view of a service; ``make_service`` is called at every request and may remember.

    Cookies mean nothing here, only the bearer token does, so there is nothing for CSRF to forge.
    """

    @csrf_exempt
    def view(request: HttpRequest) -> HttpResponse:
        accept = request.headers.get("Accept")
        if request.method == "OPTIONS":
            return _preflight(request)
        if _is_for_graphiql(request, accept):
            return graphiql_page(request)
        media = JSON
        try:
            media = media_type(accept)
            response = _answer(make_service(), request)
        except ClientError as error:
            response = refused(error)
        except Exception:
            logger.exception("unexpected error outside of execution")
            response = refused(InternalError("Internal server error"))
        return _to_django(request, response, media)

    return view


def refusal(request: HttpRequest, error: ClientError) -> HttpResponse:
    """The answer to a request that is refused before it reaches the view."""
    return _to_django(request, refused(error), JSON)


def _answer(service: GraphQLService, request: HttpRequest) -> GraphQLResponse:
    asked = _read(request)
    if isinstance(asked, list):
        return answer_batch(service.answer, asked, _timeout(request))
    return service.answer(asked, _timeout(request))


def _preflight(request: HttpRequest) -> HttpResponse:
    """What a browser asks before it sends a request to another origin; 405 for all others."""
    headers = preflight_headers(
        request.headers.get("Origin"), request.headers.get("Access-Control-Request-Method")
    )
    if headers is None:
        error = BadRequest("GraphQL is served to GET and POST", status=405)
        return refusal(request, error)
    response = HttpResponse(status=204, headers={**headers})
    patch_vary_headers(response, ("Origin", "Access-Control-Request-Method"))
    del response["Content-Type"]
    return response


def _is_for_graphiql(request: HttpRequest, accept: str | None) -> bool:
    return (
        config().features.graphiql
        and request.method == "GET"
        and "query=" not in request.META.get("QUERY_STRING", "")
        and wants_html(accept or "")
    )


def _timeout(request: HttpRequest) -> Any:
    return current_timeout() or request.timeout  # type: ignore[attr-defined]


def _read(request: HttpRequest) -> GraphQLRequest | list[GraphQLRequest]:
    """The GraphQL request in an HTTP request; several where they came as a batch.

    Raises BadRequest, NotAuthenticated and LimitExceeded.
    """
    if request.method not in METHODS:
        raise BadRequest("GraphQL is served to GET and POST", status=405)
    how: dict[str, Any] = {
        "token": bearer_token(request.headers.get("Authorization")),
        "address": client_address(request.META, config().rates.trusted_proxies),
        "no_store": "no-store" in request.headers.get("Cache-Control", "").lower(),
    }
    if request.method == "POST":
        media, encoding = (request.headers.get(f"Content-{what}", "") for what in _ABOUT)
        check_content_type(media, encoding)  # before the body is waited for
        asked = parse_body(media, _body(request), encoding)
        if isinstance(asked, list):
            return [make_request(parameters, **how) for parameters in asked]
        return make_request(asked, **how)
    parameters = parse_query_string(request.META.get("QUERY_STRING", ""))
    return make_request(parameters, queries_only=True, **how)


def _body(request: HttpRequest) -> bytes:
    limit = config().documents.max_body_bytes
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isdigit():
        raise BadRequest("The request needs a Content-Length", status=411)
    if int(length) > limit:
        raise BodyTooLarge("body", limit, f"The body may have {limit} bytes at most")
    try:
        with _impatient(request), _bounded():
            body = request.body
    except (OSError, RawPostDataException) as error:
        raise BadRequest("The body could not be read", status=408) from error
    if len(body) != int(length):
        if _timeout(request).expired:
            raise BadRequest("The body did not come in time", status=408)
        raise BadRequest("The body is shorter than its Content-Length")
    return body


@contextmanager
def _impatient(request: HttpRequest) -> Iterator[None]:
    """Bound each wait for a piece of the body by MAX_SILENCE and by what is left.

    gunicorn reads bodies in the thread that answers: a client that stops sending must not keep it.
    For one that sends a byte now and then there is the watchdog.
    """
    connection = request.META.get("gunicorn.socket")
    if connection is None:
        yield
        return
    before = connection.gettimeout()
    connection.settimeout(min(MAX_SILENCE, max(0.001, _timeout(request).remaining())))
    try:
        yield
    finally:
        connection.settimeout(before)


def _bounded() -> AbstractContextManager[None]:
    """The body as a whole ends with the request's deadline."""
    watch = current_watch()
    return nullcontext() if watch is None else watch.reading()


class InternalError(ClientError):
    """Something went wrong that is not the client's doing; the log has the rest."""

    code = "INTERNAL_SERVER_ERROR"

    @property
    def extensions(self) -> dict[str, Any]:
        """The code, and the id under which the log has the rest."""
        return {"code": self.code, "requestId": request_id.get()}


def _to_django(request: HttpRequest, response: GraphQLResponse, media: str) -> HttpResponse:
    status = response.status if media == GRAPHQL_JSON else response.json_status
    answer = HttpResponse(
        b"" if request.method == "HEAD" else response.body,
        status=status,
        content_type=f"{media}; charset=utf-8",
        headers={**response.headers, **cors_headers(request.headers.get("Origin"))},
    )
    metrics.http_responses.labels(str(status), response.outcome).inc()
    answer["Content-Length"] = str(len(response.body))  # also where no middleware adds it
    answer["Vary"] = "Accept, Authorization" + (", Origin" if varies_by_origin() else "")
    answer["Cache-Control"] = "private, no-cache"
    return answer
