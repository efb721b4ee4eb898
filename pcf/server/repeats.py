"""Hits that need no parser: requests whose bytes the server has parsed before.

The same bytes mean the same request. When a request that came in one piece was a hit, the digest of
its bytes is kept with what the cache has to be asked. The next time these bytes come on a
connection that waits for a request, the answer needs no parsing. Nothing is read out of the bytes
here: what they mean and where they end is what the server's parser has found.

Nothing that a client wrote is kept but an origin of the allow-list, and no token.
"""

import logging
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial
from time import time
from typing import Any, NamedTuple

from pcf.cache.entries import Entry
from pcf.cache.shortcuts import Shortcut
from pcf.cache.stream import RedisStream
from pcf.execution.recent import Recent
from pcf.http.arrival import Arrival
from pcf.http.cors import cors_headers
from pcf.http.hits import Hits, Known
from pcf.http.protocol import GraphQLRequest, GraphQLResponse

logger = logging.getLogger("pcf.http")

MOST = 4_096  # bytes of a request that may be repeated
_OK = b"HTTP/1.1 200 OK\r\nServer: gunicorn/asgi\r\nDate: "

# Headers by which a request is unlike its repetition, or ends its connection
_SINGULAR = frozenset(
    {"connection", "expect", "transfer-encoding", "upgrade", "x-request-id", "x-request-timeout"}
)

Key = tuple[Any, ...]
"""A digest of the bytes, and where they came from and to: headers of a proxy may depend on that."""

Headers = list[tuple[bytes, bytes]]
Encode = Callable[[str | None, Arrival, GraphQLResponse, GraphQLRequest, Headers], Headers]


class Repeat(NamedTuple):
    """What a repeated request asks: the digest of its question, its token's digest, what its
    headers say (without the token), and the headers of its answer that do not depend on it.
    """

    known_as: bytes
    token: str | None
    request: GraphQLRequest
    origin: str | None
    defaults: Headers


def is_repeatable(headers: Mapping[str, str], request: GraphQLRequest) -> bool:
    """Return whether the next request with the same bytes is to be answered likewise."""
    return not request.if_none_match and _SINGULAR.isdisjoint(headers)


def origin_of(headers: Mapping[str, str]) -> str | None:
    """Return the origin of a request if it is on the allow-list."""
    origin = headers.get("origin")
    return origin if cors_headers(origin) else None


class Repeats:
    """The requests of a process that can be repeated; not for threads."""

    def __init__(self, hits: Hits, stream: RedisStream, encode: Encode, size: int) -> None:
        """``encode`` makes the headers of an answer; ``size`` is how many requests are kept."""
        self._hits = hits
        self._stream = stream
        self._encode = encode
        self._known: Recent[Key, Repeat] = Recent(size)
        self._second = 0
        self._head = b""

    def learn(self, key: Key, repeat: Repeat) -> None:
        """Keep ``repeat`` for the bytes with this key."""
        if self._known.find(key) is None:
            self._known.add(key, repeat)

    def find(self, key: Key) -> Repeat | None:
        """Return what the bytes with this key ask, if that is known."""
        return self._known.find(key)

    def answer(self, repeat: Repeat, done: Callable[[bytes | None], None]) -> None:
        """Have ``done`` called with the bytes of a whole answer; with None where it is no hit."""
        try:
            short = self._hits.short_of(repeat.known_as, repeat.token, repeat.request)
        except Exception:  # the server finds the answer, or what is wrong
            logger.exception("unexpected error before a repeated request")
            short = None
        if short is None:
            done(None)
            return
        known, shortcut = short
        told = partial(self._told, repeat, known, shortcut, Arrival.of({}), done)
        self._stream.read(shortcut.packed, shortcut.replies, told)

    def _told(
        self,
        repeat: Repeat,
        known: Known,
        shortcut: Shortcut,
        arrival: Arrival,
        done: Callable[[bytes | None], None],
        run: bytes,
        replies: list[Any] | None,
    ) -> None:
        answer = None
        if replies is not None:
            try:
                answer = self._answer(repeat, known, shortcut.read(run, replies), arrival)
            except Exception:  # the server finds the answer, or what is wrong
                logger.exception("unexpected error in a repeated request")
        done(answer)

    def _answer(
        self, repeat: Repeat, known: Known, entry: Entry | None, arrival: Arrival
    ) -> bytes | None:
        if entry is None:
            return None
        response = self._hits.response(known, entry, repeat.request, arrival)
        headers = self._encode(repeat.origin, arrival, response, repeat.request, repeat.defaults)
        lines = [b"%b: %b\r\n" % header for header in headers]
        return b"".join((self._begin(), *lines, b"\r\n", response.body))

    def _begin(self) -> bytes:
        """The status line and the headers that the server adds to every answer."""
        now = int(time())
        if now != self._second:
            self._second, self._head = now, _OK + formatdate(now, usegmt=True).encode() + b"\r\n"
        return self._head
