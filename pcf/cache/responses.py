"""The response cache: whole responses, and the credentials behind tokens, in one look-up.

When Redis fails every look-up is a bypass and nothing is stored; the answer comes from
PostgreSQL.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any

import orjson

from pcf import metrics
from pcf.apps import config
from pcf.cache import scripts
from pcf.cache.gate import CacheUnavailable, Gate
from pcf.cache.names import read_names
from pcf.execution.dependencies import Dependencies
from pcf.viewer import ANONYMOUS, Viewer


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored response: its bytes, when it was stored (seconds since 1970) and for how long."""

    body: bytes
    stored_at: int
    ttl: int  # seconds


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the cache knew. ``clock`` is when reading began: the fence compares with it."""

    clock: bytes
    viewer: Viewer | None
    entry: Entry | None


def request_digest(
    fingerprint: bytes, document: bytes, operation_name: str | None, variables: Mapping[str, Any]
) -> str:
    """The part of a response's key that does not name the viewer: 256 bits.

    ``fingerprint`` is the schema's, ``document`` the digest of the text. Variables are compared as
    canonical JSON; 1, 1.0 and "1" are different. Raises TypeError for what is not JSON.
    """
    key = hashlib.sha256(fingerprint)
    key.update(document)
    key.update((operation_name or "").encode("utf-8", "surrogatepass"))
    key.update(b"\0")
    if variables:
        key.update(orjson.dumps(variables, option=orjson.OPT_SORT_KEYS))
    return key.hexdigest()


def token_digest(text: str) -> str:
    """Under which name the credentials behind a token are remembered; the text is never stored."""
    return hashlib.sha256(b"pcf-viewer\0" + text.encode("utf-8", "surrogatepass")).hexdigest()


class ResponseCache:
    """Responses by viewer and request."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def look_up(self, token: str | None, digest: str | None) -> Lookup | None:
        """The viewer behind ``token`` (a ``token_digest``; None for an anonymous viewer) and the
        response for ``digest`` (None when none is wanted), in one round trip.

        None when Redis fails.
        """
        settings = config().cache
        try:
            clock, credentials, value = self._gate.run(
                scripts.LOOKUP,
                settings.prefix,
                token or "",
                ANONYMOUS.name,
                digest or "",
                settings.generation_ttl,
            )
        except CacheUnavailable:
            return None
        viewer = None
        if credentials:
            name, _, expires_at = credentials.decode().partition(" ")
            if expires_at and time() >= float(expires_at):
                return Lookup(clock, None, None)
            viewer = Viewer.of_name(name)
        return Lookup(clock, viewer, _entry(value) if value else None)

    def store(
        self, lookup: Lookup, viewer: Viewer, digest: str, body: bytes, ttl: int,
        dependencies: Dependencies,
    ) -> bool:  # fmt: skip
        """Store a response for ``ttl`` seconds, unless something it was computed from was written
        since ``lookup``. Returns whether it was stored; False when Redis fails.
        """
        if len(body) > config().cache.max_body_bytes:
            metrics.cache_refusals.labels("size").inc()
            return False
        names = read_names(dependencies, config().cache.max_dependencies)
        names.append(f"viewer:{viewer.id if viewer.is_authenticated else viewer.name}")
        value = b"%d %d\n%b" % (int(time()), ttl, body)
        return self._store(lookup, f"{viewer.name}:{digest}", value, ttl * 1000, names)

    def remember_viewer(
        self, lookup: Lookup, token: str, viewer: Viewer, expires_at: float | None,
        dependencies: Dependencies,
    ) -> bool:  # fmt: skip
        """Remember whose token this is, for ``cache.token_ttl`` or until ``expires_at`` (seconds
        since 1970), which is stored with it: what Redis removes late is not believed.
        """
        ttl = float(config().cache.token_ttl)
        if expires_at is not None:
            ttl = min(ttl, expires_at - time())
        milliseconds = int(ttl * 1000)
        if milliseconds < 1:
            return False
        value = f"{viewer.name} {expires_at or ''}".rstrip().encode()
        names = read_names(dependencies, config().cache.max_dependencies)
        return self._store(lookup, f"token:{token}", value, milliseconds, names)

    def _store(
        self, lookup: Lookup, name: str, value: bytes, milliseconds: int, names: list[str]
    ) -> bool:
        prefix = config().cache.prefix
        try:
            stored = self._gate.run(
                scripts.STORE, prefix, lookup.clock, name, value, milliseconds, *names
            )
        except CacheUnavailable:
            metrics.cache_refusals.labels("unavailable").inc()
            return False
        if not stored:
            metrics.cache_refusals.labels("fence").inc()
        return bool(stored)


def _entry(value: bytes) -> Entry:
    header, _, body = value.partition(b"\n")
    stored_at, ttl = header.split(b" ")
    return Entry(body, int(stored_at), int(ttl))
