"""GraphQL over HTTP: from an HTTP request to a GraphQL request, and from a result to a response.

https://graphql.github.io/graphql-over-http/draft/
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from pcf.apps import config
from pcf.errors import ClientError, LimitExceeded
from pcf.http.negotiation import UTF8, quality, quality_values

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
METHODS = ("GET", "HEAD", "POST")
PARAMETERS = ("query", "documentId", "operationName", "variables", "extensions")
MAX_DOCUMENT_ID = 256  # characters
MAX_QUERY_PARAMETERS = 20  # in the address of a GET request


class BadRequest(ClientError):
    """The HTTP request is not a GraphQL request. ``status`` is the answer's status code."""

    code = "BAD_REQUEST"

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class GraphQLRequest(NamedTuple):
    """What a client asks, whatever way it came.

    ``query`` is the document's text, empty where ``document_id`` alone names it (its SHA-256 in
    hexadecimal, or an id of the manifest). ``token`` is the text of the bearer token; ``no_store``
    forbids reading and writing the cache; ``queries_only`` is set for GET and HEAD, which must not
    change anything. ``wants_cost`` asks for the cost in the answer's extensions. ``address`` is the
    client's, by which anonymous requests are counted. ``accepts_gzip`` and ``if_none_match`` (the
    header's text) are about the bytes of the answer, ``coding`` is about those of an answer that is
    not stored ("" for none); ``media`` is its type.
    """

    query: str
    document_id: str | None = None
    variables: Mapping[str, Any] = MappingProxyType({})
    operation_name: str | None = None
    token: str | None = None
    no_store: bool = False
    queries_only: bool = False
    wants_cost: bool = False
    address: str = ""
    accepts_gzip: bool = False
    if_none_match: str = ""
    media: str = JSON
    coding: str = ""

    def __repr__(self) -> str:
        """Without the token."""
        shown = self._replace(token=self.token and "...")
        return f"GraphQLRequest{tuple(shown)}"


PARTIAL_SUCCESS = 294  # data and errors; known to GraphQL over HTTP alone
REASONS = {status.value: status.phrase for status in HTTPStatus} | {
    PARTIAL_SUCCESS: "Partial Success"
}


class GraphQLResponse(NamedTuple):
    """The answer: its JSON, and headers beside Content-Type.

    ``status`` is for application/graphql-response+json, ``json_status`` for application/json, whose
    clients expect 200 for every well-formed request (GraphQL over HTTP, September 2026, section 6).
    ``outcome`` is what it is to the SLO, one of ``metrics.OUTCOMES``.
    """

    body: bytes
    status: int = 200
    json_status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    outcome: str = "ok"


class BodyTooLarge(LimitExceeded):
    """The body of the HTTP request has too many bytes."""

    code = "BODY_TOO_LARGE"


class BatchTooLarge(LimitExceeded):
    """The body holds more requests than may come together."""

    code = "BATCH_TOO_LARGE"


class VariablesTooLarge(LimitExceeded):
    """The variables have too many bytes or nest too deeply."""

    code = "VARIABLES_TOO_LARGE"


@lru_cache(maxsize=256)
def media_type(accept: str | None) -> str:
    """Which of the two media types the answer has.

    The newer one for those who name it and do not prefer the other; ``application/json`` for
    everyone else, also without the header. Raises BadRequest (406) when neither is accepted.
    """
    if not accept:
        return JSON
    ranges = quality_values(accept)
    newer, older = quality(GRAPHQL_JSON, ranges), quality(JSON, ranges)
    if newer and (not older or (GRAPHQL_JSON in ranges and newer >= older)):
        return GRAPHQL_JSON
    if older:
        return JSON
    raise BadRequest(f"The answer can be {GRAPHQL_JSON} or {JSON}, in UTF-8", status=406)


@lru_cache(maxsize=64)
def check_content_type(content_type: str, content_encoding: str) -> None:
    """Only JSON in UTF-8, not compressed, is read. Raises BadRequest (415).

    A browser sends this media type to another origin only after a preflight, so no page can make
    one send a POST that counts.
    """
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = {p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")}
    if media != JSON or not charsets <= UTF8:
        raise BadRequest("The Content-Type must be application/json in UTF-8", status=415)
    if content_encoding.strip().lower() not in {"", "identity"}:
        raise BadRequest("The body must not have a Content-Encoding", status=415)


def parse_body(content_type: str, body: bytes, content_encoding: str = "") -> Any:
    """The parameters in a POST body, a dictionary; a list of them where batching is on.

    Raises BadRequest: 415 for what ``check_content_type`` refuses, 400 for a body that is not a
    JSON object or names a parameter twice. Raises BatchTooLarge.
    """
    check_content_type(content_type, content_encoding)
    try:
        parameters = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("The body is not valid JSON") from error
    if isinstance(parameters, list):
        return _check_batch(parameters)
    if not isinstance(parameters, dict):
        raise BadRequest("The body must be a JSON object")
    _refuse_repeated(body)
    return parameters


def _check_batch(batch: list[Any]) -> list[Any]:
    limit = config().requests.max_batch
    if not limit:
        raise BadRequest("The body must be a JSON object; batching is off")
    if not batch or not all(isinstance(parameters, dict) for parameters in batch):
        raise BadRequest("A batch must be JSON objects, one at least")
    if len(batch) > limit:
        raise BatchTooLarge("batch", limit, f"A batch may have {limit} requests at most")
    return batch


def _refuse_repeated(body: bytes) -> None:
    """Refuse a parameter that is given twice: two readers may take different ones (RFC 8259, 4).

    Only a body in which a name occurs more than once, or could in another spelling, is read again.
    """
    if b"\\u00" not in body and all(body.count(name) < 2 for name in _QUOTED):  # noqa: PLR2004
        return

    def unique(pairs: list[tuple[str, Any]]) -> list[str]:
        return [name for name, _ in pairs]  # of the outermost object: it is closed last

    try:  # numbers stay text: nobody reads them here, and huge ones cost time
        names = json.loads(body, object_pairs_hook=unique, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body nests too deeply") from error
    repeated = [name for name in PARAMETERS if names.count(name) > 1]
    if repeated:
        raise BadRequest(f"'{repeated[0]}' is given more than once")


_QUOTED = tuple(f'"{name}"'.encode() for name in PARAMETERS)


def parse_query_string(query_string: str) -> dict[str, Any]:
    """The parameters of a GET request; ``variables`` and ``extensions`` are JSON.

    Raises BadRequest.
    """
    try:
        pairs = parse_qsl(
            query_string.encode("latin-1").decode(),  # WSGI's text is bytes in disguise (PEP 3333)
            keep_blank_values=True,
            max_num_fields=MAX_QUERY_PARAMETERS,
            errors="strict",
        )
    except UnicodeError as error:
        raise BadRequest("The query string is not UTF-8") from error
    except ValueError as error:
        raise BadRequest("The query string has too many parameters") from error
    parameters: dict[str, Any] = {}
    for name, value in pairs:
        if name in parameters and name in PARAMETERS:
            raise BadRequest(f"'{name}' is given more than once")
        parameters[name] = value
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

    Raises BadRequest when one has the wrong type or there is no document, and VariablesTooLarge.
    """
    query = parameters.get("query")
    variables = _optional(parameters, "variables", dict, "an object")
    extensions = _optional(parameters, "extensions", dict, "an object") or {}
    document_id = _document_id(parameters, extensions)
    named = document_id is not None and query is None
    if not named and not (isinstance(query, str) and query.strip()):
        raise BadRequest("'query' must be a GraphQL document")
    if variables:
        _check_variables(variables)
    if extensions.get("cost") is True:
        how.update(wants_cost=True, no_store=True)
    return GraphQLRequest(
        query=query or "",
        document_id=document_id,
        variables=variables or {},
        operation_name=_optional(parameters, "operationName", str, "a string") or None,
        **how,
    )


def _optional(parameters: Mapping[str, Any], name: str, type_: type, described: str) -> Any:
    """The parameter; None when it is not given or null. Raises BadRequest for another type."""
    value = parameters.get(name)
    if value is not None and not isinstance(value, type_):
        raise BadRequest(f"'{name}' must be {described}")
    return value


def _document_id(parameters: Mapping[str, Any], extensions: Mapping[str, Any]) -> str | None:
    """Which document the request names: by ``documentId``, or by ``extensions.persistedQuery``."""
    document_id: str | None = _optional(parameters, "documentId", str, "a string")
    persisted = _optional(extensions, "persistedQuery", dict, "an object")
    if persisted is not None:
        if document_id is not None or persisted.get("version") != 1:
            raise BadRequest("'persistedQuery' must have version 1 and no 'documentId' beside it")
        document_id = _optional(persisted, "sha256Hash", str, "a string") or ""
    if document_id is None:
        return None
    if not 0 < len(document_id) <= MAX_DOCUMENT_ID:
        raise BadRequest(f"The id of a document has 1 to {MAX_DOCUMENT_ID} characters")
    return document_id.removeprefix("sha256:")


def _check_variables(variables: dict[str, Any]) -> None:
    limits = config().requests
    if _depth(variables) > limits.max_variables_depth:
        limit = limits.max_variables_depth
        raise VariablesTooLarge(
            "variables_depth", limit, f"'variables' may nest {limit} levels deep at most"
        )
    limit = limits.max_variables_bytes
    if len(encode(variables)) > limit:
        raise VariablesTooLarge(
            "variables_bytes", limit, f"'variables' may have {limit} bytes of JSON at most"
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
