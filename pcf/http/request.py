"""The GraphQL request: from the Accept header, the body or the query string to its parameters."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from pcf.conf import config
from pcf.documents.persisted import HASH_PREFIX
from pcf.errors import ClientError, LimitExceeded
from pcf.http.response import encode

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
METHODS = ("GET", "HEAD", "POST")
PARAMETERS = ("query", "documentId", "operationName", "variables", "extensions")
MAX_DOCUMENT_ID = 256  # characters
MAX_QUERY_PARAMETERS = 20  # in the URL of a GET request
OTHER_VALUES = 1_000  # in the body of a request beside its variables

_QUOTED_PARAMETERS = tuple(f'"{name}"'.encode() for name in PARAMETERS)
_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)  # of JSON
_UTF8 = frozenset({"utf-8", "utf8"})


class GraphQLRequest(NamedTuple):
    """A GraphQL request, sent by GET, by POST or in a batch.

    Of the parameters: ``query`` is the document's text, empty if ``document_id`` names a persisted
    document (its SHA-256 in hexadecimal, or an id of the manifest). ``wants_cost`` asks for the
    cost in the extensions of the response.

    Of the HTTP request: ``token`` is the text of the bearer token, or of the session cookie where
    ``from_cookie`` is set. ``same_origin`` says that no page of another origin sent the request.
    ``no_store`` forbids reading and writing the cache. ``queries_only`` is
    set for GET and HEAD, which must not run mutations. ``idempotency_key`` is the text of the
    header. ``address`` is the client's address, by which anonymous requests are rate limited.

    Of the response: ``media`` is its media type. ``accepts_gzip`` and ``if_none_match`` (the text
    of the header) apply to responses in the cache. ``coding`` is the content coding of all other
    responses, "" for none.

    Of the variables: ``variable_values`` is the number of their values, items and members included,
    ``variable_bytes`` the bytes of their JSON. Both are a part of the cost.
    """

    query: str
    document_id: str | None = None
    variables: Mapping[str, Any] = MappingProxyType({})
    operation_name: str | None = None
    token: str | None = None
    from_cookie: bool = False
    same_origin: bool = True
    no_store: bool = False
    queries_only: bool = False
    wants_cost: bool = False
    idempotency_key: str | None = None
    address: str = ""
    accepts_gzip: bool = False
    if_none_match: str = ""
    media: str = JSON
    coding: str = ""
    variable_values: int = 0
    variable_bytes: int = 0

    def __repr__(self) -> str:
        """Return the fields without the token."""
        shown = self._replace(token=self.token and "...")
        return f"GraphQLRequest{tuple(shown)}"


class BadRequest(ClientError):
    """The HTTP request is not a GraphQL request; ``status`` is the status of the response."""

    code = "BAD_REQUEST"

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class BodyTooLarge(LimitExceeded):
    """The body of the HTTP request has too many bytes."""

    code = "BODY_TOO_LARGE"


class BatchTooLarge(LimitExceeded):
    """The batch has too many requests."""

    code = "BATCH_TOO_LARGE"


class VariablesTooLarge(LimitExceeded):
    """The variables have too many bytes or values, or nest too deeply."""

    code = "VARIABLES_TOO_LARGE"


# --- The Accept header (RFC 9110 sections 12.4.2 and 12.5.1)


@lru_cache(maxsize=256)
def media_type(accept: str | None) -> str:
    """Return the media type of the response, GRAPHQL_JSON or JSON.

    GRAPHQL_JSON is for clients that name it and give it at least the weight of JSON, or do not
    accept JSON. All other clients get JSON. Raises BadRequest (406) when the client accepts
    neither.
    """
    if not accept:
        return JSON
    ranges = quality_values(accept)
    graphql_json, json_weight = quality(GRAPHQL_JSON, ranges), quality(JSON, ranges)
    if graphql_json and (
        not json_weight or (GRAPHQL_JSON in ranges and graphql_json >= json_weight)
    ):
        return GRAPHQL_JSON
    if json_weight:
        return JSON
    raise BadRequest(f"The answer can be {GRAPHQL_JSON} or {JSON}, in UTF-8", status=406)


def quality(media_type: str, ranges: dict[str, float]) -> float:
    """Return the weight of the most specific range that matches ``media_type``, 0 for none."""
    main_type = media_type.partition("/")[0]
    for media_range in (media_type, f"{main_type}/*", "*/*"):
        if media_range in ranges:
            return ranges[media_range]
    return 0.0


def quality_values(accept: str) -> dict[str, float]:
    """Return the header's ranges in lower case, each with its weight from 0 to 1.

    A range with a malformed weight or with another charset than UTF-8 is left out.
    """
    ranges: dict[str, float] = {}
    for element in accept.lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        weight = _weight(parameters)
        if name and weight is not None:
            ranges[name] = max(weight, ranges.get(name, 0.0))
    return ranges


def _weight(parameters: list[str]) -> float | None:
    """Return the weight of a range, 1 without a ``q``; None when the range must be left out."""
    weight: float | None = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in _UTF8:
            return None
        if name == "q":
            weight = float(value) if _QVALUE.fullmatch(value) else None
    return weight


# --- POST


@lru_cache(maxsize=64)
def check_content_type(content_type: str, content_encoding: str) -> None:
    """Raise BadRequest (415) unless the body is JSON in UTF-8 without a content coding.

    Browsers send this media type to another origin only after a preflight. So a foreign page cannot
    send a mutation.
    """
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = {p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")}
    if media != JSON or not charsets <= _UTF8:
        raise BadRequest("The Content-Type must be application/json in UTF-8", status=415)
    if content_encoding.strip().lower() not in {"", "identity"}:
        raise BadRequest("The body must not have a Content-Encoding", status=415)


def parse_body(content_type: str, body: bytes, content_encoding: str = "") -> Any:
    """Return the parameters in a POST body, a dictionary; a list of dictionaries for a batch.

    Raises BadRequest: 415 from ``check_content_type``, 400 for a body that is no JSON object or has
    a parameter twice. Raises BatchTooLarge and VariablesTooLarge.
    """
    check_content_type(content_type, content_encoding)
    _check_commas(body)
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


def _check_commas(body: bytes) -> None:
    """Raise VariablesTooLarge for a body with more values than the variables may have.

    The parser would make an object of each value: fifty times the bytes of the body. Commas within
    texts do not count.
    """
    settings = config().requests
    limit = (settings.max_variable_values + OTHER_VALUES) * max(1, settings.max_batch)
    if body.count(b",") > limit and _TEXT.sub(b"", body).count(b",") > limit:
        raise _too_many_values()


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
    """Raise BadRequest if the body has a parameter twice (RFC 8259 section 4).

    Two JSON parsers may read different values of such a parameter. The body is parsed again only if
    a parameter's name occurs twice in its bytes, or may be written with an escape sequence.
    """
    if b"\\u00" not in body and all(
        body.count(name) < 2  # noqa: PLR2004
        for name in _QUOTED_PARAMETERS
    ):
        return

    def names_of(pairs: list[tuple[str, Any]]) -> list[str]:
        return [name for name, _ in pairs]  # the parser ends with the outermost object

    try:  # numbers stay text, because parsing long numbers is slow
        names = json.loads(body, object_pairs_hook=names_of, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body nests too deeply") from error
    repeated = [name for name in PARAMETERS if names.count(name) > 1]
    if repeated:
        raise BadRequest(f"'{repeated[0]}' is given more than once")


# --- GET


def parse_query_string(query_string: str) -> dict[str, Any]:
    """Return the parameters of a GET request, with ``variables`` and ``extensions`` parsed as JSON.

    Raises BadRequest.
    """
    try:
        pairs = parse_qsl(
            query_string.encode("latin-1").decode(),  # WSGI decodes bytes as latin-1 (PEP 3333)
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


# --- The parameters


def make_request(parameters: Mapping[str, Any], **header_fields: Any) -> GraphQLRequest:
    """Check the parameters of a request and return the request.

    ``header_fields`` are the fields that come from HTTP headers. Raises BadRequest for a parameter
    of the wrong type and for a request without a document. Raises VariablesTooLarge.
    """
    query = parameters.get("query")
    variables = _optional(parameters, "variables", dict, "an object")
    extensions = _optional(parameters, "extensions", dict, "an object") or {}
    document_id = _document_id(parameters, extensions)
    is_persisted = document_id is not None and query is None
    if not is_persisted and not (isinstance(query, str) and query.strip()):
        raise BadRequest("'query' must be a GraphQL document")
    if variables:
        values, size = _check_variables(variables)
        header_fields.update(variable_values=values, variable_bytes=size)
    if extensions.get("cost") is True:
        header_fields.update(wants_cost=True, no_store=True)
    return GraphQLRequest(
        query=query or "",
        document_id=document_id,
        variables=variables or {},
        operation_name=_optional(parameters, "operationName", str, "a string") or None,
        **header_fields,
    )


def _optional(parameters: Mapping[str, Any], name: str, type_: type, described: str) -> Any:
    """Return the parameter, None if it is missing or null. Raises BadRequest for another type."""
    value = parameters.get(name)
    if value is not None and not isinstance(value, type_):
        raise BadRequest(f"'{name}' must be {described}")
    return value


def _document_id(parameters: Mapping[str, Any], extensions: Mapping[str, Any]) -> str | None:
    """Return the id of the document from ``documentId`` or ``extensions.persistedQuery``."""
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
    return document_id.removeprefix(HASH_PREFIX)


def _check_variables(variables: dict[str, Any]) -> tuple[int, int]:
    """Return the number of values of the variables, and the bytes of their JSON.

    Raises VariablesTooLarge.
    """
    limits = config().requests
    depth, values = _measure(variables)
    if values > limits.max_variable_values:
        raise _too_many_values()
    if depth > limits.max_variables_depth:
        limit = limits.max_variables_depth
        raise VariablesTooLarge(
            "variables_depth", limit, f"'variables' may nest {limit} levels deep at most"
        )
    limit, size = limits.max_variables_bytes, len(encode(variables))
    if size > limit:
        raise VariablesTooLarge(
            "variables_bytes", limit, f"'variables' may have {limit} bytes of JSON at most"
        )
    return values, size


def _too_many_values() -> VariablesTooLarge:
    limit = config().requests.max_variable_values
    return VariablesTooLarge(
        "variables_values", limit, f"'variables' may have {limit} values at most"
    )


def _measure(value: Any) -> tuple[int, int]:
    """Return how deeply lists and objects nest in ``value``, and the number of values in them.

    The function does not recurse.
    """
    depth = count = 0
    level = [value] if isinstance(value, dict | list) else []
    while level:
        depth += 1
        count += sum(map(len, level))
        children = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        level = [child for child in children if isinstance(child, dict | list)]
    return depth, count
