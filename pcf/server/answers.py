"""Answers on their way to the server: from GraphQL's responses to status, headers and body."""

from typing import NamedTuple

from django.http import HttpResponseBase

from pcf.http.arrival import REQUEST_ID, Arrival
from pcf.http.headers import finish
from pcf.http.protocol import GraphQLRequest, GraphQLResponse
from pcf.server.pages import Headers

_ID = REQUEST_ID.encode()


class Answer(NamedTuple):
    """An answer on its way to the server: its body, or Django's response that streams it."""

    status: int
    headers: Headers
    body: bytes = b""
    stream: HttpResponseBase | None = None


def answer_of(
    headers: dict[str, str],
    arrival: Arrival,
    response: GraphQLResponse,
    media: str,
    defaults: Headers,
) -> Answer:
    """Return the answer to a request with these headers; counts it."""
    status, own = finish(headers.get("origin"), response, media)
    return Answer(status, _encoded(own, arrival, defaults), response.body)


def headers_of_hit(
    origin: str | None,
    arrival: Arrival,
    response: GraphQLResponse,
    request: GraphQLRequest,
    defaults: Headers,
) -> Headers:
    """The headers of an answer with the status 200; counts it."""
    _, own = finish(origin, response, request.media)
    return _encoded(own, arrival, defaults)


def _encoded(own: dict[str, str], arrival: Arrival, defaults: Headers) -> Headers:
    headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in own.items()]
    headers.append((_ID, arrival.request_id.encode("latin-1")))
    return headers + defaults
