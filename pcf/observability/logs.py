"""Formatters for log lines: one line an event, with the request's id and without personal data.

A line says what happened and where, never with which values: no token, no e-mail address, no
parameter of a statement, no variable of a document. Code that logs follows this rule.

A client chooses its method, its path, its headers and its body, and may put a secret into each of
them. Django's and gunicorn's lines about a request quote the client. ``safe_message`` words them
anew, with the method, the endpoint and the status. ``without_secrets`` is the last barrier, for
messages of other packages' exceptions.
"""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from pcf.conf import graphql_path

NO_REQUEST = "-"  # the id in the log outside of a request
request_id: ContextVar[str] = ContextVar("pcf_request_id", default=NO_REQUEST)
"""The id of the current request, for all log lines; set by the server or by the middleware."""

log_fields: ContextVar[dict[str, Any] | None] = ContextVar("pcf_log_fields", default=None)
"""The fields of the current request's line in the access log; None without an access log."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
_PATHS = frozenset({"/livez", "/readyz", "/health", "/metrics"})
_PREFIXES = ("/admin/", "/static/")
_SECURITY = "django.security."
# Messages of gunicorn with the method and the target, or the target alone, of a request.
_OF_A_REQUEST = frozenset({"%s %s", "Error handling request %s %s", "Error handling request %s"})
_INVALID_REQUEST = "Invalid request from ip="


def safe_method(method: str) -> str:
    """Return ``method`` if it is a common one, else ``other``: a client may send any text."""
    return method if method in METHODS else OTHER


def safe_path(path: str) -> str:
    """Return ``path`` if it is an endpoint of the engine, else a prefix or ``other``.

    A path may hold personal data or secrets.
    """
    if path in _PATHS or path == graphql_path():
        return path
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            return prefix
    return OTHER


def safe_message(record: logging.LogRecord) -> str | None:
    """Return the message for a record about a request; None for a record of another kind.

    Such are the records of Django's handlers (``django.request``, ``django.security``), and of
    gunicorn's parsers.
    """
    if record.name.startswith("gunicorn"):
        return _gunicorn_message(record)
    request = getattr(record, "request", None)
    if request is None or not record.name.startswith(("django.request", _SECURITY)):
        return None
    words = [safe_method(str(getattr(request, "method", ""))), safe_path(_path_of(request))]
    status = getattr(record, "status_code", None)
    if isinstance(status, int):
        words += [str(status), *([HTTPStatus(status).phrase] if status in _STATUSES else [])]
    text = " ".join(words)
    if record.name.startswith(_SECURITY):
        reason = record.name.removeprefix(_SECURITY)
        return f"{_csrf_reason(record) if reason == 'csrf' else reason}: {text}"
    return text


def is_clients_fault(record: logging.LogRecord) -> bool:
    """Return whether ``record`` has an exception that a client alone caused.

    Its traceback says nothing of the service, and may quote the client.
    """
    if record.name.startswith(_SECURITY):
        return True
    kind = record.exc_info[0] if record.exc_info else None
    return kind is not None and kind.__module__.startswith("gunicorn.")


_STATUSES = frozenset(status.value for status in HTTPStatus)


def _path_of(request: Any) -> str:
    return str(getattr(request, "path", ""))


def _csrf_reason(record: logging.LogRecord) -> str:
    """Return the reason of a refusal by CsrfViewMiddleware, without the header that it quotes."""
    reason = record.args[0] if isinstance(record.args, tuple) and record.args else ""
    return "CSRF, " + str(reason).partition(" - ")[0].rstrip(".")


def _gunicorn_message(record: logging.LogRecord) -> str | None:
    if record.msg in _OF_A_REQUEST and isinstance(record.args, tuple):
        *methods, target = map(str, record.args)
        return str(record.msg) % (*map(safe_method, methods), safe_path(target))
    message = record.getMessage()
    if message.startswith(_INVALID_REQUEST):
        return message.partition(": ")[0]
    return None


_REPLACEMENTS = (
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "[e-mail]"),
    (re.compile(r"\b(bearer)\s+[\w.~+/=-]{4,}", re.IGNORECASE), r"\1 [secret]"),
    # A word behind "token" is a token if it has a digit or an underscore, or is long.
    (
        re.compile(r"\b(token)\s+(?=[^\s]*[\d_]|[\w.~+/=-]{20})[\w.~+/=-]{4,}", re.IGNORECASE),
        r"\1 [secret]",
    ),
    (re.compile(r"\b(\w*(?:token|secret|password)=)[^\s&\"',;)]+", re.IGNORECASE), r"\1[secret]"),
    # A long word of small and capital letters and digits was made by a generator of secrets.
    (
        re.compile(r"(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{24,}"),
        "[secret]",
    ),
    (re.compile(r"(://[^:/@\s]*):[^@\s]+@"), r"\1:[secret]@"),  # the password in a URL
    # PostgreSQL quotes rows here, and psycopg puts these lines into the exception's message.
    (re.compile(r"^(DETAIL|CONTEXT):.*$", re.MULTILINE), r"\1: [left out]"),
)


MAX_MESSAGE = 4_000  # characters; an exception may quote a client's text of any length
MAX_EXCEPTION = 12_000


def without_secrets(text: str) -> str:
    """Return ``text`` without e-mail addresses, credentials and rows of the database."""
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return text


def shortened(text: str, length: int) -> str:
    """Return ``text``, with a mark in its middle where it has more than ``length`` characters."""
    if len(text) <= length:
        return text
    half = length // 2
    return f"{text[:half]} [{len(text) - 2 * half} characters left out] {text[-half:]}"


def message_of(record: logging.LogRecord) -> str:
    """Return the message of a record as the log may have it."""
    message = safe_message(record)
    if message is None:
        message = record.getMessage()
    return without_secrets(shortened(message, MAX_MESSAGE))


def exception_of(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    """Return the traceback of a record as the log may have it, "" for none."""
    if not record.exc_info or is_clients_fault(record):
        return ""
    text = formatter.formatException(record.exc_info)
    return without_secrets(shortened(text, MAX_EXCEPTION))


def add_log_fields(**fields: Any) -> None:
    """Add fields to the current request's line in the access log, if there is one.

    A field describes the request as such: its kind, numbers, durations. It never holds a value that
    the client sent.
    """
    current = log_fields.get()
    if current is not None:
        current.update(fields)


class RequestIdFilter(logging.Filter):
    """Adds ``request_id`` to every record; ``-`` outside of a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id and let the record pass.

        Django logs some answers (``django.request``) after the middleware has ended; such a record
        holds the request with its id. The access log's record has the id of the answer.
        """
        if not hasattr(record, "request_id"):
            request = getattr(record, "request", None)
            record.request_id = getattr(request, "pcf_request_id", None) or request_id.get()
        return True


class PlainFormatter(logging.Formatter):
    """Formats a record as text, by the format string ``fmt``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback below it."""
        record.message = message_of(record)
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        lines = [self.formatMessage(record), exception_of(record, self)]
        if record.stack_info:
            lines.append(without_secrets(self.formatStack(record.stack_info)))
        return "\n".join(filter(None, lines))


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line.

    The object has ``time`` (UTC), ``level``, ``logger``, ``request_id`` and ``message``. It has
    ``exception`` if there is one, and the fields of the record (``extra={"fields": {...}}``). Other
    extras stay out, because Django's hold the whole request.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, Any] = dict(getattr(record, "fields", ()))
        entry |= {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "request_id": getattr(record, "request_id", "-"),
            "message": message_of(record),
        }
        if exception := exception_of(record, self):
            entry["exception"] = exception
        return json.dumps(entry, default=str)  # orjson refuses some numbers and texts
