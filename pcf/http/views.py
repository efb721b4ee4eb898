"""The GraphQL endpoint as a Django view: requests, batches, preflights and the GraphiQL page.

The ASGI application answers well-formed POST requests and hits itself. All other requests to the
endpoint come here, and so do all requests on another server than PCF's.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, RawPostDataException
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from pcf.conf import config
from pcf.errors import ClientError
from pcf.http.caching import BATCH
from pcf.http.error_responses import error_response, internal_error_response
from pcf.http.headers import finish_response, header_fields, preflight_headers
from pcf.http.idempotency import part_key
from pcf.http.request import (
    GRAPHQL_JSON,
    JSON,
    METHODS,
    BadRequest,
    BodyTooLarge,
    GraphQLRequest,
    check_content_type,
    make_request,
    media_type,
    parse_body,
    parse_query_string,
    quality,
    quality_values,
)
from pcf.http.request_state import request_state_of
from pcf.http.response import REASONS, GraphQLResponse
from pcf.http.service import GraphQLService
from pcf.observability.metrics import OUTCOMES
from pcf.timeouts import TimeoutContext, current_timeout
from pcf.viewer import active_locale

DEFAULT_HEADERS = "pcf.default_headers"  # in META: the request asks which headers middleware adds
HTML = "text/html"
NONCE_BYTES = 16

Answer = Callable[[GraphQLRequest, TimeoutContext], GraphQLResponse]

logger = logging.getLogger("pcf.http")


def graphql_view(make_service: Callable[[], GraphQLService]) -> Callable[..., Any]:
    """Return the view of a service.

    The view calls ``make_service`` for every request; the function may return the same service
    again. Requests with the session cookie must come from pages of the same origin
    (``pcf.http.session_cookie``), so Django's CSRF protection is not needed.
    """

    @csrf_exempt
    def view(request: HttpRequest) -> HttpResponse:
        if DEFAULT_HEADERS in request.META:
            return _empty_response(200)
        if request.method == "OPTIONS":
            return _preflight_response(request)
        media = JSON
        try:
            accept = request.headers.get("Accept")
            if _is_for_graphiql(request, accept):
                return graphiql_page(request)
            media = media_type(accept)
            response = _answer(make_service(), request, media)
        except ClientError as error:
            response = error_response(error)
        except Exception:
            logger.exception("unexpected error outside of execution")
            response = internal_error_response()
        return _to_django(request, response, media)

    return view


def refuse(request: HttpRequest, error: ClientError) -> HttpResponse:
    """Return the response to a request that middleware refuses with ``error``."""
    return _to_django(request, error_response(error), JSON)


def _answer(service: GraphQLService, request: HttpRequest, media: str) -> GraphQLResponse:
    timeout = current_timeout() or request.timeout  # type: ignore[attr-defined]
    graphql_request = _read(request, media)
    with active_locale():
        if isinstance(graphql_request, list):
            return answer_batch(service.answer, graphql_request, timeout)
        answer = partial(service.answer, graphql_request, timeout, request_state_of(request))
        return copy_context().run(answer)


def answer_batch(
    answer: Answer, requests: Sequence[GraphQLRequest], timeout: TimeoutContext
) -> GraphQLResponse:
    """Return the responses to ``requests`` as one JSON array in the same order.

    The requests run one after the other, all within ``timeout``. An error in one does not affect
    the others. The status is always 200.
    """
    responses = [
        # The array is joined from the bytes of its parts, so the parts must not be compressed. A
        # language that a resolver activates ends with its part.
        copy_context().run(answer, request._replace(coding=""), timeout)
        for request in requests
    ]
    body = b"[" + b",".join(each.body for each in responses) + b"]"
    worst = max((each.outcome for each in responses), key=OUTCOMES.index, default=OUTCOMES[0])
    headers = {"Cache-Status": BATCH}
    for each in responses:
        headers.update({name: each.headers[name] for name in each.headers if name == "Set-Cookie"})
    return GraphQLResponse(body, headers=headers, outcome=worst)


def _read(request: HttpRequest, media: str) -> GraphQLRequest | list[GraphQLRequest]:
    """Return the GraphQL request in an HTTP request, a list for a batch.

    Raises BadRequest, NotAuthenticated and LimitExceeded.
    """
    if request.method not in METHODS:
        raise BadRequest("GraphQL is served to GET and POST", status=405)
    remote = request.META.get("REMOTE_ADDR")
    fields = header_fields(request.headers, request.method or "", remote, media)
    if request.method != "POST":
        parameters = parse_query_string(request.META.get("QUERY_STRING", ""))
        return make_request(parameters, **fields)
    content_type = request.headers.get("Content-Type", "")
    encoding = request.headers.get("Content-Encoding", "")
    check_content_type(content_type, encoding)  # before the server waits for the body
    parameters = parse_body(content_type, _read_body(request), encoding)
    if isinstance(parameters, list):
        fields |= {"accepts_gzip": False, "if_none_match": ""}  # the array is joined from bytes
        requests = [make_request(part, **fields) for part in parameters]
        return [
            request._replace(idempotency_key=part_key(request.idempotency_key, number))
            for number, request in enumerate(requests)
        ]
    return make_request(parameters, **fields)


def _read_body(request: HttpRequest) -> bytes:
    """Return the body. Raises BadRequest and BodyTooLarge."""
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
    status, headers = finish_response(request.headers.get("origin"), response, media)
    body = b"" if request.method == "HEAD" else response.body
    cookie = headers.pop("Set-Cookie", "")
    django_response = HttpResponse(body, status=status, reason=REASONS[status], headers=headers)
    django_response.cookies.load(cookie)
    if "Content-Type" not in headers:
        del django_response["Content-Type"]
    if hasattr(request, "LANGUAGE_CODE"):  # LocaleMiddleware has chosen the language
        patch_vary_headers(django_response, ("Accept-Language", "Cookie"))
    return django_response


def _preflight_response(request: HttpRequest) -> HttpResponse:
    """Return the response to a preflight; 405 for every other OPTIONS request."""
    headers = preflight_headers(
        request.headers.get("Origin"), request.headers.get("Access-Control-Request-Method")
    )
    if headers is None:
        return refuse(request, BadRequest("GraphQL is served to GET and POST", status=405))
    response = _empty_response(204, headers)
    patch_vary_headers(response, ("Origin", "Access-Control-Request-Method"))
    return response


def _empty_response(status: int, headers: Mapping[str, str] | None = None) -> HttpResponse:
    response = HttpResponse(status=status, headers={**(headers or {})})
    del response["Content-Type"]
    return response


# --- GraphiQL


def graphiql_page(request: HttpRequest) -> HttpResponse:
    """Return the GraphiQL page, which sends its queries as POST to its own address.

    The page loads the project's static files alone; its content security policy forbids everything
    else. The page has a nonce, so caches must not store the page.
    """
    nonce = secrets.token_urlsafe(NONCE_BYTES)
    response = render(request, "pcf/graphiql.html", {"style_nonce": nonce})
    response["Content-Security-Policy"] = content_security_policy(nonce)
    add_never_cache_headers(response)
    patch_vary_headers(response, ("Accept",))
    return response


def content_security_policy(style_nonce: str) -> str:
    """Return the content security policy of the page.

    ``style_nonce`` allows the one style element that GraphiQL's dialogs add. Style attributes are
    allowed because GraphiQL's editor writes them (jump to line, Alt-G); they load nothing.
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
    """Return whether the Accept header prefers HTML to JSON (RFC 9110 section 12.5.1).

    A tie is no preference, so ``*/*`` and an empty header mean JSON. A range with a malformed ``q``
    or with another charset than UTF-8 is ignored, and so are all other parameters.
    """
    ranges = quality_values(accept)
    return quality(HTML, ranges) > max(quality(media, ranges) for media in (JSON, GRAPHQL_JSON))


def _is_for_graphiql(request: HttpRequest, accept: str | None) -> bool:
    return (
        request.method == "GET"
        and "query=" not in request.META.get("QUERY_STRING", "")
        and wants_html(accept or "")
        and (config().features.graphiql or _is_staff(request))
    )


def _is_staff(request: HttpRequest) -> bool:
    """Return whether a member of staff is logged in to the admin.

    The login shows the page and no data: the page's queries need a bearer token.
    """
    user = getattr(request, "user", None)
    return bool(user and user.is_active and user.is_staff)
