"""What clients see of errors: known ones by code, all others masked."""

import logging
import re
from typing import Any

from graphql import GraphQLError

from pcf import metrics
from pcf.apps import config
from pcf.errors import ClientError, LimitExceeded
from pcf.http.logs import request_id
from pcf.timeouts import DeadlineExceeded

# how graphql-core ends a message that names what the schema has instead
_SUGGESTION = re.compile(r" ?Did you mean [^?]*\?")

logger = logging.getLogger("pcf.http")


def present(error: GraphQLError) -> dict[str, Any]:
    """The response's entry for ``error``; counts it, and logs what is not for clients."""
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
    elif original is not None and not isinstance(original, GraphQLError):
        logger.error("unexpected error at %s", _path(error), exc_info=original)
        entry["message"] = "Internal server error"
        extensions = {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id.get()}
    elif not config().documents.suggestions:
        entry["message"] = _SUGGESTION.sub("", entry["message"])
    extensions.setdefault("code", "BAD_USER_INPUT")
    entry["extensions"] = extensions
    metrics.request_errors.labels(extensions["code"]).inc()
    return entry


def _path(error: GraphQLError) -> str:
    path = error.path or getattr(error.original_error, "path", None) or ()
    return ".".join(map(str, path)) or "the document"
