"""The response cache: whole responses, and the credentials behind tokens, in one look-up.

When Redis fails every look-up is a bypass and nothing is stored; the answer comes from
PostgreSQL.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from random import getrandbits
from time import time
from typing import Any, NamedTuple

import orjson

from pcf import metrics
from pcf.apps import config
from pcf.cache import scripts
from pcf.cache.entries import GZIP, Content, Entry, decode_entry, encode_entry
from pcf.cache.gate import CacheUnavailable, Gate
from pcf.cache.leases import Leases
from pcf.cache.names import read_names
from pcf.cache.shortcuts import Shortcut
from pcf.cache.tally import Tally
from pcf.cache.tolls import FREE, Toll
from pcf.execution.dependencies import Dependencies
from pcf.viewer import ANONYMOUS, Viewer

NO_ENTRY = "none"  # the outcome of a flight whose response will not be found in the cache
SHARED_NAME = "shared"  # of responses that are the same for all viewers


class Question(NamedTuple):
    """What a look-up is to find: a viewer, a response, or both.

    ``token`` is a ``token_digest``; without one the viewer is ``viewer``. ``digest`` names the
    response, None when none is wanted; ``shared`` is set when it is the same for all viewers.
    With ``join`` a miss begins a flight or finds the one that is on its way; who begins one pays
    the ``toll``. ``tag`` is that of the content that the client has.
    """

    token: str | None = None
    viewer: Viewer = ANONYMOUS
    digest: str | None = None
    shared: bool = False
    join: bool = False
    gzip: bool = False
    tag: str = ""
    toll: Toll | None = None


class Lookup(NamedTuple):
    """What the cache knew. ``clock`` is when reading began, in the server's ``run``: the fence
    compares with both.

    ``viewer`` is None for a token that is not known here. A miss may have a ``flight``: its id,
    which the caller leads when ``leads`` is set and may wait for otherwise. ``wait`` is None where
    the toll was not asked for, 0 where it was paid, else the seconds after which the client may
    come again. ``credentials`` are those behind a token, as they are stored.
    """

    clock: bytes
    viewer: Viewer | None
    entry: Entry | None = None
    flight: str | None = None
    leads: bool = False
    wait: float | None = None
    credentials: bytes = b""
    run: bytes = b""

    def __repr__(self) -> str:
        """Without what is private."""
        return f"Lookup(entry={self.entry is not None}, flight={self.flight}, leads={self.leads})"


def _short(digest: bytes) -> str:
    """192 bits as text. With these, names of entries stay below 64 bytes, up to which Redis keeps
    small sorted sets of them in one piece, a third of the memory.
    """
    return urlsafe_b64encode(digest[:24]).decode()


def request_digest(
    fingerprint: bytes, document: bytes, operation_name: str | None, variables: Mapping[str, Any]
) -> str:
    """The part of a response's key that does not name the viewer.

    ``fingerprint`` is that of the schema and of what writes touch, ``document`` the digest of the
    text. Variables are compared as canonical JSON; 1, 1.0 and "1" are different. Raises TypeError
    for what is not JSON.
    """
    key = hashlib.sha256(fingerprint)
    key.update(document)
    key.update((operation_name or "").encode("utf-8", "surrogatepass"))
    key.update(b"\0")
    if variables:
        key.update(orjson.dumps(variables, option=orjson.OPT_SORT_KEYS))
    return _short(key.digest())


def token_digest(text: str) -> str:
    """Under which name the credentials behind a token are remembered; the text is never stored."""
    return _short(hashlib.sha256(b"pcf-viewer\0" + text.encode("utf-8", "surrogatepass")).digest())


def viewer_dependency(name: str) -> str:
    """The name of the dependency that all responses kept under a viewer's name have: the user's,
    whatever the scope of the token.
    """
    key = name.partition(".")[0]
    dependencies = Dependencies()
    dependencies.add("viewer", (int(key) if key.isdigit() else key,))
    return read_names(dependencies, 2)[-1]


def entry_name(viewer: Viewer, digest: str, *, shared: bool) -> str:
    """The name of a response in Redis."""
    return f"{SHARED_NAME if shared else viewer.name}:{digest}"


class ResponseCache:
    """Responses by viewer and request."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.leases = Leases(gate)
        self.tally = Tally()

    def look_up(self, question: Question) -> Lookup | None:
        """Viewer and response in one round trip; None when Redis fails."""
        settings = config().cache
        own = f"{getrandbits(64):016x}" if question.join else ""
        try:
            reply = self._gate.run(
                scripts.LOOKUP,
                settings.prefix,
                question.token or "",
                question.viewer.name,
                SHARED_NAME if question.shared else "",
                question.digest or "",
                settings.generation_ttl,
                GZIP if question.gzip else "",
                question.tag,
                own,
                int(settings.flight_lease * 1000),
                *self.tally.report(),
                *(FREE if question.toll is None else question.toll.arguments),
            )
        except CacheUnavailable:
            return None
        clock, run, credentials, *rest = reply
        viewer = None if question.token else question.viewer
        if credentials:
            name, _, expires_at = credentials.decode().partition(" ")
            if expires_at and time() >= float(expires_at):
                return Lookup(clock, None, run=run)
            viewer = Viewer.of_name(name)
        lookup = Lookup(clock, viewer, credentials=credentials or b"", run=run)
        if not rest:
            return lookup
        if rest[0] is None:
            flight = rest[1].decode()
            wait = float(rest[2]) if rest[2:] and rest[2] else None
            return lookup._replace(flight=flight or None, leads=flight == own, wait=wait)
        return lookup._replace(entry=decode_entry(rest))

    @staticmethod
    def shortcut(
        token: str | None, credentials: bytes, digest: str, coding: str, *, shared: bool
    ) -> Shortcut:
        """By which ``take`` finds the response ``digest`` in this coding, for the viewer behind a
        ``token_digest`` with these ``credentials`` (``Lookup.credentials``), or for nobody; as
        ``Question`` says.
        """
        viewer = credentials.partition(b" ")[0].decode() if token else ANONYMOUS.name
        name = f"{SHARED_NAME if shared else viewer}:{digest}"
        return Shortcut.to(config().cache.prefix, token, credentials, name, coding)

    def wait(self, flight: str, seconds: float) -> str | None:
        """Wait for a flight to land, at most ``seconds``; returns its outcome.

        ``again`` means that a new look-up will tell, ``none`` that there will be no entry. None
        when it has not landed by then. Raises CacheUnavailable.
        """
        latch = f"{config().cache.prefix}:l:{flight}"
        outcome = self._gate.wait(latch, seconds)
        return outcome.decode() if outcome else None

    def land(self, name: str, flight: str) -> None:
        """End a flight without an entry (``entry_name``); when Redis fails it ends by itself."""
        try:
            self._gate.run(scripts.LAND, config().cache.prefix, name, flight, NO_ENTRY)
        except CacheUnavailable:
            return

    def store(
        self, lookup: Lookup, name: str, content: Content, max_age: int,
        dependencies: Dependencies, *, stale: int = 0,
    ) -> bool:  # fmt: skip
        """Store a response under its ``entry_name`` for ``max_age`` seconds, and ``stale`` more
        in which it may be served while it is made anew; not if something it was computed from was
        written since ``lookup``. Ends the flight of ``lookup``.

        Returns whether it was stored; False when Redis fails.
        """
        names = read_names(dependencies, config().cache.max_dependencies)
        names.append(viewer_dependency(name.partition(":")[0]))
        fields = encode_entry(content, max_age, stale)
        flight = lookup.flight or ""
        stored = self._store(lookup, name, (max_age + stale) * 1000, fields, names, flight)
        if stored:
            metrics.cache_stores.inc()
            metrics.cache_body_bytes.labels("identity").observe(len(content.body))
            if content.packed is not None:
                metrics.cache_body_bytes.labels(GZIP).observe(len(content.packed))
        return stored

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
        fields = ["b", f"{viewer.name} {expires_at or ''}".rstrip()]
        names = read_names(dependencies, config().cache.max_dependencies)
        return self._store(lookup, f"token:{token}", milliseconds, fields, names)

    def _store(
        self, lookup: Lookup, name: str, milliseconds: int, fields: Sequence[str | bytes | int],
        names: list[str], flight: str = "",
    ) -> bool:  # fmt: skip
        try:
            stored = self._gate.run(
                scripts.STORE,
                config().cache.prefix,
                lookup.clock,
                lookup.run,
                name,
                milliseconds,
                flight,
                len(fields) // 2,
                *fields,
                *names,
            )
        except CacheUnavailable:
            metrics.cache_refusals.labels("unavailable").inc()
            return False
        if not stored:
            metrics.cache_refusals.labels("fence").inc()
        return bool(stored)
