"""Logging: every line carries the id of the request it belongs to."""

import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("pcf_request_id", default="-")


class RequestIdFilter(logging.Filter):
    """Adds ``request_id`` to every record; ``-`` outside a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass.

        Django logs some answers (``django.request``) when the request is over for the middleware;
        such a record has the request, which knows its id.
        """
        request = getattr(record, "request", None)
        record.request_id = getattr(request, "request_id", None) or request_id.get()
        return True
