"""Logging: every line carries the id of the request it belongs to."""

import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("pcf_request_id", default="-")


class RequestIdFilter(logging.Filter):
    """Adds ``request_id`` to every record; ``-`` outside a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass."""
        record.request_id = request_id.get()
        return True
