"""The answer on its way to the socket: gunicorn's, with fewer system calls."""

import re
from email.utils import formatdate
from time import time

from gunicorn import util
from gunicorn.http.wsgi import Response

_TOGETHER = 65_536  # bytes of a body that is copied behind its head rather than sent after it
_FIELDS = re.compile(  # RFC 9110 section 5: names are tokens, values have no control characters
    r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*"
)
_LEFT_TO_GUNICORN = frozenset(  # headers of the connection
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
     "trailers", "transfer-encoding", "upgrade", "server", "date"}
)  # fmt: skip


class Reply(Response):
    """As gunicorn's; the head leaves with the first piece of the body, in one segment, headers are
    checked all at once, and the date is written once a second.
    """

    headers_sent: bool
    _head = b""
    _fields: str | None = None

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take the application's headers; gunicorn does so with those that are not plain ones, and
        refuses those that must not be sent.
        """
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
        names = {name.lower(): value for name, value in headers}
        if (
            not _FIELDS.fullmatch(fields)
            or fields.count("\r\n") != len(headers)  # else a value is several lines
            or names.keys() & _LEFT_TO_GUNICORN
        ):
            super().process_headers(headers)
            return
        self._fields = fields
        self.headers = headers
        if "content-length" in names:
            self.response_length = int(names["content-length"])

    def default_headers(self) -> list[str]:
        """The status line and the headers of the connection."""
        major, minor = self.req.version
        lines = [
            f"HTTP/{major}.{minor} {self.status}\r\n",
            f"Server: {self.version}\r\n",
            f"Date: {_date()}\r\n",
            f"Connection: {'close' if self.should_close() else 'keep-alive'}\r\n",
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        return lines

    def send_headers(self) -> None:
        """Make the head ready, to be sent with what follows."""
        if not self.headers_sent:
            if self._fields is None or self._omits_body:
                self._fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
            self._head = f"{''.join(self.default_headers())}{self._fields}\r\n".encode("latin-1")
            self.headers_sent = True

    def whole(self, status: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
        """All of the answer, for somebody else to send."""
        self.start_response(status, headers)
        self.send_headers()
        head, self._head = self._head, b""
        return head + body

    def can_sendfile(self) -> bool:
        """No: it would have to know of the head."""
        return False

    def close(self) -> None:
        """Send what was not."""
        if not self.headers_sent:
            self.send_headers()
        if self._head:
            self._emit_body(b"")
        if self.chunked:
            util.write_chunk(self.sock, b"")

    def _emit_body(self, data: bytes) -> None:
        head, self._head = self._head, b""
        if head and not self.chunked and len(data) <= _TOGETHER:
            util.write(self.sock, head + data)
            return
        if head:
            util.write(self.sock, head)
        if data:
            util.write(self.sock, data, self.chunked)


_dated: tuple[int, str] = (0, "")


def _date() -> str:
    """The time as HTTP wants it (RFC 9110 section 5.6.7)."""
    global _dated  # noqa: PLW0603 - replaced as a whole, so threads see one or the other
    now = int(time())
    second, text = _dated
    if second != now:
        text = formatdate(now, usegmt=True)
        _dated = (now, text)
    return text
