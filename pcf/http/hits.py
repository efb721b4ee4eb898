"""Hits that need nothing of a request but its bytes: no parsing, no document, one round trip."""

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

LIGHT = 65_536  # bytes of a body up to which many are asked for at once
_NONE = "-"  # stands for no coding
_SHARE = 5  # for so many requests that are known the credentials of one token are


class Known(NamedTuple):
    """What a query whose response may be cached comes to.

    ``digest`` names its response; ``points`` are what executing it costs, and ``bucket`` is its
    complexity, for the histogram. ``for_gzip`` is the coding in which a client without a token that
    accepts gzip last got a response that is light (``LIGHT``), ``for_others`` the same for those
    that do not; None where there was none.
    """

    digest: str
    hint: CacheHint
    points: int
    bucket: str = "none"
    for_gzip: str | None = None
    for_others: str | None = None

    def coding(self, request: GraphQLRequest) -> str | None:
        """That of the response that ``request`` is likely to get."""
        return self.for_gzip if request.accepts_gzip else self.for_others

    def after(self, request: GraphQLRequest, coding: str | None) -> "Known":
        """What is known after ``request`` got a response in this coding."""
        if coding == self.coding(request):
            return self
        if request.accepts_gzip:
            return self._replace(for_gzip=coding)
        return self._replace(for_others=coding)


def light_coding(entry: Entry) -> str | None:
    """The coding of ``entry``, if that is light and needs nobody to make it anew."""
    return None if entry.stale or len(entry.body or b"") > LIGHT else entry.coding


class Hits:
    """Requests that are recognised by their bytes; one for all threads of a process.

    The same bytes mean the same request: document, operation and variables are all in them.
    Digests are kept, nothing that a client wrote.
    """

    def __init__(self, cache: ResponseCache, throttle: Throttle, size: int) -> None:
        self._cache = cache
        self._throttle = throttle
        self._known: Recent[bytes, Known] = Recent(size)
        # by the digest of a token; what is found by them is believed if they are still the same
        self._credentials: Recent[str, bytes] = Recent(max(2, size // _SHARE))
        # as in Known, but of a request by a token; 200 bytes each
        self._codings: Recent[bytes, str] = Recent(max(2, size // 2))

    def remember(self, known_as: bytes, known: Known) -> None:
        """The next request with this digest of its bytes is ``known``."""
        before = self._known.find(known_as)
        if before is None or before[:4] != known[:4]:  # else more may be known of it
            self._known.add(known_as, known)

    def learn(self, known_as: bytes, request: GraphQLRequest, entry: Entry) -> None:
        """A request with this digest was answered with ``entry``, which is in the cache now."""
        known = self._known.find(known_as)
        if known is None or entry.body is None:  # the client has it
            return
        coding = light_coding(entry)
        if request.token:
            way = _way(known_as, token_digest(request.token), request)
            found = _NONE if coding is None else coding
            if found != self._codings.find(way):
                self._codings.add(way, found)
            return
        after = known.after(request, coding)
        if after is not known:
            self._known.add(known_as, after)

    def answer(self, request: GraphQLRequest, arrival: Arrival) -> GraphQLResponse | None:
        """The response to a request that is known by its bytes, if it is a hit; else None.

        ``request`` has no text, only what the headers say. What the cache said otherwise is left
        at ``arrival`` for the whole journey.
        """
        known = self._find(request, arrival.known_as)
        if known is None:
            return None
        token = token_digest(request.token) if request.token else None
        entry = self._look_up(self._question(known, token, request), request, arrival)
        return None if entry is None else self.response(known, entry, request, arrival)

    def short(self, request: GraphQLRequest, arrival: Arrival) -> tuple[Known, Shortcut] | None:
        """What ``request`` is, and the short way to its response; None where that is not known,
        and ``answer`` has to tell. Waits for nothing.
        """
        token = token_digest(request.token) if request.token else None
        return self.short_of(arrival.known_as, token, request)

    def short_of(
        self, known_as: bytes | None, token: str | None, request: GraphQLRequest
    ) -> tuple[Known, Shortcut] | None:
        """The same for a request with this digest of its bytes, and a digest of its token."""
        known = self._find(request, known_as)
        if known is None or known_as is None:
            return None
        shortcut = self._shortcut(known, token, request, known_as)
        return None if shortcut is None else (known, shortcut)

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
            name = entry_name(lookup.viewer, known.digest, shared=known.hint.is_shared)
            self._cache.land(name, lookup.flight)

    def _find(self, request: GraphQLRequest, known_as: bytes | None) -> Known | None:
        if known_as is None or request.no_store or not config().cache.enabled:
            return None
        return self._known.find(known_as)

    def _shortcut(
        self, known: Known, token: str | None, request: GraphQLRequest, known_as: bytes
    ) -> Shortcut | None:
        if self._cache.tally.is_due:
            return None
        if request.if_none_match and request.queries_only:
            return None
        coding, credentials = known.coding(request), b""
        if token is not None:
            coding = self._codings.find(_way(known_as, token, request))
            credentials = self._credentials.find(token) or b""
            if not credentials:
                return None
        if coding is None or coding == _NONE:
            return None
        shared = known.hint.is_shared
        return self._cache.shortcut(token, credentials, known.digest, coding, shared=shared)

    def _question(self, known: Known, token: str | None, request: GraphQLRequest) -> Question:
        return Question(
            token=token,
            digest=known.digest,
            shared=known.hint.is_shared,
            join=True,
            gzip=request.accepts_gzip,
            tag=known_tag(request),
            toll=self._throttle.toll(request.address, known.points),
        )

    def _look_up(
        self, question: Question, request: GraphQLRequest, arrival: Arrival
    ) -> Entry | None:
        lookup = self._cache.look_up(question)
        if lookup is not None and question.token and lookup.credentials:
            self._credentials.add(question.token, lookup.credentials)
        if lookup is None or lookup.entry is None:
            arrival.asked, arrival.digest, arrival.lookup = True, question.digest, lookup
            return None
        if arrival.known_as is not None:
            self.learn(arrival.known_as, request, lookup.entry)
        return lookup.entry


def _way(known_as: bytes, token: str, request: GraphQLRequest) -> bytes:
    """A request by a token, and which codings its client accepts."""
    return known_as + (b"z" if request.accepts_gzip else b"-") + token.encode()
