"""What is stored of a response: its bytes, compressed too where that pays, and its age and tag."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import brotli  # type: ignore[import-untyped]

GZIP = "gzip"
BROTLI = "br"
_LEVEL = 4  # of 9: a response is compressed while its first client waits
_QUALITY = 3  # of 11: JSON gets as small as by gzip, in less time
_WORTH = 0.9  # of the size; beyond it the compressed bytes are not kept


class Entry(NamedTuple):
    """A response as it is stored or found.

    ``body`` is None when the client has it already. ``coding`` is its Content-Encoding, "" for
    none. ``age``, ``max_age`` and ``stale`` (how long it may be served after that, while it is
    made anew) are in seconds. ``tag`` is a hash of the content, whatever its coding.
    """

    body: bytes | None
    tag: str
    coding: str = ""
    age: int = 0
    max_age: int = 0
    stale: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a response: as they are, in gzip where that pays, and the tag of both."""

    body: bytes
    packed: bytes | None
    tag: str

    @classmethod
    def of(cls, body: bytes, threshold: int | None = None) -> "Content":
        """The content of ``body``, compressed when it has ``threshold`` bytes or more."""
        packed = None if threshold is None else compressed(body, GZIP, threshold)
        return cls(body, packed, sha256(body).hexdigest()[:32])

    def entry(self, *, gzip: bool, max_age: int, stale: int = 0) -> Entry:
        """As a look-up would find it now, for a client that accepts ``gzip`` or does not."""
        if gzip and self.packed is not None:
            return Entry(self.packed, self.tag, GZIP, 0, max_age, stale)
        return Entry(self.body, self.tag, "", 0, max_age, stale)

    def unstored(self, coding: str, threshold: int, *, max_age: int, stale: int = 0) -> Entry:
        """As it is sent when it is not stored: in ``coding`` where that pays."""
        packed = self.packed if coding == GZIP else None
        packed = packed or compressed(self.body, coding, threshold)
        if packed is None:
            return Entry(self.body, self.tag, "", 0, max_age, stale)
        return Entry(packed, self.tag, coding, 0, max_age, stale)


_COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    GZIP: lambda body: gzip.compress(body, _LEVEL, mtime=0),
    BROTLI: lambda body: brotli.compress(body, quality=_QUALITY),
}


def compressed(body: bytes, coding: str, threshold: int) -> bytes | None:
    """``body`` in ``coding``; None for no coding, and when ``body`` has fewer bytes than
    ``threshold`` or hardly shrinks.

    The same content gives the same bytes at any time (the header has no date): the tag is strong.
    """
    if not coding or len(body) < threshold:
        return None
    packed = _COMPRESS[coding](body)
    return packed if len(packed) < _WORTH * len(body) else None


def encode_entry(content: Content, max_age: int, stale: int) -> list[bytes | str | int]:
    """The fields of the entry's hash in Redis, as names and values in turn."""
    return [
        "m", f"{max_age} {stale}", "e", content.tag, "b", content.body,
        "z", content.packed or b"", "s", stale * 1000,
    ]  # fmt: skip


def decode_entry(reply: list[bytes | int]) -> Entry:
    """From the part of a look-up's reply that describes a hit."""
    left, meta, tag, coding, body = reply
    max_age, stale = map(int, meta.split())  # type: ignore[union-attr]
    age = max_age + stale + (-int(left) // 1000)
    return Entry(body or None, tag.decode(), coding.decode(), max(0, age), max_age, stale)  # type: ignore[arg-type,union-attr]
