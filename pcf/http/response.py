"""The response to a GraphQL request: its content, and its record in the metrics and the log."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from pcf.observability import metrics
from pcf.observability.logs import add_log_fields

PARTIAL_SUCCESS = 294  # data and errors; GraphQL over HTTP alone defines this status

REASONS = {status.value: status.phrase for status in HTTPStatus} | {
    PARTIAL_SUCCESS: "Partial Success"
}


class GraphQLResponse(NamedTuple):
    """The response: its JSON, and the headers beside Content-Type.

    ``status`` is the status for application/graphql-response+json. ``json_status`` is the status
    for application/json, whose clients expect 200 for every well-formed request (GraphQL over HTTP,
    September 2026, section 6). ``outcome`` is one of ``metrics.OUTCOMES``, for the SLO.
    """

    body: bytes
    status: int = 200
    json_status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    outcome: str = "ok"


def encode(result: Mapping[str, Any]) -> bytes:
    """Return the JSON of a result; escape text that UTF-8 cannot carry (lone surrogates)."""
    try:
        return orjson.dumps(result)
    except TypeError:
        return json.dumps(result, separators=(",", ":")).encode()


def record_operation(
    operation_type: str, complexity: str, *, statements: int, seconds: float
) -> None:
    """Record an answered operation: its duration in the metrics, its type in the access log.

    ``complexity`` is a label of ``metrics.COMPLEXITY_BUCKETS``, ``statements`` the number of SQL
    statements.
    """
    add_log_fields(operation=operation_type, statements=statements)
    metrics.request_duration.labels(operation_type, complexity).observe(seconds)
