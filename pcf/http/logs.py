"""Logging: one line an event, with the id of its request, and nothing that tells of a person.

Lines say what happened and where, never with which values: no token, no e-mail, no parameter of a
statement, no variable of a document. Code that logs keeps to that; ``viewer_safe`` is the last
barrier, for the texts of exceptions from elsewhere.
"""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str] = ContextVar("pcf_request_id", default="-")

_SECRETS = (
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "[e-mail]"),
    (re.compile(r"\b(bearer|token)\s+[\w.~+/=-]{4,}", re.IGNORECASE), r"\1 [secret]"),
    (re.compile(r"(://[^:/@\s]*):[^@\s]+@"), r"\1:[secret]@"),  # of an address
    # PostgreSQL quotes rows in these, and psycopg makes them part of the exception's text
    (re.compile(r"^(DETAIL|CONTEXT):.*$", re.MULTILINE), r"\1: [left out]"),
)


def viewer_safe(text: str) -> str:
    """``text`` without e-mail addresses, credentials and rows of the database."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class RequestIdFilter(logging.Filter):
    """Adds ``request_id`` to every record; ``-`` outside a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass.

        Django logs some answers (``django.request``) when the request is over for the middleware;
        such a record has the request, which knows its id. The access log knows it from the answer.
        """
        if not hasattr(record, "request_id"):
            request = getattr(record, "request", None)
            record.request_id = getattr(request, "pcf_request_id", None) or request_id.get()
        return True


class PlainFormatter(logging.Formatter):
    """For people: the line that ``fmt`` asks for."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback below it."""
        return viewer_safe(super().format(record))


class JsonFormatter(logging.Formatter):
    """For machines: one JSON object a line.

    It has ``time`` (UTC), ``level``, ``logger``, ``request_id``, ``message``, ``exception`` where
    there is one, and the record's ``facts`` (a dictionary given as ``extra={"facts": ...}``).
    Other extras stay out: Django's hold the whole request.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry: dict[str, Any] = dict(getattr(record, "facts", ()))
        entry |= {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "request_id": getattr(record, "request_id", "-"),
            "message": viewer_safe(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = viewer_safe(self.formatException(record.exc_info))
        return json.dumps(entry, default=str)  # not orjson: it refuses some numbers and texts
