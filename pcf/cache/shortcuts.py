"""The way to a response that was a hit before: plain commands, packed already.

A look-up (``pcf.cache.scripts.LOOKUP``) can do everything, and costs three times as much. Whoever
got a hit may ask for the same entry and the same token's credentials again, by their names. Each is
read whole at one moment, the credentials first: what is served was the truth after the request
began. Anything that is not as it was (another viewer behind the token, an entry that is gone or
stale, another run of the server) is left to a look-up.
"""

from dataclasses import dataclass, field
from time import time
from typing import Any

import hiredis

from pcf.cache.entries import Entry, decode_entry

LIGHT = 65_536  # bytes


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Commands whose replies have an entry, and the ``credentials`` (as stored) that lead to it;
    those of a request without a token are empty. They hold until ``expires_at`` (seconds since
    1970). ``is_light`` when the body had at most ``LIGHT`` bytes, so that many may be asked for at
    once.
    """

    packed: bytes = field(repr=False)
    credentials: bytes = field(repr=False)
    coding: bytes
    expires_at: float | None
    is_light: bool = True

    @classmethod
    def to(
        cls, prefix: str, token: str | None, credentials: bytes, name: str, found: Entry
    ) -> "Shortcut":
        """To the entry called ``name``, for a token's digest; ``found`` is what is there now."""
        coding = found.coding
        entry = f"{prefix}:e:{name}"
        commands: list[Any] = [
            ("HMGET", entry, "m", "e", "s", "r", "z" if coding else "b"),
            ("PTTL", entry),
        ]
        if token:
            commands.insert(0, ("HMGET", f"{prefix}:e:token:{token}", "b", "r"))
        expires_at = credentials.partition(b" ")[2]
        return cls(
            b"".join([hiredis.pack_command(command) for command in commands]),
            credentials,
            coding.encode(),
            float(expires_at) if expires_at else None,
            len(found.body or b"") <= LIGHT,
        )

    @property
    def replies(self) -> int:
        """How many there are."""
        return 3 if self.credentials else 2

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
