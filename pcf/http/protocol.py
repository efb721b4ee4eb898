"""GraphQL over HTTP: from an HTTP request to a GraphQL request, and from a result to a response.

https://graphql.github.io/graphql-over-http/draft/
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from pcf.errors import ClientError
from pcf.http.negotiation import quality_values

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
METHODS = ("GET", "HEAD", "POST")
MAX_VARIABLE_DEPTH = 32


class BadRequest(ClientError):
    """The HTTP request is not a GraphQL request. ``status`` is the answer's status code."""

    code = "BAD_REQUEST"

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """What a client asks, whatever way it came.

    ``token`` is the text of the bearer token; ``no_store`` forbids reading and writing the cache;
    ``queries_only`` is set for GET, which must not change anything.
    """

    query: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    operation_name: str | None = None
    token: str | None = None
    no_store: bool = False
    queries_only: bool = False


@dataclass(frozen=True, slots=True)
class GraphQLResponse:
    """The answer: its JSON, and headers beside Content-Type.

    ``status`` is for application/graphql-response+json, ``json_status`` for application/json, whose
    clients expect 200 for every well-formed request (GraphQL over HTTP, section 6.4).
    """

    body: bytes
    status: int = 200
    json_status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def media_type(accept: str | None) -> str:
    """Which of the two media types the answer has: the newer one only for those who ask for it."""
    if not accept or GRAPHQL_JSON not in accept:
        return JSON
    ranges = quality_values(accept)
    return GRAPHQL_JSON if ranges.get(GRAPHQL_JSON, 0) >= ranges.get(JSON, 0) else JSON


def parse_body(content_type: str, body: bytes) -> dict[str, Any]:
    """The parameters in a POST body.

    Raises BadRequest: 415 for another media type or charset than JSON in UTF-8, 400 for a body
    that is not a JSON object.
    """
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = {p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")}
    if media != JSON or not charsets <= {"utf-8", "utf8"}:
        raise BadRequest("The Content-Type must be application/json in UTF-8", status=415)
    try:
        parameters_read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("The body is not valid JSON") from error
    if not isinstance(parameters_read, dict):
        raise BadRequest("The body must be a JSON object")
    return parameters_read


def parse_query_string(query_string: str) -> dict[str, Any]:
    """The parameters of a GET request; ``variables`` and ``extensions`` are JSON.

    Raises BadRequest.
    """
    try:
        parameters: dict[str, Any] = dict(
            parse_qsl(query_string, keep_blank_values=True, max_num_fields=20)
        )
    except ValueError as error:
        raise BadRequest("The query string has too many parameters") from error
    for name in ("variables", "extensions"):
        if parameters.get(name):
            try:
                parameters[name] = orjson.loads(parameters[name])
            except orjson.JSONDecodeError as error:
                raise BadRequest(f"'{name}' is not valid JSON") from error
        else:
            parameters.pop(name, None)
    return parameters


def make_request(parameters: Mapping[str, Any], **how: Any) -> GraphQLRequest:
    """Check the parameters of a request; ``how`` are the fields that come from HTTP headers.

    Raises BadRequest when one has the wrong type or there is no query.
    """
    query = parameters.get("query")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest("'query' must be a GraphQL document")
    operation_name = parameters.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise BadRequest("'operationName' must be a string")
    variables = parameters.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest("'variables' must be an object")
    extensions = parameters.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest("'extensions' must be an object")
    if _depth(variables) > MAX_VARIABLE_DEPTH:
        raise BadRequest(f"'variables' may nest {MAX_VARIABLE_DEPTH} levels deep at most")
    return GraphQLRequest(
        query=query, variables=variables or {}, operation_name=operation_name or None, **how
    )


def _depth(value: Any) -> int:
    """How deep lists and objects nest in ``value``; level by level, so without recursion."""
    depth = 0
    level = [value] if isinstance(value, dict | list) else []
    while level:
        depth += 1
        children = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        level = [child for child in children if isinstance(child, dict | list)]
    return depth


def encode(result: Mapping[str, Any]) -> bytes:
    """The JSON of a result. Text that UTF-8 cannot carry (lone surrogates) is escaped."""
    try:
        return orjson.dumps(result)
    except TypeError:
        return json.dumps(result, separators=(",", ":")).encode()
