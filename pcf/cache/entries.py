"""Entries: a response as the cache stores it, and the commands that read one directly.

An entry has the bytes of a response, in gzip as well where that is smaller, and its age and entity
tag. A *direct read* finds an entry without a look-up script, where the server knows the name of the
entry and the credentials behind the token.
"""

import gzip
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from time import time
from typing import Any, NamedTuple

import brotli  # type: ignore[import-untyped]

from pcf.greenlets import in_thread

GZIP = "gzip"
BROTLI = "br"
_GZIP_LEVEL = 4  # of 9: the first client waits for it
_BROTLI_QUALITY = 3  # of 11: JSON becomes as small as in gzip, in less time
_WORTH = 0.9  # of the size; compressed bytes beyond it are not kept
LARGE = 16_384  # bytes of a body from which on a greenlet has a thread compress it

logger = logging.getLogger("pcf.cache")


class Entry(NamedTuple):
    """A response as it is stored or found.

    ``body`` is None when the client has it already. ``coding`` is the Content-Encoding, "" for
    none. ``age``, ``max_age`` and ``stale`` are seconds: for ``stale`` seconds after ``max_age``
    the entry may be served while one request renews it. ``tag`` is a hash of the content, the same
    for every coding.
    """

    body: bytes | None
    tag: str
    coding: str = ""
    age: int = 0
    max_age: int = 0
    stale: int = 0


class Content(NamedTuple):
    """The bytes of a response, the same bytes in gzip where that is smaller, and their tag."""

    body: bytes
    gzipped: bytes | None
    tag: str

    @classmethod
    def of(cls, body: bytes, threshold: int | None = None) -> "Content":
        """Return the content of ``body``, compressed when it has ``threshold`` bytes or more."""
        gzipped = None if threshold is None else compressed(body, GZIP, threshold)
        return cls(body, gzipped, sha256(body).hexdigest()[:32])

    def entry(self, *, gzip: bool, max_age: int, stale: int = 0) -> Entry:
        """Return the entry that a look-up would find now; ``gzip`` if the client accepts it."""
        if gzip and self.gzipped is not None:
            return Entry(self.gzipped, self.tag, GZIP, 0, max_age, stale)
        return Entry(self.body, self.tag, "", 0, max_age, stale)

    def unstored(self, coding: str, threshold: int, *, max_age: int, stale: int = 0) -> Entry:
        """Return the entry for a response that is not stored, in ``coding`` where it is smaller."""
        packed = self.gzipped if coding == GZIP else None
        packed = packed or compressed(self.body, coding, threshold)
        if packed is None:
            return Entry(self.body, self.tag, "", 0, max_age, stale)
        return Entry(packed, self.tag, coding, 0, max_age, stale)


_COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    GZIP: lambda body: gzip.compress(body, _GZIP_LEVEL, mtime=0),
    BROTLI: lambda body: brotli.compress(body, quality=_BROTLI_QUALITY),
}


def compressed(body: bytes, coding: str, threshold: int) -> bytes | None:
    """Return ``body`` in ``coding``.

    Return None for no coding, for a body of fewer bytes than ``threshold``, and where the result is
    hardly smaller. The same content always gives the same bytes (the gzip header has no date), so
    its entity tag is strong (RFC 9110, section 8.8.1).
    """
    if not coding or len(body) < threshold:
        return None
    compress = _COMPRESS[coding]
    packed = compress(body) if len(body) < LARGE else in_thread(compress, body)
    return packed if len(packed) < _WORTH * len(body) else None


def encode_entry(content: Content, max_age: int, stale: int) -> list[bytes | str | int]:
    """Return the fields of the entry's hash in Redis, as names and values in turn."""
    return [
        "m", f"{max_age} {stale}", "e", content.tag, "b", content.body,
        "z", content.gzipped or b"", "s", stale * 1000,
    ]  # fmt: skip


def decode_entry(reply: list[bytes | int]) -> Entry:
    """Return the entry of a reply: milliseconds left, meta, tag, coding, body."""
    left, meta, tag, coding, body = reply
    max_age, stale = map(int, meta.split())  # type: ignore[union-attr]
    age = max_age + stale + (-int(left) // 1000)
    return Entry(body or None, tag.decode(), coding.decode(), max(0, age), max_age, stale)  # type: ignore[arg-type,union-attr]


# --- direct reads: commands in the protocol of Redis (RESP), arrays of texts behind their lengths

_HMGET_5 = b"*7\r\n$5\r\nHMGET\r\n$%d\r\n%b\r\n"
_HMGET_2 = b"*4\r\n$5\r\nHMGET\r\n$%d\r\n%b\r\n"
_PTTL = b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n"


def _fields(*names: str) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(name), name.encode()) for name in names])


_CREDENTIALS_FIELDS = _fields("b", "r")
_GZIP_FIELDS = _fields("m", "e", "s", "r", "z")
_IDENTITY_FIELDS = _fields("m", "e", "s", "r", "b")


class DirectRead(NamedTuple):
    """Commands that read an entry, and the credentials that make it the right one.

    ``packed`` are the commands in RESP. ``credentials`` are those behind the token, as they are
    stored; empty for a request without a token. They expire at ``expires_at`` (seconds since 1970).
    ``coding`` is the Content-Encoding of the body.
    """

    packed: bytes
    credentials: bytes
    coding: bytes
    expires_at: float | None

    def __repr__(self) -> str:
        """Leave out what is private."""
        return f"DirectRead(coding={self.coding!r})"

    @classmethod
    def to(
        cls, prefix: str, token: str | None, credentials: bytes, name: str, coding: str
    ) -> "DirectRead":
        """Return the commands for the entry ``name``; ``token`` is a ``token_digest``."""
        key = f"{prefix}:e:{name}".encode()
        fields = _GZIP_FIELDS if coding else _IDENTITY_FIELDS
        packed = _HMGET_5 % (len(key), key) + fields + _PTTL % (len(key), key)
        expires_at = b""
        if token:
            token_key = f"{prefix}:e:token:{token}".encode()
            packed = _HMGET_2 % (len(token_key), token_key) + _CREDENTIALS_FIELDS + packed
            expires_at = credentials.partition(b" ")[2]
        return cls(packed, credentials, coding.encode(), float(expires_at) if expires_at else None)

    @property
    def reply_count(self) -> int:
        """The number of replies to the commands."""
        return 3 if self.credentials else 2

    def read(self, run_id: bytes, replies: list[Any]) -> Entry | None:
        """Return the same as ``entry``; log an entry that cannot be decoded and return None."""
        try:
            return self.entry(run_id, replies)
        except Exception:  # the look-up that follows tells what is wrong
            logger.exception("a response in Redis cannot be read")
            return None

    def entry(self, run_id: bytes, replies: list[Any]) -> Entry | None:
        """Return the entry in the replies of the server with this ``run_id``.

        Return None where only a look-up can tell: the credentials have changed or expired, the
        entry is gone or stale, or an earlier run of the server stored it.
        """
        if self.credentials and replies[0] != [self.credentials, run_id]:
            return None
        if self.expires_at is not None and time() >= self.expires_at:
            return None
        (meta, tag, stale, stored_by, body), left = replies[-2:]
        if stored_by != run_id or stale != b"0" or not body or left <= 0:
            return None
        return decode_entry([left, meta, tag, self.coding, body])
