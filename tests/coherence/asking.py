"""A client with connections to several workers."""

import gzip
import json
import random
import re
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

CONNECTIONS = 4  # of one client: enough that every worker has some
KEPT = 30  # answers that a client has and may have confirmed
_LITERAL = re.compile(r'\b(id|userId|authorId): "(\d+)"')


@dataclass(frozen=True)
class Viewer:
    """Who asks. ``ever_staff``: may have been staff at some time of the run."""

    user: int
    token: str
    ever_staff: bool

    def __str__(self) -> str:
        return f"user {self.user}"


@dataclass(frozen=True)
class Manner:
    """How a query is sent; ``known``: asking whether what the client has is still the answer."""

    get: bool = False
    gzip: bool = False
    known: bool = False
    variables: bool = False

    @classmethod
    def any(cls, rng: random.Random) -> "Manner":
        get = rng.random() < 0.3
        return cls(get, rng.random() < 0.3, get and rng.random() < 0.7, rng.random() < 0.3)


PLAIN = Manner()


@dataclass(frozen=True)
class Answer:
    """``confirmed``: the client had it, and was told so."""

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
    """Sends a request in one piece, as most clients do, where HTTPConnection sends its body after
    its head. Such a request may be answered by the worker's loop, the other by a thread.
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
    """Asks in turn over each of its connections."""

    def __init__(self, port: int) -> None:
        self._connections = [
            kind("127.0.0.1", port, timeout=60)
            for kind in (HTTPConnection, WholeConnection) * (CONNECTIONS // 2)
        ]
        self._turn = 0
        self._kept: dict[tuple[Viewer | None, str, Manner], tuple[str, bytes]] = {}

    def is_ready(self) -> bool:
        try:
            return self._send("GET", "/readyz", None, {})[0] == 200
        except OSError:
            self._connections[self._turn % CONNECTIONS].close()
            return False

    def ask(
        self, query: str, viewer: Viewer | None, *, fresh: bool = False, manner: Manner = PLAIN
    ) -> Answer:
        headers = {}
        if viewer is not None:
            headers["Authorization"] = f"Bearer {viewer.token}"
        if fresh:
            headers["Cache-Control"] = "no-store"
        if manner.gzip:
            headers["Accept-Encoding"] = "gzip"
        asked = with_variables(query) if manner.variables else {"query": query}
        if not manner.get:
            headers["Content-Type"] = "application/json"
            status, found, body = self._send(
                "POST", "/graphql", json.dumps(asked).encode(), headers
            )
            return Answer(status, unpacked(found, body), found.get("Cache-Status", ""))
        if "variables" in asked:
            asked["variables"] = json.dumps(asked["variables"])
        own = (viewer, query, replace(manner, known=True))
        tag, kept = self._kept.get(own, ("", b""))
        if manner.known and tag:
            headers["If-None-Match"] = tag
        status, found, body = self._send("GET", f"/graphql?{urlencode(asked)}", None, headers)
        cache = found.get("Cache-Status", "")
        if status == 304 and "If-None-Match" in headers and not body:
            return Answer(200, kept, cache, confirmed=True)
        body = unpacked(found, body)
        if "ETag" in found:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[own] = (found["ETag"], body)
        return Answer(status, body, cache)

    def known(self, rng: random.Random) -> "tuple[Viewer | None, str, Manner] | None":
        """Who asked what, and how, of what the client has."""
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
    """The same query with its first id as a variable, where it has one."""
    found = _LITERAL.search(query)
    if found is None:
        return {"query": query}
    text = f"{query[: found.start(2) - 1]}$key{query[found.end(2) + 1 :]}"
    return {"query": f"query Q($key: ID!) {text}", "variables": {"key": found[2]}}


def unpacked(headers: Any, body: bytes) -> bytes:
    return gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
