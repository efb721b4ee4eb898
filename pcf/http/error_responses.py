"""Responses with errors: errors for clients by their code, all other errors masked.

Each package defines the errors that it raises for clients, as subclasses of ``ClientError``:
``pcf.errors``, ``pcf.timeouts``, ``pcf.documents``, ``pcf.http.request``,
``pcf.http.rate_limits`` and ``pcf.server.threads``.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

from graphql import ExecutionResult, FieldNode, GraphQLError, GraphQLSyntaxError

from pcf.conf import config
from pcf.errors import ClientError, LimitExceeded, ResponseTooLarge, ServiceUnavailable
from pcf.http.caching import BYPASS, NO_STORE
from pcf.http.request import METHODS, BadRequest
from pcf.http.response import PARTIAL_SUCCESS, GraphQLResponse, encode
from pcf.observability import metrics
from pcf.observability.logs import request_id
from pcf.timeouts import DeadlineExceeded

UNPROCESSABLE = 422  # for a well-formed document that cannot be executed
STATUSES = {
    "COST_TOO_HIGH": UNPROCESSABLE,
    "OPERATION_RESOLUTION_FAILURE": UNPROCESSABLE,
    "IDEMPOTENCY_KEY_IN_USE": 409,
    "IDEMPOTENCY_KEY_REUSED": UNPROCESSABLE,
    "RATE_LIMITED": 429,
    "TOO_MANY_REQUESTS": 429,
    "BODY_TOO_LARGE": 413,
    "UNAUTHENTICATED": 401,
    "INSUFFICIENT_SCOPE": 403,
    "FOREIGN_ORIGIN": 403,
    "INTERNAL_SERVER_ERROR": 500,
    "OUTCOME_UNKNOWN": 500,
    "SERVICE_UNAVAILABLE": 503,
    "TIMEOUT": 504,
}
HEADERS = {
    405: {"Allow": ", ".join(METHODS)},
    415: {"Accept-Encoding": "identity"},  # RFC 9110 section 12.5.3
    503: {"Retry-After": "1"},
}

# Codes of well-formed requests with valid credentials; application/json has 200 for these errors.
WELL_FORMED = {
    "COST_TOO_HIGH",
    "DOCUMENT_NOT_TRUSTED",
    "OPERATION_RESOLUTION_FAILURE",
    "PERSISTED_QUERY_HASH_MISMATCH",
    "PERSISTED_QUERY_NOT_FOUND",
    "PERSISTED_QUERY_NOT_SUPPORTED",
}

# graphql-core ends a message with this when the schema has something similar.
_SUGGESTION = re.compile(r" ?Did you mean [^?]*\?")

logger = logging.getLogger("pcf.http")


class InternalError(ClientError):
    """The service has failed; only the log says how."""

    code = "INTERNAL_SERVER_ERROR"

    def __init__(self) -> None:
        super().__init__("Internal server error")

    @property
    def extensions(self) -> dict[str, Any]:
        """The code, and the request id under which the log has the details."""
        return {"code": self.code, "requestId": request_id.get()}


def internal_error_response() -> GraphQLResponse:
    """Return the response for an unexpected error, which the caller logs."""
    return error_response(InternalError())


def error_response(error: ClientError) -> GraphQLResponse:
    """Return a response without execution: ``error``, with its status and its headers."""
    status = error.status if isinstance(error, BadRequest) else STATUSES.get(error.code, 400)
    json_status = 200 if error.code in WELL_FORMED else status
    response = _errors_only([to_graphql_error(error)], status, json_status)
    headers = {**response.headers, **HEADERS.get(status, {}), **error.headers}
    return response._replace(headers=headers)


def invalid_document_response(errors: list[GraphQLError]) -> GraphQLResponse:
    """Return the response to a document with syntax errors (400) or validation errors (422)."""
    is_syntax = any(isinstance(error, GraphQLSyntaxError) for error in errors)
    return _errors_only(errors, 400 if is_syntax else UNPROCESSABLE, 200)


def execution_error_response(
    result: ExecutionResult, cache_status: str, extensions: Mapping[str, Any]
) -> GraphQLResponse:
    """Return a response with errors; with partial data if execution has begun (spec section 7.1).

    The status is 503 when a part of the service is unavailable and ``result`` has no data at all.
    """
    unavailable = _unavailable(result)
    if unavailable is not None:
        return error_response(unavailable)
    errors = result.errors or []
    headers = {"Cache-Status": cache_status, "Cache-Control": NO_STORE}
    entries = [format_error(error) for error in errors]
    content = {"errors": entries, **extensions}
    outcome = _outcome(entries)
    if result.data is None and all(map(_is_request_error, errors)):
        return GraphQLResponse(encode(content), UNPROCESSABLE, 200, headers, outcome)
    body = encode({**content, "data": result.data})
    return GraphQLResponse(body, PARTIAL_SUCCESS, 200, headers, outcome)


def response_too_large() -> ResponseTooLarge:
    """Return the error of a response with more than ``requests.max_response_bytes``."""
    return ResponseTooLarge.by_bytes(config().requests.max_response_bytes)


def is_too_large(result: ExecutionResult) -> bool:
    """Return whether the execution ended because the response would be too large."""
    return any(isinstance(error.original_error, ResponseTooLarge) for error in result.errors or ())


def to_graphql_error(error: ClientError) -> GraphQLError:
    """Return ``error`` as an entry of ``ExecutionResult.errors``."""
    return GraphQLError(str(error), original_error=error, extensions=error.extensions)


def format_error(error: GraphQLError) -> dict[str, Any]:
    """Return the entry of ``error`` in the response, and count the error.

    An error that clients must not see is masked, and logged with its traceback.
    """
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    entry: dict[str, Any] = dict(error.formatted)
    extensions = dict(error.extensions or {})
    if isinstance(original, ClientError):
        extensions = {**original.extensions, **extensions}
        if isinstance(original, LimitExceeded):
            metrics.limit_refusals.labels(original.limit).inc()
        if isinstance(original, DeadlineExceeded):
            metrics.timeouts.labels(original.layer).inc()
            of = f" (statement {original.statement})" if original.statement else ""
            logger.warning("time limit reached at %s%s: %s", _path(error), of, original)
    elif _is_unexpected(original) and not _is_request_error(error):
        logger.error("unexpected error at %s", _path(error), exc_info=original)
        masked = InternalError()
        entry["message"], extensions = str(masked), masked.extensions
    else:
        if _is_unexpected(original):  # a scalar refuses a value; its words are not for clients
            entry["message"] = entry["message"].removesuffix(f" {original}").rstrip(";")
        if not config().documents.suggestions:
            entry["message"] = _SUGGESTION.sub("", entry["message"])
    extensions.setdefault("code", "BAD_USER_INPUT")
    entry["extensions"] = extensions
    metrics.request_errors.labels(extensions["code"]).inc()
    return entry


def _is_unexpected(original: Exception | None) -> bool:
    return original is not None and not isinstance(original, GraphQLError)


def _is_request_error(error: GraphQLError) -> bool:
    """Return whether ``error`` comes from before the execution (specification section 7.1.1).

    Wrong variables and wrong values in the document are such errors. They name nodes of the
    document, but no path. Errors of the whole execution name neither (``to_graphql_error``).
    """
    return error.path is None and (error.original_error is None or bool(error.nodes))


def _path(error: GraphQLError) -> str:
    """Return the path of ``error`` for the log, with ``*`` for an alias, which a client wrote."""
    path = [*(error.path or getattr(error.original_error, "path", None) or ())]
    text = error.source.body if error.source else ""
    named = ["*" if re.search(rf"\b{key}\s*:", text) else str(key) for key in path]
    node = error.nodes[0] if error.nodes else None
    if path and isinstance(path[-1], str) and isinstance(node, FieldNode):
        named[-1] = node.name.value  # the field behind the alias
    return ".".join(named) or "the document"


def _errors_only(errors: list[GraphQLError], status: int, json_status: int) -> GraphQLResponse:
    entries = [format_error(error) for error in errors]
    body = encode({"errors": entries})
    headers = {"Cache-Status": BYPASS, "Cache-Control": NO_STORE}
    return GraphQLResponse(body, status, json_status, headers, _outcome(entries))


def _outcome(entries: list[dict[str, Any]]) -> str:
    return metrics.outcome(entry["extensions"]["code"] for entry in entries)


def _unavailable(result: ExecutionResult) -> ServiceUnavailable | None:
    """Return the error that left no data because a part of the service is unavailable.

    The status 503 with Retry-After makes clients retry, and load balancers use another server.
    """
    if result.data and any(value is not None for value in result.data.values()):
        return None
    for error in result.errors or ():
        original = error.original_error
        while isinstance(original, GraphQLError):
            original = original.original_error
        if isinstance(original, ServiceUnavailable):
            return original
    return None
