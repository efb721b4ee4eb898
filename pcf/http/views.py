"""The Django side of /graphql: an HttpRequest in, an HttpResponse out."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from pcf.apps import config
from pcf.errors import ClientError
from pcf.http.arrival import arrival_of
from pcf.http.batch import answer_batch
from pcf.http.cors import preflight_headers
from pcf.http.graphiql import graphiql_page, wants_html
from pcf.http.headers import finish, read_head
from pcf.http.protocol import (
    JSON,
    METHODS,
    REASONS,
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
from pcf.http.refusals import internal_error, refused
from pcf.http.service import GraphQLService
from pcf.timeouts import current_timeout

DEFAULT_HEADERS = "pcf.default_headers"  # in META of a request that asks what middleware adds
_ABOUT = ("Type", "Encoding")  # of the content

logger = logging.getLogger("pcf.http")


def graphql_view(make_service: Callable[[], GraphQLService]) -> Callable[..., Any]:
    """The view of a service; ``make_service`` is called at every request and may remember.

    Cookies mean nothing here, only the bearer token does, so there is nothing for CSRF to forge.
    """

    @csrf_exempt
    def view(request: HttpRequest) -> HttpResponse:
        accept = request.headers.get("Accept")
        if DEFAULT_HEADERS in request.META:
            return _empty(200)
        if request.method == "OPTIONS":
            return _preflight(request)
        media = JSON
        try:
            if _is_for_graphiql(request, accept):
                return graphiql_page(request)
            media = media_type(accept)
            response = _answer(make_service(), request, media)
        except ClientError as error:
            response = refused(error)
        except Exception:
            logger.exception("unexpected error outside of execution")
            response = internal_error()
        return _to_django(request, response, media)

    return view


def refusal(request: HttpRequest, error: ClientError) -> HttpResponse:
    """The answer to a request that is refused before it reaches the view."""
    return _to_django(request, refused(error), JSON)


def _answer(service: GraphQLService, request: HttpRequest, media: str) -> GraphQLResponse:
    asked = _read(request, media)
    if isinstance(asked, list):
        return answer_batch(service.answer, asked, _timeout(request))
    return service.answer(asked, _timeout(request), arrival_of(request))


def _preflight(request: HttpRequest) -> HttpResponse:
    """What a browser asks before it sends a request to another origin; 405 for all others."""
    headers = preflight_headers(
        request.headers.get("Origin"), request.headers.get("Access-Control-Request-Method")
    )
    if headers is None:
        error = BadRequest("GraphQL is served to GET and POST", status=405)
        return refusal(request, error)
    response = _empty(204, headers)
    patch_vary_headers(response, ("Origin", "Access-Control-Request-Method"))
    return response


def _empty(status: int, headers: Mapping[str, str] | None = None) -> HttpResponse:
    response = HttpResponse(status=status, headers={**(headers or {})})
    del response["Content-Type"]
    return response


def _is_for_graphiql(request: HttpRequest, accept: str | None) -> bool:
    return (
        request.method == "GET"
        and "query=" not in request.META.get("QUERY_STRING", "")
        and wants_html(accept or "")
        and (config().features.graphiql or _is_staff(request))
    )


def _is_staff(request: HttpRequest) -> bool:
    """Whether a member of staff is logged in to the admin. That shows the page and no data: its
    queries need a token, as all do.
    """
    user = getattr(request, "user", None)
    return bool(user and user.is_active and user.is_staff)


def _timeout(request: HttpRequest) -> Any:
    return current_timeout() or request.timeout  # type: ignore[attr-defined]


def _read(request: HttpRequest, media: str) -> GraphQLRequest | list[GraphQLRequest]:
    """The GraphQL request in an HTTP request; several where they came as a batch.

    Raises BadRequest, NotAuthenticated and LimitExceeded.
    """
    if request.method not in METHODS:
        raise BadRequest("GraphQL is served to GET and POST", status=405)
    remote = request.META.get("REMOTE_ADDR")
    how = read_head(request.headers, request.method or "", remote, media)
    if request.method == "POST":
        content, encoding = (request.headers.get(f"Content-{what}", "") for what in _ABOUT)
        check_content_type(content, encoding)  # before the body is waited for
        asked = parse_body(content, _body(request), encoding)
        if isinstance(asked, list):  # the parts of one answer are bytes as they are
            how |= {"accepts_gzip": False, "if_none_match": ""}
            return [make_request(parameters, **how) for parameters in asked]
        return make_request(asked, **how)
    parameters = parse_query_string(request.META.get("QUERY_STRING", ""))
    return make_request(parameters, **how)


def _body(request: HttpRequest) -> bytes:
    limit = config().documents.max_body_bytes
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isdigit():
        raise BadRequest("The request needs a Content-Length", status=411)
    if int(length) > limit:
        raise BodyTooLarge("body", limit, f"The body may have {limit} bytes at most")
    try:
        body = request.body
    except (OSError, RawPostDataException) as error:
        raise BadRequest("The body could not be read", status=408) from error
    if len(body) != int(length):
        raise BadRequest("The body is shorter than its Content-Length")
    return body


def _to_django(request: HttpRequest, response: GraphQLResponse, media: str) -> HttpResponse:
    status, headers = finish(request.headers.get("origin"), response, media)
    body = b"" if request.method == "HEAD" else response.body
    answer = HttpResponse(body, status=status, reason=REASONS[status], headers=headers)
    if "Content-Type" not in headers:
        del answer["Content-Type"]
    return answer
