"""Random streams of requests: valid ones, most of them with a few changes."""

import json
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from tests.differential import changes

TOKENS = [None, None, b"Bearer test-token", b"Bearer wrong-token", b"Basic eDp5"]
PATHS = [
    b"/", b"/nope", b"/admin", b"/admin/", b"/admin/login/", b"/graphql/", b"/static/nope.css",
    b"/static/admin/css/base.css", b"/static/admin/css/../css/base.css", b"/favicon.ico",
]  # fmt: skip
PROBES = [b"/livez", b"/readyz"]


@dataclass
class Request:
    """A request as lines, which changes can edit before it is written."""

    identity: str
    method: bytes = b"GET"
    target: bytes = b"/graphql"
    version: bytes = b"HTTP/1.1"
    lines: list[bytes] = field(default_factory=list)
    body: bytes = b""
    framing: list[bytes] = field(default_factory=list)
    written: bytes | None = None  # the body in its framing, where it is not just ``body``
    first: bytes | None = None  # the request line, where it is not method, target and version
    end: bytes = b"\r\n"
    prefix: bytes = b""
    whole: bytes | None = None  # all of it, where it is not made of the above
    changed: list[str] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        if self.whole is not None:
            return self.whole
        first = self.first or b" ".join([self.method, self.target, self.version])
        head = self.end.join([first, *self.lines, *self.framing])
        body = self.body if self.written is None else self.written
        return self.prefix + head + self.end * 2 + body


@dataclass(frozen=True)
class Stream:
    """The requests of one client on one connection; the last one is valid."""

    seed: int
    requests: list[Request]
    cuts: list[int]

    @property
    def data(self) -> bytes:
        return b"".join(request.data for request in self.requests)

    @property
    def segments(self) -> list[bytes]:
        data = self.data
        places = [0, *self.cuts, len(data)]
        return [data[begin:end] for begin, end in pairwise(places)]

    @property
    def heads(self) -> frozenset[str]:
        """The request ids with the method HEAD."""
        return frozenset(r.identity for r in self.requests if r.method == b"HEAD")


def stream_of(seed: int) -> Stream:
    """Return the stream of a seed, which is always the same."""
    random = Random(seed)
    requests = []
    for number in range(random.choice([1, 1, 2, 3])):
        request = good(random, f"s{seed}n{number}")
        for _ in range(random.choice([0, 1, 1, 1, 2])):
            change = random.choice(changes.ALL)
            change(request, random)
            request.changed.append(change.__name__)
        requests.append(request)
    requests.append(last(f"s{seed}last"))
    size = sum(len(request.data) for request in requests)
    cuts = sorted(random.sample(range(1, size), random.choice([0, 0, 1, 2, 5])))
    return Stream(seed, requests, cuts)


def last(identity: str) -> Request:
    """Return a request whose answer shows the correct framing of all requests before it."""
    request = Request(identity, target=b"/graphql?query={%b:__typename}" % identity.encode())
    request.lines = [
        b"Host: localhost",
        b"Connection: close",
        b"X-Request-ID: " + identity.encode(),
    ]
    return request


def good(random: Random, identity: str) -> Request:
    """Return a valid request, which both servers answer."""
    request = Request(identity, lines=[b"Host: localhost", b"X-Request-ID: " + identity.encode()])
    kind = random.choice(["get", "get", "post", "post", "post", "page", "probe", "graphiql"])
    new = f"{{ {identity}: __typename }}"
    query = random.choice(["{ me { id name } }", "{ tags { name } }", new])
    if kind == "get":
        request.target += b"?query=" + query.replace(" ", "").encode()
    elif kind == "post":
        request.method = b"POST"
        request.body = json.dumps({"query": query}).encode()
        request.lines.append(b"Content-Type: application/json")
        request.framing = [b"Content-Length: %d" % len(request.body)]
    elif kind == "graphiql":
        request.lines.append(b"Accept: text/html")
    else:
        request.target = random.choice(PATHS if kind == "page" else PROBES)
    token = random.choice(TOKENS)
    if token is not None:
        request.lines.append(b"Authorization: " + token)
    return request
