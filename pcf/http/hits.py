"""Hits that need nothing of a request but its bytes: no parsing, no document, one round trip."""

from collections.abc import Sequence
from typing import NamedTuple

from pcf import metrics
from pcf.apps import config
from pcf.cache.entries import Entry
from pcf.cache.responses import Question, ResponseCache, entry_name, token_digest
from pcf.cache.shortcuts import Shortcut
from pcf.execution.hints import CacheHint
from pcf.execution.recent import Recent
from pcf.http.access import note
from pcf.http.arrival import Arrival
from pcf.http.caching import known_tag, response_of, status_of_hit
from pcf.http.protocol import GraphQLRequest, GraphQLResponse
from pcf.http.throttle import Throttle

_SHARE = 5  # of the requests that are known, one in so many has a shortcut


class Known(NamedTuple):
    """What a query whose response may be cached comes to.

    ``digest`` names its response; ``points`` are what executing it costs, and ``bucket`` is its
    complexity, for the histogram.
    """

    digest: str
    hint: CacheHint
    points: int
    bucket: str = "none"


class Hits:
    """Requests that are recognised by their bytes; one for all threads of a process.

    The same bytes mean the same request: document, operation and variables are all in them.
    Digests are kept, nothing that a client wrote.
    """

    def __init__(self, cache: ResponseCache, throttle: Throttle, size: int) -> None:
        self._cache = cache
        self._throttle = throttle
        self._known: Recent[bytes, Known] = Recent(size)
        # a kilobyte each; those that are worth it are asked for again and again
        self._shortcuts: Recent[bytes, Shortcut] = Recent(max(1, size // _SHARE))

    def remember(self, known_as: bytes, known: Known) -> None:
        """The next request with this digest of its bytes is ``known``."""
        self._known.add(known_as, known)

    def answer(self, request: GraphQLRequest, arrival: Arrival) -> GraphQLResponse | None:
        """The response to a request that is known by its bytes, if it is a hit; else None.

        ``request`` has no text, only what the headers say. What the cache said otherwise is left
        at ``arrival`` for the whole journey.
        """
        known = self._find(request, arrival)
        if known is None:
            return None
        token = token_digest(request.token) if request.token else None
        way = _way(arrival, token, request)
        entry = None
        shortcut = self._shortcut(way, request, arrival)
        if shortcut is not None:
            entry = self._cache.take([shortcut])[0]
        if entry is None:
            question = self._question(known, token, request)
            entry = self._look_up(question, way, arrival)
        return None if entry is None else self.response(known, entry, request, arrival)

    def short(self, request: GraphQLRequest, arrival: Arrival) -> tuple[Known, Shortcut] | None:
        """What ``request`` is, and the short way to its response, to ``take``; None where that is
        not known, and ``answer`` has to tell. Waits for nothing.
        """
        known = self._find(request, arrival)
        if known is None:
            return None
        token = token_digest(request.token) if request.token else None
        shortcut = self._shortcut(_way(arrival, token, request), request, arrival)
        if shortcut is None or not shortcut.is_light:
            return None
        arrival.tried = True
        return known, shortcut

    def take(self, shortcuts: Sequence[Shortcut]) -> list[Entry | None]:
        """See ``ResponseCache.take``."""
        return self._cache.take(shortcuts)

    def response(
        self, known: Known, entry: Entry, request: GraphQLRequest, arrival: Arrival
    ) -> GraphQLResponse:
        """The response to a hit; counts it."""
        metrics.cache_hits.inc()
        self._cache.tally.hit()
        note(operation="query", statements=0)
        duration = metrics.request_duration.labels("query", known.bucket)
        duration.observe(arrival.seconds)
        return response_of(entry, status_of_hit(entry), known.hint, request)

    def abandon(self, arrival: Arrival) -> None:
        """The journey of ``arrival`` was never begun: let others lead the flight it began."""
        lookup, arrival.lookup = arrival.lookup, None
        if lookup is None or not lookup.leads or not lookup.flight or lookup.viewer is None:
            return
        known = self._known.find(arrival.known_as) if arrival.known_as else None
        if known is not None:
            name = entry_name(lookup.viewer, known.digest, shared=known.hint.public)
            self._cache.land(name, lookup.flight)

    def _find(self, request: GraphQLRequest, arrival: Arrival) -> Known | None:
        if arrival.known_as is None or request.no_store or not config().cache.enabled:
            return None
        return self._known.find(arrival.known_as)

    def _shortcut(self, way: bytes, request: GraphQLRequest, arrival: Arrival) -> Shortcut | None:
        if arrival.tried or (request.if_none_match and request.queries_only):
            return None
        return self._shortcuts.find(way)

    def _question(self, known: Known, token: str | None, request: GraphQLRequest) -> Question:
        return Question(
            token=token,
            digest=known.digest,
            shared=known.hint.public,
            join=True,
            gzip=request.accepts_gzip,
            tag=known_tag(request),
            toll=self._throttle.toll(request.address, known.points),
        )

    def _look_up(self, question: Question, way: bytes, arrival: Arrival) -> Entry | None:
        lookup = self._cache.look_up(question)
        if lookup is None or lookup.entry is None:
            arrival.asked, arrival.digest, arrival.lookup = True, question.digest, lookup
            return None
        shortcut = self._cache.shortcut(question, lookup)
        if shortcut is not None:
            self._shortcuts.add(way, shortcut)
        return lookup.entry


def _way(arrival: Arrival, token: str | None, request: GraphQLRequest) -> bytes:
    """A request by a token, and in which coding: who takes it again can take the shortcut."""
    coding = b"z" if request.accepts_gzip else b"-"
    return (arrival.known_as or b"") + coding + (token or "").encode()
