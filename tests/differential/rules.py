"""The intended differences, each with its reason. Nothing else may differ.

A rule looks at one request and both servers' answers to it. ``then`` tells what follows on the
connection: both go on, or one of the servers has ended it, so that the other one's later answers
have nothing to be compared with.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.differential.raw_http import Answer

GO_ON, PCF_ENDS, PLAIN_ENDS, BOTH_END = "both go on", "PCF ends", "the plain one ends", "both end"
PROBES = ("/livez", "/readyz", "/%6civez")
_HEADERS = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n\r|\r\r\n\r\r\n| \r\n \r\n")


@dataclass(frozen=True)
class Case:
    """One request and its answers; None where a server sent none."""

    request: Any
    pcf: Answer | None
    plain: Answer | None
    before: Any = None  # the request before it

    @property
    def head(self) -> bytes:
        return _HEADERS.split(self.request.data.lstrip(b"\r\n"), maxsplit=1)[0]

    @property
    def statuses(self) -> tuple[int, int]:
        """Both statuses; 0 stands for no answer."""
        return (self.pcf.status if self.pcf else 0, self.plain.status if self.plain else 0)

    def says(self, pattern: bytes) -> bool:
        """Return whether the head matches, without regard to case."""
        return re.search(pattern, self.head, re.IGNORECASE) is not None


@dataclass(frozen=True)
class Rule:
    """An intended difference."""

    name: str
    applies: Callable[[Case], bool]
    then: str
    example: bytes  # a request that needs it, without its Host and its id


def refused(answer: Answer | None) -> bool:
    """Return whether the server refused a request before the application got it."""
    return (
        answer is not None
        and answer.get("x-request-id") is None
        and answer.get("connection") == "close"
        and answer.get("content-type") in {"text/plain", "text/html"}
        and answer.status >= 400
    )


def is_probe(case: Case) -> bool:
    words = re.split(rb"[ \t]+", case.head.split(b"\r\n")[0].strip())
    path = words[1].partition(b"?")[0].partition(b"#")[0] if len(words) > 1 else b""
    path = re.sub(rb"^https?://[^/]*", b"", path, flags=re.IGNORECASE)
    return path.decode("latin-1") in PROBES


def _two_faults(case: Case) -> bool:
    known = {400, 414, 431}
    known |= {500} if case.says(rb"\nSCRIPT_NAME:") else set()
    known |= {417} if case.says(rb"\nexpect:") else set()
    return refused(case.pcf) and refused(case.plain) and set(case.statuses) <= known


def _coding(case: Case) -> bool:
    return refused(case.pcf) and refused(case.plain) and case.statuses == (400, 501)


def _pcf_refuses(pattern: bytes, *statuses: int) -> Callable[[Case], bool]:
    """Return a condition: PCF refuses a match; the plain server answers or refuses it."""
    wanted = statuses or (400,)
    return lambda case: refused(case.pcf) and case.statuses[0] in wanted and case.says(pattern)


def _plain_refuses(pattern: bytes, *statuses: int) -> Callable[[Case], bool]:
    """Return a condition: the plain server refuses a match; PCF answers it."""
    return lambda case: (
        refused(case.plain)
        and not refused(case.pcf)
        and case.pcf is not None
        and case.statuses[1] in statuses
        and case.says(pattern)
    )


def _trailers(case: Case) -> bool:
    """The plain server may find trailers after its answer, when it reads the next request."""
    chunked = case.says(CHUNKED) or (case.before and Case(case.before, None, None).says(CHUNKED))
    ends = refused(case.plain) and case.statuses[1] == 400
    return bool(chunked) and ends and case.pcf is not None and not refused(case.pcf)


def _cookies_apart(case: Case) -> bool:
    """Return whether the answers differ by a cookie of the plain server alone."""
    return (
        case.pcf is not None
        and case.plain is not None
        and (case.pcf.status, case.pcf.body) == (case.plain.status, case.plain.body)
        and case.pcf.get("set-cookie") is None
        and (case.plain.get("set-cookie") or "").startswith("csrftoken=")
    )


JSON_POST = b"POST /graphql HTTP/1.1\r\nContent-Type: application/json\r\n"
CHUNKED = rb"\ntransfer-encoding:[^\r\n]*chunked"
SHORT = rb"\ncontent-length: *0*\d+"

RULES = [
    # --- both refuse
    Rule(
        "of two faults in one head, each server names the one it finds first",
        _two_faults,
        BOTH_END,
        b"GET /\xff HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n",
    ),
    Rule(
        "a transfer coding other than chunked is 400 for the C parser and 501 for the plain server",
        lambda case: _coding(case) and case.says(rb"\ntransfer-encoding"),
        BOTH_END,
        b"GET /nope HTTP/1.1\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    ),
    # --- PCF refuses more: the safe side
    Rule(
        "the C parser takes HTTP/1.0 and HTTP/1.1 alone, the plain server every HTTP/1.x",
        _pcf_refuses(rb"^[^\r\n]* HTTP/1\.[2-9]"),
        PCF_ENDS,
        b"GET /nope HTTP/1.2\r\n\r\n",
    ),
    Rule(
        "a Content-Length past 63 bits is malformed for the C parser",
        _pcf_refuses(rb"\ncontent-length: *\d{19,}"),
        PCF_ENDS,
        b"GET /nope HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n",
    ),
    Rule(
        "the C parser counts fields with an underscore in their names, the plain server drops them",
        _pcf_refuses(rb"\n[^\r\n:]*_[^\r\n:]*:", 431),
        PCF_ENDS,
        b"GET /nope HTTP/1.1\r\nX_Y: z\r\n" + b"X: y\r\n" * 98 + b"\r\n",
    ),
    Rule(
        "PCF reads a chunked body before it answers, so it refuses a malformed one; Django answers "
        "without reading it, and the plain server ends the connection after that",
        lambda case: refused(case.pcf) and case.statuses[0] in {400, 431} and case.says(CHUNKED),
        PCF_ENDS,
        b"GET /nope HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\ng\r\n",
    ),
    Rule(
        "a WebSocket is refused by gunicorn or by PCF, and is a plain GET for the plain server",
        _pcf_refuses(rb"\nupgrade: websocket", 400, 403, 426),
        PCF_ENDS,
        b"GET /nope HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    Rule(
        "a body that ends early is refused after body_silence by PCF, and at once by Django, or "
        "never where Django does not read it",
        lambda case: (
            (case.pcf is None or case.statuses[0] == 408)
            and (case.says(SHORT) or case.says(CHUNKED))
        ),
        PCF_ENDS,
        JSON_POST + b"Content-Length: 999\r\n\r\n",
    ),
    # --- the plain server refuses more
    Rule(
        "the C parser takes several spaces for one between the parts of a request line",
        _plain_refuses(rb"^(\S+  +\S+ +|\S+ +\S+  +)HTTP/1\.[01](\r|$)", 400),
        PLAIN_ENDS,
        b"GET  /nope  HTTP/1.1\r\n\r\n",
    ),
    Rule(
        "the C parser skips trailer lines that are no fields, and control characters in chunk "
        "extensions; both are dropped",
        _trailers,
        PLAIN_ENDS,
        b"GET /nope HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n X: y\r\n\r\n",
    ),
    Rule(
        "an Expect that is not 100-continue is ignored by gunicorn's asgi worker",
        _plain_refuses(rb"\nexpect:", 417),
        PLAIN_ENDS,
        b"GET /nope HTTP/1.1\r\nExpect: x\r\n\r\n",
    ),
    Rule(
        "SCRIPT_NAME and PATH_INFO of a trusted proxy move the plain server's application; PCF has "
        "no prefix and leaves names with an underscore out",
        lambda case: case.says(rb"\n(SCRIPT_NAME|PATH_INFO):") and not refused(case.plain),
        GO_ON,
        b"GET /admin HTTP/1.1\r\nSCRIPT_NAME: /admin\r\n\r\n",
    ),
    Rule(
        "a SCRIPT_NAME that is no prefix of the path is an error of the plain server's alone",
        _plain_refuses(rb"\nSCRIPT_NAME:", 500),
        PLAIN_ENDS,
        b"GET /nope HTTP/1.1\r\nSCRIPT_NAME: /x\r\n\r\n",
    ),
    # --- both answer, in different words
    Rule(
        "probes are answered for any Host, without Django's headers, and to GET and HEAD alone",
        lambda case: is_probe(case) and case.statuses[0] in {200, 405} and not refused(case.plain),
        GO_ON,
        b"GET /livez HTTP/1.1\r\n\r\n",
    ),
    Rule(
        "a chunked body is read by PCF; for Django's view a request without Content-Length is 411",
        lambda case: case.statuses[1] == 411 and case.says(CHUNKED) and not refused(case.pcf),
        GO_ON,
        JSON_POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    Rule(
        "the authority of a target that is a whole URL is the host (RFC 9112, 3.2.2), for the "
        "plain server the Host header stays it",
        lambda case: 400 in case.statuses and case.says(rb"^\S+ +https?://"),
        GO_ON,
        b"GET http://a..b/admin/login/ HTTP/1.1\r\n\r\n",
    ),
    Rule(
        "a target with another scheme is no path of PCF's, the plain server takes its path",
        lambda case: case.statuses[0] in {404, 400} and case.says(rb"^\S+ +[a-z]+:/*[^ ]* "),
        GO_ON,
        b"GET ftp://localhost/admin HTTP/1.1\r\n\r\n",
    ),
    Rule(
        "a fragment belongs to the path or query that it stands in, the plain server cuts it off",
        lambda case: case.says(rb"^\S+ +[^ ]*#") and not refused(case.pcf or case.plain),
        GO_ON,
        b"GET /admin#x HTTP/1.1\r\n\r\n",
    ),
    Rule(
        "GraphQL passes Django's CSRF middleware by, which replaces a csrftoken that is none",
        lambda case: case.says(rb"\ncookie:[^\r\n]*csrftoken=") and _cookies_apart(case),
        GO_ON,
        JSON_POST + b'Cookie: csrftoken=x\r\nContent-Length: 22\r\n\r\n{"query":"{tags{id}}"}',
    ),
    Rule(
        "bytes of a path that are not UTF-8 are shown as U+FFFD instead of percent-encoded",
        lambda case: case.statuses[0] == case.statuses[1] in {301, 302, 404}
        and case.says(rb"^\S+ +[^ ?]*%[89a-f]"),
        GO_ON,
        b"GET /admin/%c3%28 HTTP/1.1\r\n\r\n",
    ),
]  # fmt: skip


CONNECTION_IS_A_LIST = "close behind another value of Connection ends PCF's connection alone"


def closes_alone(case: Case) -> bool:
    """Return whether PCF alone ends the connection after an answer: its parser reads all values of
    Connection, the plain server knows 'close' only where it is the first field's only value.
    """
    fields = re.findall(rb"\nconnection:([^\r\n]*)", case.head.lower())
    values = [value.strip() for field in fields for value in field.split(b",")]
    return b"close" in values and fields[0].strip() != b"close"
