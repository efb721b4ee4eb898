"""The response cache: whole responses by viewer and request.

A response is stored behind a fence. A look-up returns a clock; a store with that clock is refused
when a write has touched a dependency of the response since. So no response is stored that lacks a
write.

Requests that miss the same response share one execution: the first leads a *flight*, the others
wait for its outcome and look up again. A *lease* is short (``cache.flight_lease``), so requests do
not wait long for a leader that died. A living leader may need longer, so its process renews the
lease after each third of it. The lease of the outbox relay is another one
(``cache.lease_seconds``, ``pcf.cache.availability.RelayLease``).

A look-up takes the points of a request that is about to execute from the client's bucket in Redis.
So a miss needs no round trip of its own for them (``lua/lookup.lua``).
"""

import os
from collections.abc import Sequence
from random import getrandbits
from threading import Event, Lock, Thread
from time import monotonic, time
from typing import Any, NamedTuple

from pcf.cache import scripts
from pcf.cache.entries import GZIP, Content, DirectRead, Entry, decode_entry, encode_entry
from pcf.cache.keys import SHARED_NAME, read_names, viewer_name
from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway
from pcf.cache.statistics import HitStatistics
from pcf.conf import config
from pcf.execution.dependencies import Dependencies
from pcf.observability import metrics
from pcf.viewer import ANONYMOUS, Viewer

NO_ENTRY = "none"  # the outcome of a flight that stored no entry

# What an entry takes of Redis's memory, at most, in bytes beside its bodies.
ENTRY_BYTES = 500
DEPENDENCY_BYTES = 200  # for a name in the lists of dependents
LONG_DEPENDENCY_BYTES = 1_200  # where the key of the entry has more than SMALL_KEY bytes
SMALL_KEY = 64


class TokenBucket(NamedTuple):
    """The points that a kind of client may have, and the points that return in a second."""

    size: int
    rate: float


class TokenCost(NamedTuple):
    """What a request costs: ``points`` from its client's bucket.

    A viewer pays from a bucket of the kind ``viewer_bucket``. An anonymous client pays from a
    bucket of the kind ``address_bucket``, which is called ``address_name``.
    """

    points: int
    address_name: str
    address_bucket: TokenBucket
    viewer_bucket: TokenBucket


class StoreCost(NamedTuple):
    """What a stored response costs the client called ``client``.

    The bytes of the entry come from the bucket ``share``, whose size is in bytes and which is full
    again after ``seconds``. ``points`` come from the bucket ``bucket``, as many as there are.
    """

    client: str
    share: int
    seconds: float
    points: int
    bucket: TokenBucket


class LookupRequest(NamedTuple):
    """What to look up: a viewer, a response, or both.

    ``token`` is a ``token_digest``; without one the viewer is ``viewer``. ``digest`` is the
    ``request_digest`` of the response, None for none; ``shared`` means that it is the same for all
    viewers. With ``join``, a miss begins a flight or finds the one that is under way; the request
    that begins one pays the ``cost``. ``tag`` is the entity tag of the content that the client has.
    """

    token: str | None = None
    viewer: Viewer = ANONYMOUS
    digest: str | None = None
    shared: bool = False
    join: bool = False
    gzip: bool = False
    tag: str = ""
    cost: TokenCost | None = None


class LookupResult(NamedTuple):
    """What the cache has.

    ``clock`` is the time of the look-up by the clock of the server with this ``run_id``: the fence
    needs both. ``viewer`` is None for a token that the cache does not know. ``flight`` is the id of
    the flight for a response that is missing: the caller leads it if ``leads`` is set, and may wait
    for it otherwise. ``retry_after`` is 0 when the look-up has charged the client, None when it has
    not charged, and otherwise the seconds after which the client may try again. ``credentials`` are
    those behind the token, as they are stored.
    """

    clock: bytes
    viewer: Viewer | None
    entry: Entry | None = None
    flight: str | None = None
    leads: bool = False
    retry_after: float | None = None
    credentials: bytes = b""
    run_id: bytes = b""

    def __repr__(self) -> str:
        """Leave out what is private."""
        found = self.entry is not None
        return f"LookupResult(entry={found}, flight={self.flight}, leads={self.leads})"


_RENEWALS = 3  # within one lease


class FlightLeases:
    """Renews leases from one thread, which sleeps while there are none; safe for threads.

    When Redis fails, the leases end: then the requests that wait execute as well.
    """

    def __init__(self, gateway: RedisGateway) -> None:
        self._gateway = gateway
        self._lock = Lock()
        self._held: dict[str, tuple[str, float]] = {}  # flight -> (name of the entry, end)
        self._any = Event()
        # id of the process that started the thread; a fork does not copy threads
        self._process = 0

    def hold(self, flight: str, name: str, until: float) -> None:
        """Renew the lease of ``flight`` for the entry ``name`` until ``release``.

        The renewals end at ``until`` (monotonic) even so: a request that hangs must not keep the
        lease.
        """
        process = os.getpid()
        with self._lock:
            self._held[flight] = (name, until)
            if self._process != process:
                self._process = process
                self._any = Event()
                Thread(target=self._run, name="pcf-flight-leases", daemon=True).start()
            if not self._any.is_set():
                self._any.set()

    def release(self, flight: str) -> None:
        """Stop renewing the lease of ``flight``."""
        with self._lock:
            self._held.pop(flight, None)

    def _run(self) -> None:
        pause = Event()  # never set
        while True:
            self._any.wait()
            pause.wait(config().cache.flight_lease / _RENEWALS)
            now = monotonic()
            with self._lock:
                held = [(id_, name) for id_, (name, until) in self._held.items() if now < until]
                if not held:
                    self._any.clear()
            for flight, name in held:
                self._renew(flight, name)

    def _renew(self, flight: str, name: str) -> None:
        settings = config().cache
        lease_ms = int(settings.flight_lease * 1000)
        arguments = scripts.RenewArguments(settings.prefix, name, flight, lease_ms)
        try:
            self._gateway.run(scripts.RENEW, arguments)
        except CacheUnavailable:
            return  # the next renewal may come in time


class CachedResponses:
    """Responses by viewer and request; one for all threads of a process.

    When Redis fails, ``look_up`` returns None and ``store`` returns False: the service executes the
    request. A flight whose end Redis misses ends with its lease.
    """

    def __init__(self, gateway: RedisGateway) -> None:
        self._gateway = gateway
        self.leases = FlightLeases(gateway)
        self.hit_statistics = HitStatistics()

    # --- reading

    def look_up(self, request: LookupRequest) -> LookupResult | None:
        """Find a viewer and a response in one round trip; return None when Redis fails."""
        own_flight = f"{getrandbits(64):016x}" if request.join else ""
        try:
            reply = self._gateway.run_in_epoch(
                scripts.LOOKUP, self._lookup_arguments(request, own_flight)
            )
        except CacheUnavailable:
            return None
        clock, run_id, credentials, *rest = reply
        viewer = None if request.token else request.viewer
        if credentials:
            name, _, expires_at = credentials.decode().partition(" ")
            if expires_at and time() >= float(expires_at):  # Redis may remove it late
                return LookupResult(clock, None, run_id=run_id)
            viewer = Viewer.from_name(name)
        lookup = LookupResult(clock, viewer, credentials=credentials or b"", run_id=run_id)
        if not rest:
            return lookup
        if rest[0] is None:
            flight = rest[1].decode()
            retry_after = float(rest[2]) if rest[2:] and rest[2] else None
            return lookup._replace(
                flight=flight or None, leads=flight == own_flight, retry_after=retry_after
            )
        return lookup._replace(entry=decode_entry(rest))

    def _lookup_arguments(self, request: LookupRequest, own_flight: str) -> scripts.LookupArguments:
        settings = config().cache
        hits, misses = self.hit_statistics.report()
        cost: tuple[Any, ...] = ()
        if request.cost is not None:
            points, address_name, address_bucket, viewer_bucket = request.cost
            cost = (points, address_name, *address_bucket, *viewer_bucket)
        return scripts.LookupArguments(
            settings.prefix,
            request.token or "",
            request.viewer.name,
            SHARED_NAME if request.shared else "",
            request.digest or "",
            settings.generation_ttl,
            GZIP if request.gzip else "",
            request.tag,
            own_flight,
            int(settings.flight_lease * 1000),
            hits,
            misses,
            *cost,
        )

    @staticmethod
    def direct_read(
        token: str | None, credentials: bytes, digest: str, coding: str, *, shared: bool
    ) -> DirectRead:
        """Return the commands that read the response ``digest`` in this coding.

        ``token`` is a ``token_digest`` with these ``credentials`` (``LookupResult.credentials``);
        None stands for an anonymous client. ``shared`` is as in ``LookupRequest``.
        """
        viewer = credentials.partition(b" ")[0].decode() if token else ANONYMOUS.name
        name = f"{SHARED_NAME if shared else viewer}:{digest}"
        return DirectRead.to(config().cache.prefix, token, credentials, name, coding)

    # --- flights

    def wait(self, flight: str, seconds: float) -> str | None:
        """Wait for the end of a flight, at most ``seconds``, and return its outcome.

        The outcome ``again`` asks for a new look-up; NO_ENTRY means that there is no entry. Return
        None when the flight has not ended by then. Raises CacheUnavailable.
        """
        outcome = self._gateway.wait(f"{config().cache.prefix}:l:{flight}", seconds)
        return outcome.decode() if outcome else None

    def complete(self, name: str, flight: str) -> None:
        """End a flight for the entry ``name`` that stored no entry."""
        arguments = scripts.CompleteArguments(config().cache.prefix, name, flight, NO_ENTRY)
        try:
            self._gateway.run(scripts.COMPLETE, arguments)
        except CacheUnavailable:
            return

    # --- storing

    def store(
        self, lookup: LookupResult, name: str, content: Content, max_age: int,
        dependencies: Dependencies, *, stale: int = 0, cost: StoreCost | None = None,
    ) -> bool:  # fmt: skip
        """Store a response under its ``entry_name``, and end the flight of ``lookup``.

        The entry is fresh for ``max_age`` seconds. For ``stale`` more seconds it may be served
        while one request renews it. Return whether the response was stored and its ``cost`` paid:
        the fence refuses it when a write has touched one of its ``dependencies`` since ``lookup``,
        and the script refuses it when its client has used up its share of the memory.
        """
        names = read_names(dependencies, config().cache.max_dependencies)
        names.append(viewer_name(name.partition(":")[0].partition(".")[0]))
        fields = encode_entry(content, max_age, stale)
        flight, seconds = lookup.flight or "", max_age + stale
        paid = () if cost is None else _payment(cost, name, content, seconds, len(names))
        stored = self._store(lookup, name, seconds * 1000, fields, names, flight, paid)
        if stored:
            metrics.cache_stores.inc()
            metrics.cache_body_bytes.labels("identity").observe(len(content.body))
            if content.gzipped is not None:
                metrics.cache_body_bytes.labels(GZIP).observe(len(content.gzipped))
        return stored

    def remember_viewer(
        self, lookup: LookupResult, token: str, viewer: Viewer, expires_at: float | None,
        dependencies: Dependencies,
    ) -> bool:  # fmt: skip
        """Store the viewer behind a token for ``cache.token_ttl`` seconds.

        ``look_up`` ignores the viewer after ``expires_at`` (seconds since 1970), even if Redis
        removes the viewer late. Return whether Redis stored the viewer.
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
        self, lookup: LookupResult, name: str, milliseconds: int,
        fields: Sequence[str | bytes | int], names: list[str], flight: str = "",
        paid: Sequence[Any] = (),
    ) -> bool:  # fmt: skip
        arguments = scripts.StoreArguments(
            config().cache.prefix,
            lookup.clock,
            lookup.run_id,
            name,
            milliseconds,
            flight,
            len(fields) // 2,
            *paid,
        )
        try:
            stored = self._gateway.run(scripts.STORE, arguments, *fields, *names)
        except CacheUnavailable:
            metrics.cache_refusals.labels("unavailable").inc()
            return False
        if stored != 1:
            metrics.cache_refusals.labels("share" if stored else "fence").inc()
        return bool(stored == 1)


def _payment(
    cost: StoreCost, name: str, content: Content, seconds: int, dependencies: int
) -> tuple[Any, ...]:
    """Return what a client pays for an entry that Redis keeps for ``seconds``.

    The bucket is full again after the usual lifetime of an entry. An entry that lives longer pays
    more, so all entries of a client together never have more bytes than two buckets.
    """
    is_small = len(f"{config().cache.prefix}:e:{name}") <= SMALL_KEY
    size = ENTRY_BYTES + dependencies * (DEPENDENCY_BYTES if is_small else LONG_DEPENDENCY_BYTES)
    bodies = len(content.body) + len(content.gzipped or b"")
    size += bodies * 5 // 4  # the allocator rounds up to the next of four sizes a power of two
    charged = int(size * max(1.0, seconds / cost.seconds))
    share = (cost.share, cost.share / cost.seconds)
    return (cost.client, charged, *share, cost.points, *cost.bucket)
