"""HTTP/1 requests from the bytes of a connection: plain ones at once, all others by gunicorn.

Nearly every request is plain: it comes in one piece, its headers occur once each, none of them is
one that gunicorn has a policy for, and its connection had a request before. gunicorn's own parser
in C reads it, with the same limits; what gunicorn decides in Python was decided at the connection's
first request, or is about requests that are not plain. Those are left to gunicorn whole: so
whatever is refused is refused by gunicorn.
"""

from io import BytesIO
from typing import Any

import gunicorn_h1c
from gunicorn.http.parser import RequestParser

_OF_CONNECTION = (
    "wsgi.errors", "wsgi.version", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once",
    "wsgi.file_wrapper", "wsgi.input_terminated", "gunicorn.socket", "SERVER_SOFTWARE",
    "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME", "REMOTE_ADDR", "REMOTE_PORT",
)  # fmt: skip
_NOT_PLAIN = frozenset({"EXPECT", "TRANSFER-ENCODING", "UPGRADE", "HTTP2-SETTINGS"})
_UNPREFIXED = frozenset({"CONTENT-TYPE", "CONTENT-LENGTH"})  # CGI's names (RFC 3875, 4.1)
_NAMES = 256  # spellings of headers that are remembered; clients choose them
_DIGITS = 15  # of a body's length


class PlainRequest:
    """A request whose bytes are all there; what gunicorn's Reply and error handling ask for."""

    __slots__ = ("_closes", "body", "environ", "method", "query", "uri", "version")

    def __init__(self, environ: dict[str, Any], version: tuple[int, int]) -> None:
        self.environ = environ
        self.version = version
        self.body: BytesIO = environ["wsgi.input"]
        self.method: str = environ["REQUEST_METHOD"]
        self.query: str = environ["QUERY_STRING"]
        self.uri: str = environ["RAW_URI"]
        wish = environ.get("HTTP_CONNECTION", "").lower()
        self._closes = wish == "close" or (version < (1, 1) and wish != "keep-alive")

    def should_close(self) -> bool:
        """Whether the connection ends with this request (RFC 9112 section 9.3)."""
        return self._closes


class PlainParser(RequestParser):
    """gunicorn's parser of a connection, after its first request."""

    def __init__(self, given: RequestParser, environ: dict[str, Any], own_host: bool) -> None:
        """Takes the place of ``given``, which has parsed the request with this ``environ``.

        ``own_host``: what the environ says of the server is from the Host header and the scheme.
        """
        super().__init__(given.cfg, given.unreader.sock, given.source_addr)
        first = self.mesg = given.mesg
        self.unreader = given.unreader
        self.req_count = given.req_count
        self._put_back: PlainRequest | None = None
        self._template = {name: environ[name] for name in _OF_CONNECTION if name in environ}
        self._scheme = "https" if given.cfg.is_ssl else "http"
        schemes, _ = first._peer_trusted_for_forwarded()  # noqa: SLF001 - its rule, asked once
        self._schemes = [(_key(name.encode()), value) for name, value in schemes.items()]
        self._named = _named(environ) if own_host else None
        self._limits = {
            "limit_request_line": first._fast_limit_request_line,  # noqa: SLF001
            "limit_request_fields": first.limit_request_fields,
            "limit_request_field_size": first.limit_request_field_size,
        }

    @classmethod
    def after(cls, conn: Any, environ: dict[str, Any]) -> None:
        """Let plain requests of ``conn`` be parsed from now on, if that can be; ``environ`` is that
        of its first request.
        """
        given, cfg = conn.parser, conn.cfg
        if (
            type(given) is RequestParser
            and given.mesg._use_fast  # noqa: SLF001
            and cfg.proxy_protocol == "off"
            and not (
                cfg.is_ssl  # decrypted bytes are another way of waiting
                or cfg.casefold_http_method
                or cfg.permit_unconventional_http_method
                or cfg.permit_unconventional_http_version
                or environ["SCRIPT_NAME"]
            )
        ):
            conn.parser = cls(given, environ, own_host=not isinstance(conn.server, tuple))

    def __next__(self) -> Any:
        """The next request, a PlainRequest or gunicorn's; raises what gunicorn's parser raises."""
        request, self._put_back = self._put_back, None
        if request is not None:
            return request
        self.finish_body()
        self.mesg = None
        data = self.unreader.read()
        if not data:
            raise StopIteration
        request = self._plain(data)
        if request is not None:
            self.req_count += 1
            return request
        self.unreader.unread(data)
        return super().__next__()

    def only(self, data: bytes) -> PlainRequest | None:
        """The one plain request that ``data`` is, which was read from the connection; None when it
        is anything else, or continues what was read before.
        """
        unreader = self.unreader
        if self.mesg is not None or unreader.buf.getbuffer().nbytes:
            return None
        request = self._plain(data)
        if request is not None and unreader.buf.getbuffer().nbytes:
            unreader.take_buffered()  # another one has begun
            return None
        self.req_count += request is not None
        return request

    def put_back(self, request: PlainRequest) -> None:
        """Let ``request`` be the next one."""
        self._put_back = request

    def _plain(self, data: bytes) -> PlainRequest | None:
        """The request that ``data`` begins with, None when it is not plain."""
        try:
            parsed = gunicorn_h1c.parse_request(data, **self._limits)
        except (gunicorn_h1c.IncompleteError, ValueError):
            return None
        environ = self._template.copy()
        for name, value in parsed["headers"]:
            key = _keys.get(name) or _key(name)
            if key is None or key in environ:
                return None
            environ[key] = value.decode("latin-1")
        if not self._add_target(environ, parsed) or not self._add_scheme(environ):
            return None
        if self._named is not None and _named(environ) != self._named:
            return None
        if not self._add_body(environ, data, parsed["consumed"]):
            return None
        version = (1, parsed["minor_version"])
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if version == (1, 1) else "HTTP/1.0"
        return PlainRequest(environ, version)

    @staticmethod
    def _add_target(environ: dict[str, Any], parsed: dict[str, Any]) -> bool:
        """The request line (RFC 9112 section 3); False for targets that want a closer look."""
        target = parsed["path"]
        if target[:1] != b"/" or target[:2] == b"//" or b"#" in target or not target.isascii():
            return False
        environ["RAW_URI"] = uri = target.decode()
        path, _, query = uri.partition("?")
        if "%" in path:
            return False
        environ["REQUEST_METHOD"] = parsed["method"].decode()
        environ["PATH_INFO"] = path
        environ["QUERY_STRING"] = query
        return True

    def _add_scheme(self, environ: dict[str, Any]) -> bool:
        """What a trusted proxy says of the scheme; False when it says more than one thing."""
        told = [environ[key] == value for key, value in self._schemes if key in environ]
        environ["wsgi.url_scheme"] = ("https" if told[0] else "http") if told else self._scheme
        return len(told) <= 1

    def _add_body(self, environ: dict[str, Any], data: bytes, start: int) -> bool:
        """The body, which begins at ``start``; False when not all of it is in ``data``."""
        length = environ.get("CONTENT_LENGTH", "0")
        if not length.isdecimal() or len(length) > _DIGITS:
            return False
        end = start + int(length)
        if end > len(data):
            return False
        environ["wsgi.input"] = BytesIO(data[start:end])
        if end < len(data):
            self.unreader.unread(data[end:])
        return True


def _named(environ: dict[str, Any]) -> tuple[Any, Any]:
    return environ.get("HTTP_HOST"), environ["wsgi.url_scheme"]


_keys: dict[bytes, str] = {}


def _key(name: bytes) -> str | None:
    """The key of a header in a WSGI environ (PEP 3333); None where gunicorn has to decide."""
    text = name.decode("latin-1").upper()
    if "_" in text or text in _NOT_PLAIN:  # "_" would stand for "-" as well
        return None
    key = text.replace("-", "_")
    if text not in _UNPREFIXED:
        key = f"HTTP_{key}"
    if len(_keys) < _NAMES:
        _keys[name] = key
    return key
