"""The look-up in the response cache: the viewer, the cached response, and single flight.

When several requests miss the same response at once, one of them *leads* the flight: it executes
and stores. The others are *waiters*. When the leader completes the flight, a waiter looks up again.
So every response that a waiter gets has passed the cache's fence.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

from django.db import connections

from pcf.cache.entries import Entry
from pcf.cache.redis_gateway import CacheUnavailable
from pcf.cache.response_cache import NO_ENTRY, CachedResponses, LookupRequest, LookupResult
from pcf.cache.triggers import declared_kinds
from pcf.conf import config
from pcf.database.query_log import report_undeclared_read, undeclared_kind
from pcf.errors import InvalidToken
from pcf.execution.dependencies import Dependencies
from pcf.greenlets import in_thread
from pcf.http.caching import known_tag
from pcf.http.rate_limits import RateLimiter
from pcf.http.request import GraphQLRequest
from pcf.http.request_state import PreparedOperation
from pcf.http.session_cookie import remove_cookie
from pcf.observability import metrics
from pcf.viewer import ANONYMOUS, Credentials, Viewer

FindCredentials = Callable[[str], Credentials | None]

_MAX_COMPLETIONS = 3  # completed flights without an entry, after which a waiter executes
_LEASE_MARGIN = 0.05  # seconds that a waiter adds to the lease, so that the lease has ended


def lookup_request(
    rate_limiter: RateLimiter, request: GraphQLRequest, *, token: str | None, viewer: Viewer,
    digest: str | None, shared: bool, cost: int,
) -> LookupRequest:  # fmt: skip
    """Return the look-up of the response ``digest`` for ``request``.

    ``token`` is the digest of the bearer token; without a token the response is for ``viewer``.
    ``shared`` says that all viewers get the same response. Without ``digest`` the look-up finds the
    viewer alone, leads no flight and charges nothing. A leader is charged ``cost`` points.
    """
    return LookupRequest(
        token=token,
        viewer=viewer,
        digest=digest,
        shared=shared,
        join=digest is not None,
        gzip=request.accepts_gzip,
        tag=known_tag(request),
        cost=rate_limiter.token_cost(request.address, cost) if digest is not None else None,
    )


class LedFlight:
    """A flight that this request leads."""

    def __init__(self, cache: CachedResponses, flight: str, entry_name: str) -> None:
        self._cache = cache
        self._flight = flight
        self._entry_name = entry_name
        self._left_to_store = False

    @contextmanager
    def lease(self, deadline: float) -> Iterator[None]:
        """Renew the lease during the block, then complete the flight without an entry.

        The renewal ends at ``deadline`` (seconds, monotonic), so a request that hangs loses its
        lead. When the process dies or Redis fails, the lease ends after ``cache.flight_lease``
        seconds.
        """
        try:
            self._cache.leases.hold(self._flight, self._entry_name, deadline)
            yield
        finally:
            self._cache.leases.release(self._flight)
            if not self._left_to_store:
                self._cache.complete(self._entry_name, self._flight)

    def leave_to_store(self) -> None:
        """Leave the completion to ``CachedResponses.store``, which completes the flight itself."""
        self._left_to_store = True


class LookupOutcome(NamedTuple):
    """What ``CacheLookup.find`` found: the viewer, and for a hit the ``entry``.

    ``miss`` is the look-up behind which a response may be stored. ``miss`` is None for a hit, for a
    response that must not be cached, and when Redis failed. ``flight`` is set for the leader.
    """

    viewer: Viewer
    entry: Entry | None = None
    miss: LookupResult | None = None
    flight: LedFlight | None = None

    @property
    def retry_after(self) -> float | None:
        """0 when the look-up has charged the client, None when it has not charged.

        Otherwise the seconds after which the client may try again.
        """
        return self.miss.retry_after if self.miss is not None else None


class CacheLookup:
    """Finds viewers and responses; shared by all threads of a process.

    When Redis fails, ``find`` reads the viewer from PostgreSQL and every request is executed. When
    a leader dies, its lease ends and a waiter leads. A waiter waits for at most half of the time
    that its request has left, then executes.
    """

    def __init__(
        self, cache: CachedResponses, find_credentials: FindCredentials, rate_limiter: RateLimiter
    ) -> None:
        self._cache = cache
        self._find_credentials = find_credentials
        self._rate_limiter = rate_limiter
        self._kinds = declared_kinds()

    def find(self, operation: PreparedOperation) -> LookupOutcome:
        """Find the viewer of ``operation``, and its response if the cache has it in time.

        Raises InvalidToken.
        """
        if config().cache.enabled and (operation.token or operation.digest):
            return self._look_up(operation)
        return LookupOutcome(operation.viewer or self._authenticate(operation))

    def _look_up(self, operation: PreparedOperation) -> LookupOutcome:
        give_up = monotonic() + operation.timeout.remaining() / 2
        completions = waits = 0
        viewer, lookup = operation.viewer, self._first_lookup(operation)
        while True:
            if lookup is not None:
                viewer, lookup = self._identify(operation, lookup)
            if lookup is None:
                metrics.cache_bypasses.labels("unavailable").inc()
                return LookupOutcome(viewer or self._authenticate(operation))
            assert viewer is not None  # noqa: S101 - _identify has found the viewer
            if lookup.entry is not None:
                if waits:
                    metrics.cache_flights.labels("joined").inc()
                return LookupOutcome(viewer, entry=lookup.entry)
            if lookup.flight is None or lookup.leads:
                if waits:  # the flight ended without an entry, or its leader died
                    metrics.cache_flights.labels("executed").inc()
                return self._miss(operation, viewer, lookup)
            end = self._wait(lookup.flight, give_up) if completions < _MAX_COMPLETIONS else NO_ENTRY
            if end == NO_ENTRY:
                metrics.cache_flights.labels("executed").inc()
                return LookupOutcome(viewer, miss=lookup._replace(flight=None))
            waits += 1
            completions += end is not None
            lookup = self._send(operation, operation.token, operation.viewer)

    def _first_lookup(self, operation: PreparedOperation) -> LookupResult | None:
        """Return the result of the early look-up, or look up now. None when Redis failed."""
        state = operation.state
        early = state.take_early_lookup(operation.digest) if state is not None else None
        if early is not None:
            return early.result
        return self._send(operation, operation.token, operation.viewer)

    def _send(
        self, operation: PreparedOperation, token: str | None, viewer: Viewer | None
    ) -> LookupResult | None:
        return self._cache.look_up(
            lookup_request(
                self._rate_limiter,
                operation.request,
                token=token,
                viewer=viewer or ANONYMOUS,
                digest=operation.digest,
                shared=operation.operation.hint.is_shared,
                cost=operation.cost.points,
            )
        )

    def _identify(
        self, operation: PreparedOperation, lookup: LookupResult
    ) -> tuple[Viewer, LookupResult | None]:
        """Return the viewer and the look-up; look up again if the cache did not know the token."""
        if lookup.viewer is not None:
            return lookup.viewer, lookup
        viewer = self._authenticate(operation, lookup)
        if operation.digest is None:
            return viewer, lookup
        found = self._send(operation, None, viewer)
        # PostgreSQL was read after the first look-up, so the fence compares with that clock
        return viewer, found and found._replace(clock=lookup.clock, run_id=lookup.run_id)

    def _authenticate(
        self, operation: PreparedOperation, lookup: LookupResult | None = None
    ) -> Viewer:
        """Return the viewer behind the token from PostgreSQL; remember the viewer in the cache.

        Raises InvalidToken, and charges the client's address for it.
        """
        request = operation.request
        credentials = in_thread(self._find_credentials, request.token or "")  # code of the project
        if credentials is None:
            self._rate_limiter.charge(ANONYMOUS, request.address, config().rates.wrong_token)
            error = InvalidToken()
            if request.from_cookie:  # the page cannot remove the cookie itself
                error.headers = {**error.headers, **remove_cookie()}
            raise error
        if lookup is not None and operation.token is not None:
            dependencies = Dependencies()
            for kind, key in credentials.dependencies:
                dependencies.add(kind, (key,))
            unknown = dependencies.kinds_outside(self._kinds)
            if unknown:  # no write that ends the credentials would tell
                report_undeclared_read(undeclared_kind(unknown))
            else:
                self._cache.remember_viewer(
                    lookup, operation.token, credentials.viewer, credentials.expires_at,
                    dependencies,
                )  # fmt: skip
        return credentials.viewer

    def _miss(
        self, operation: PreparedOperation, viewer: Viewer, lookup: LookupResult
    ) -> LookupOutcome:
        if operation.digest is None:
            return LookupOutcome(viewer)
        flight = None
        if lookup.flight is not None:
            flight = LedFlight(self._cache, lookup.flight, operation.entry_name(viewer))
        return LookupOutcome(viewer, miss=lookup, flight=flight)

    def _wait(self, flight: str, give_up: float) -> str | None:
        """Wait for the leader of ``flight``, until ``give_up`` (seconds, monotonic) at most.

        Returns the outcome of the flight, None when the lease has ended before, and NO_ENTRY when
        the request must execute.
        """
        seconds = min(give_up - monotonic(), config().cache.flight_lease + _LEASE_MARGIN)
        if seconds <= 0:
            return NO_ENTRY
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close()  # others can use the pool's connection meanwhile
        try:
            return self._cache.wait(flight, seconds)
        except CacheUnavailable:
            return NO_ENTRY
