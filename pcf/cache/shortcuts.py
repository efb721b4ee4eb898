"""The way to a response that is a hit: plain commands, packed already.

A look-up (``pcf.cache.scripts.LOOKUP``) can do everything, and costs three times as much. Who knows
what a token's credentials were, and in which coding the body was, may ask for the entry and the
credentials by their names. Each is read whole at one moment, the credentials first: what is served
was the truth after the request began. Anything that is not as it was (another viewer behind the
token, an entry that is gone or stale, another run of the server) is left to a look-up.
"""

import logging
from time import time
from typing import Any, NamedTuple

from pcf.cache.entries import Entry, decode_entry

logger = logging.getLogger("pcf.cache")

# commands in the protocol of Redis (RESP): arrays of texts, each behind its length
_HMGET_5 = b"*7\r\n$5\r\nHMGET\r\n$%d\r\n%b\r\n"
_HMGET_2 = b"*4\r\n$5\r\nHMGET\r\n$%d\r\n%b\r\n"
_PTTL = b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n"


def _fields(*names: str) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(name), name.encode()) for name in names])


_FIELDS_TOKEN = _fields("b", "r")
_FIELDS_CODED = _fields("m", "e", "s", "r", "z")
_FIELDS_PLAIN = _fields("m", "e", "s", "r", "b")


class Shortcut(NamedTuple):
    """Commands whose replies have an entry, and the ``credentials`` (as stored) that lead to it;
    those of a request without a token are empty. They hold until ``expires_at`` (seconds since
    1970). ``coding`` is that of the body.
    """

    packed: bytes
    credentials: bytes
    coding: bytes
    expires_at: float | None

    def __repr__(self) -> str:
        """Without what is private."""
        return f"Shortcut(coding={self.coding!r})"

    @classmethod
    def to(
        cls, prefix: str, token: str | None, credentials: bytes, name: str, coding: str
    ) -> "Shortcut":
        """To the entry called ``name``, for a token's digest."""
        key = f"{prefix}:e:{name}".encode()
        fields = _FIELDS_CODED if coding else _FIELDS_PLAIN
        packed = _HMGET_5 % (len(key), key) + fields + _PTTL % (len(key), key)
        expires_at = b""
        if token:
            held = f"{prefix}:e:token:{token}".encode()
            packed = _HMGET_2 % (len(held), held) + _FIELDS_TOKEN + packed
            expires_at = credentials.partition(b" ")[2]
        return cls(packed, credentials, coding.encode(), float(expires_at) if expires_at else None)

    @property
    def replies(self) -> int:
        """How many there are."""
        return 3 if self.credentials else 2

    def read(self, run: bytes, replies: list[Any]) -> Entry | None:
        """As ``entry``; None, and a line in the log, where what is stored cannot be read."""
        try:
            return self.entry(run, replies)
        except Exception:  # a look-up tells what is wrong
            logger.exception("a response in Redis cannot be read")
            return None

    def entry(self, run: bytes, replies: list[Any]) -> Entry | None:
        """What the server of this ``run`` replied; None when a look-up has to tell."""
        if self.credentials and replies[0] != [self.credentials, run]:
            return None
        if self.expires_at is not None and time() >= self.expires_at:
            return None
        (meta, tag, stale, of_run, body), left = replies[-2:]
        if of_run != run or stale != b"0" or not body or left <= 0:
            return None
        return decode_entry([left, meta, tag, self.coding, body])
