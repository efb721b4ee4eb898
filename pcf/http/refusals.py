"""Responses with errors, and refusals, which are nothing else."""

from collections.abc import Mapping
from typing import Any

from graphql import ExecutionResult, GraphQLError, GraphQLSyntaxError

from pcf import metrics
from pcf.apps import config
from pcf.database.errors import DatabaseUnavailable
from pcf.errors import ClientError, ResponseTooLarge
from pcf.http.caching import BYPASS, NO_STORE
from pcf.http.errors import present
from pcf.http.logs import request_id
from pcf.http.protocol import METHODS, PARTIAL_SUCCESS, BadRequest, GraphQLResponse, encode

UNPROCESSABLE = 422  # a document that can be read, but not executed as it was asked for
STATUSES = {
    "COST_TOO_HIGH": UNPROCESSABLE,
    "OPERATION_RESOLUTION_FAILURE": UNPROCESSABLE,
    "RATE_LIMITED": 429,
    "TOO_MANY_REQUESTS": 429,
    "BODY_TOO_LARGE": 413,
    "UNAUTHENTICATED": 401,
    "INSUFFICIENT_SCOPE": 403,
    "INTERNAL_SERVER_ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
    "TIMEOUT": 504,
}
HEADERS = {
    405: {"Allow": ", ".join(METHODS)},
    415: {"Accept-Encoding": "identity"},  # RFC 9110 section 12.5.3
    503: {"Retry-After": "1"},
}

# Refusals of a request that is well-formed and authenticated: application/json has 200 for them.
WELL_FORMED = {
    "COST_TOO_HIGH",
    "DOCUMENT_NOT_TRUSTED",
    "OPERATION_RESOLUTION_FAILURE",
    "PERSISTED_QUERY_HASH_MISMATCH",
    "PERSISTED_QUERY_NOT_FOUND",
    "PERSISTED_QUERY_NOT_SUPPORTED",
}


def too_large() -> ResponseTooLarge:
    """The error of a response with more than ``max_response_bytes``."""
    limit = config().requests.max_response_bytes
    return ResponseTooLarge(
        "response", limit, f"The answer would have more than {limit} bytes; ask for less"
    )


def as_graphql(error: ClientError) -> GraphQLError:
    """The entry in ``errors`` that ``error`` becomes."""
    return GraphQLError(str(error), original_error=error, extensions=error.extensions)


def with_errors(
    result: ExecutionResult, cache_status: str, extensions: Mapping[str, Any]
) -> GraphQLResponse:
    """A response with errors, and with partial data unless nothing was executed (spec 7.1)."""
    errors = result.errors or []
    away = _database_away(result)
    if away is not None:
        return refused(away)
    headers = {"Cache-Status": cache_status, "Cache-Control": NO_STORE}
    entries = [present(error) for error in errors]
    content = {"errors": entries, **extensions}
    outcome = _outcome(entries)
    if result.data is None and all(e.path is None and e.original_error is None for e in errors):
        return GraphQLResponse(encode(content), UNPROCESSABLE, 200, headers, outcome)
    body = encode({**content, "data": result.data})
    return GraphQLResponse(body, PARTIAL_SUCCESS, 200, headers, outcome)


def _database_away(result: ExecutionResult) -> DatabaseUnavailable | None:
    """The database's absence, when it left nothing of the response: then there is no response.

    A client that is told so by the status comes back later (Retry-After), and so do balancers.
    """
    if result.data and any(value is not None for value in result.data.values()):
        return None
    for error in result.errors or ():
        original = error.original_error
        while isinstance(original, GraphQLError):
            original = original.original_error
        if isinstance(original, DatabaseUnavailable):
            return original
    return None


def refused(error: ClientError) -> GraphQLResponse:
    """A response that is nothing but ``error``, with the status and headers that go with it."""
    status = error.status if isinstance(error, BadRequest) else STATUSES.get(error.code, 400)
    response = refusal([as_graphql(error)], status, 200 if error.code in WELL_FORMED else status)
    headers = {**response.headers, **HEADERS.get(status, {}), **error.headers}
    return response._replace(headers=headers)


def invalid(errors: list[GraphQLError]) -> GraphQLResponse:
    """A response to a document that cannot be read (400) or is not valid for the schema (422)."""
    unread = any(isinstance(error, GraphQLSyntaxError) for error in errors)
    return refusal(errors, 400 if unread else UNPROCESSABLE, 200)


def refusal(errors: list[GraphQLError], status: int, json_status: int) -> GraphQLResponse:
    """A response without execution."""
    entries = [present(error) for error in errors]
    body = encode({"errors": entries})
    headers = {"Cache-Status": BYPASS, "Cache-Control": NO_STORE}
    return GraphQLResponse(body, status, json_status, headers, _outcome(entries))


def _outcome(entries: list[dict[str, Any]]) -> str:
    return metrics.outcome(entry["extensions"]["code"] for entry in entries)


class InternalError(ClientError):
    """Something went wrong that is not the client's doing; the log has the rest."""

    code = "INTERNAL_SERVER_ERROR"

    @property
    def extensions(self) -> dict[str, Any]:
        """The code, and the id under which the log has the rest."""
        return {"code": self.code, "requestId": request_id.get()}


def internal_error() -> GraphQLResponse:
    """The response when the service itself has failed."""
    return refused(InternalError("Internal server error"))
