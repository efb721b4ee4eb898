"""A GraphQL client with connections to several workers."""

import gzip
import json
import random
import re
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

CONNECTIONS = 4  # of one client, so that every worker has some
COOKIE = "pcf_session"  # of the settings for development
KEPT = 30  # answers that a client keeps and asks to validate
_LITERAL = re.compile(r'\b(id|userId|authorId): "(\d+)"')


@dataclass(frozen=True)
class Viewer:
    """A user with a token; ``ever_staff`` if the user may have been staff during the run.

    A browser sends the token in the session cookie (``has_cookie``).
    """

    user: int
    token: str
    ever_staff: bool
    has_cookie: bool = False

    def __str__(self) -> str:
        return f"user {self.user} by {'cookie' if self.has_cookie else 'token'}"

    def headers(self) -> dict[str, str]:
        if self.has_cookie:
            return {"Cookie": f"theme=dark; {COOKIE}={self.token}", "Sec-Fetch-Site": "same-origin"}
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class QueryStyle:
    """How a query is sent; ``conditional`` asks to validate an answer that the client keeps."""

    get: bool = False
    gzip: bool = False
    conditional: bool = False
    variables: bool = False

    @classmethod
    def any(cls, rng: random.Random) -> "QueryStyle":
        get = rng.random() < 0.3
        return cls(get, rng.random() < 0.3, get and rng.random() < 0.7, rng.random() < 0.3)


PLAIN = QueryStyle()


@dataclass(frozen=True)
class Answer:
    """An answer; ``confirmed`` if the service said 304 for one that the client keeps."""

    status: int
    body: bytes
    cache: str
    confirmed: bool = False

    @property
    def hit(self) -> bool:
        return "hit" in self.cache

    def __str__(self) -> str:
        return f"{self.status} [{self.cache}] {self.body.decode()[:600]}"


class WholeConnection(HTTPConnection):
    """Sends a request in one piece, as most clients do.

    HTTPConnection sends the body after the head. The event loop may answer a request in one piece;
    a thread answers the other.
    """

    _pieces: list[Any] | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        pieces = self._pieces = []
        try:
            super().request(*args, **kwargs)
        finally:
            self._pieces = None
        super().send(b"".join(pieces))

    def send(self, data: Any) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


class Client:
    """Sends queries over each of its connections in turn."""

    def __init__(self, port: int) -> None:
        self._connections = [
            kind("127.0.0.1", port, timeout=60)
            for kind in (HTTPConnection, WholeConnection) * (CONNECTIONS // 2)
        ]
        self._turn = 0
        self._kept: dict[tuple[Viewer | None, str, QueryStyle], tuple[str, bytes]] = {}

    def is_ready(self) -> bool:
        try:
            return self._send("GET", "/readyz", None, {})[0] == 200
        except OSError:
            self._connections[self._turn % CONNECTIONS].close()
            return False

    def ask(
        self, query: str, viewer: Viewer | None, *, fresh: bool = False,
        style: QueryStyle = PLAIN, key: str | None = None,
    ) -> Answer:  # fmt: skip
        headers = {} if key is None else {"Idempotency-Key": f'"{key}"'}
        if viewer is not None:
            headers |= viewer.headers()
        if fresh:
            headers["Cache-Control"] = "no-store"
        if style.gzip:
            headers["Accept-Encoding"] = "gzip"
        asked = with_variables(query) if style.variables else {"query": query}
        if not style.get:
            headers["Content-Type"] = "application/json"
            status, found, body = self._send(
                "POST", "/graphql", json.dumps(asked).encode(), headers
            )
            return Answer(status, decompressed(found, body), found.get("Cache-Status", ""))
        if "variables" in asked:
            asked["variables"] = json.dumps(asked["variables"])
        own = (viewer, query, replace(style, conditional=True))
        tag, kept = self._kept.get(own, ("", b""))
        if style.conditional and tag:
            headers["If-None-Match"] = tag
        status, found, body = self._send("GET", f"/graphql?{urlencode(asked)}", None, headers)
        cache = found.get("Cache-Status", "")
        if status == 304 and "If-None-Match" in headers and not body:
            return Answer(200, kept, cache, confirmed=True)
        body = decompressed(found, body)
        if "ETag" in found:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[own] = (found["ETag"], body)
        return Answer(status, body, cache)

    def random_kept(self, rng: random.Random) -> "tuple[Viewer | None, str, QueryStyle] | None":
        """Return the viewer, the query and the style of an answer that the client keeps."""
        return rng.choice([*self._kept]) if self._kept else None

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Any, bytes]:
        self._turn += 1
        connection = self._connections[self._turn % CONNECTIONS]
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def with_variables(query: str) -> dict[str, Any]:
    """Return the same query with its first id as a variable, if it has an id."""
    found = _LITERAL.search(query)
    if found is None:
        return {"query": query}
    text = f"{query[: found.start(2) - 1]}$key{query[found.end(2) + 1 :]}"
    return {"query": f"query Q($key: ID!) {text}", "variables": {"key": found[2]}}


def decompressed(headers: Any, body: bytes) -> bytes:
    return gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
