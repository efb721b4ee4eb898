"""The viewer and the cached response of a request; and who executes when many ask the same.

Of many who miss the same response one leads a flight, the others wait for it to land and look
again: whatever they are served came through the cache, and so through its fence. A waiter never
waits longer than half of its own time, then executes itself; a leader that died is found out when
its lease has ended (``cache.flight_lease``). When Redis fails everybody executes.
"""

from collections.abc import Callable
from time import monotonic

from django.db import connections

from pcf import metrics
from pcf.apps import config
from pcf.cache.entries import Entry
from pcf.cache.gate import CacheUnavailable
from pcf.cache.responses import NO_ENTRY, Lookup, Question, ResponseCache
from pcf.errors import InvalidToken
from pcf.execution.dependencies import Dependencies
from pcf.http.authentication import Credentials
from pcf.http.caching import known_tag
from pcf.http.journey import Journey
from pcf.http.throttle import Throttle
from pcf.viewer import ANONYMOUS

FindCredentials = Callable[[str], Credentials | None]

_LANDINGS = 3  # flights that one request sees land without an entry before it executes itself
_MARGIN = 0.05  # seconds after a lease's end, so that it has ended


class Finder:
    """Finds viewers and responses; one for all threads of a process."""

    def __init__(
        self, cache: ResponseCache, find_credentials: FindCredentials, throttle: Throttle
    ) -> None:
        self._cache = cache
        self._find_credentials = find_credentials
        self._throttle = throttle

    def find(self, journey: Journey) -> Entry | None:
        """The response to ``journey`` where it is cached, or will be in time.

        None when it is to be executed; then the journey has its viewer. Raises InvalidToken.
        """
        if config().cache.enabled and (journey.token or journey.digest):
            entry = self._look_up(journey)
            if entry is not None:
                return entry
        if journey.viewer is None:
            self._authenticate(journey)
        return None

    def land(self, journey: Journey) -> None:
        """The journey has ended: so does the flight that it may have led."""
        if journey.flies and journey.lookup is not None and journey.lookup.flight:
            self._cache.leases.release(journey.lookup.flight)
            if not journey.landed:
                self._cache.land(journey.entry_name, journey.lookup.flight)

    def _look_up(self, journey: Journey) -> Entry | None:
        give_up = monotonic() + journey.timeout.remaining() / 2
        landed = waits = 0
        lookup = self._first(journey)
        while True:
            journey.lookup = lookup = self._recognise(journey, lookup)
            if lookup is None:
                metrics.cache_bypasses.labels("unavailable").inc()
                journey.digest = None
                return None
            if lookup.entry is not None:
                if waits:
                    metrics.cache_flights.labels("joined").inc()
                return lookup.entry
            if lookup.flight is None or lookup.leads:
                if waits:  # it landed without an entry, or its leader died
                    metrics.cache_flights.labels("executed").inc()
                if lookup.flight is not None:
                    journey.flies = True
                    deadline = journey.timeout.deadline
                    self._cache.leases.hold(lookup.flight, journey.entry_name, deadline)
                return None
            outcome = self._wait(lookup.flight, give_up) if landed < _LANDINGS else NO_ENTRY
            if outcome == NO_ENTRY:
                metrics.cache_flights.labels("executed").inc()
                journey.lookup = lookup._replace(flight=None)
                return None
            waits += 1
            landed += outcome is not None
            lookup = self._ask(journey, token=journey.token)

    def _first(self, journey: Journey) -> Lookup | None:
        """The first look-up, unless the front has done it."""
        arrival = journey.arrival
        if arrival is not None and arrival.asked and arrival.digest == journey.digest:
            lookup, arrival.lookup = arrival.lookup, None
            return lookup
        return self._ask(journey, token=journey.token)

    def _ask(self, journey: Journey, token: str | None = None) -> Lookup | None:
        request = journey.request
        paying = journey.digest is not None
        toll = self._throttle.toll(request.address, journey.points) if paying else None
        return self._cache.look_up(
            Question(
                token=token,
                viewer=journey.viewer or ANONYMOUS,
                digest=journey.digest,
                shared=journey.hint.is_shared,
                join=journey.digest is not None,
                gzip=request.accepts_gzip,
                tag=known_tag(request),
                toll=toll,
            )
        )

    def _recognise(self, journey: Journey, lookup: Lookup | None) -> Lookup | None:
        """``lookup`` with the viewer: where the cache did not know the token, look again."""
        if lookup is None:
            return None
        if lookup.viewer is not None:
            journey.viewer = lookup.viewer
            return lookup
        self._authenticate(journey, lookup)
        if journey.digest is None:
            return lookup
        found = self._ask(journey)
        # what was read of the viewer was read after the first look-up: its clock is the fence's
        return found and found._replace(clock=lookup.clock, run=lookup.run)

    def _authenticate(self, journey: Journey, lookup: Lookup | None = None) -> None:
        """Find the viewer in PostgreSQL: the cache does not know the token."""
        text = journey.request.token or ""
        credentials = self._find_credentials(text)
        if credentials is None:
            self._throttle.charge(ANONYMOUS, journey.request.address, config().rates.wrong_token)
            raise InvalidToken("The token is not valid")
        journey.viewer = credentials.viewer
        if lookup is None or journey.token is None:
            return
        dependencies = Dependencies()
        for kind, key in credentials.dependencies:
            dependencies.add(kind, (key,))
        self._cache.remember_viewer(
            lookup, journey.token, credentials.viewer, credentials.expires_at, dependencies
        )

    def _wait(self, flight: str, give_up: float) -> str | None:
        """Wait for a flight to land: its outcome, None when its lease has ended before, and
        NO_ENTRY when it is time to execute.
        """
        seconds = min(give_up - monotonic(), config().cache.flight_lease + _MARGIN)
        if seconds <= 0:
            return NO_ENTRY
        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:
                connection.close()  # nobody waits with a connection of the pool in hand
        try:
            return self._cache.wait(flight, seconds)
        except CacheUnavailable:
            return NO_ENTRY
