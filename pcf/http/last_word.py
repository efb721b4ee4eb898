"""What a client is sent when the thread that works for it has not answered in time."""

from http import HTTPStatus

from pcf import metrics
from pcf.http.refusals import refused
from pcf.timeouts import TimeoutContext


def last_word(timeout: TimeoutContext, request_id: str) -> bytes:
    """A whole HTTP response, 504 with a GraphQL error as its body; the connection is closed."""
    response = refused(timeout.exceeded())
    status = HTTPStatus(response.status)
    metrics.http_responses.labels(str(response.status), response.outcome).inc()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"Cache-Status: {response.headers['Cache-Status']}\r\n"
        f"X-Request-ID: {request_id}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + response.body
