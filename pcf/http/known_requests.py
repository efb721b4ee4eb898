"""Known requests: hits that need no document, because the request's bytes were seen before.

The same bytes mean the same request: they hold the document, the operation's name and the
variables. The service remembers what each request asks the cache for. The server then has two ways
to a hit:

- ``direct_read``: the event loop reads the entry with plain commands, without a script.
- ``answer``: a thread looks up the response, as the service does.

This module keeps digests, never text that a client wrote.
"""

from typing import NamedTuple

from pcf.cache.entries import DirectRead, Entry
from pcf.cache.keys import entry_name, token_digest
from pcf.cache.response_cache import CachedResponses
from pcf.conf import config
from pcf.execution.cache_hints import CacheHint
from pcf.http.cache_lookup import lookup_request
from pcf.http.caching import hit_response
from pcf.http.rate_limits import RateLimiter
from pcf.http.request import GraphQLRequest
from pcf.http.request_state import EarlyLookup, RequestState
from pcf.http.response import GraphQLResponse, record_operation
from pcf.lru import LRUCache
from pcf.viewer import ANONYMOUS

MAX_DIRECT_BYTES = 65_536  # of a body; direct reads of several requests share one message
_NO_CODING = "-"  # stands for None in the LRU cache, whose values are never None
_KNOWN_PER_TOKEN = 5  # known requests for each token whose credentials are kept


class KnownRequest(NamedTuple):
    """What a query with a cacheable response asks for.

    ``digest`` names the response. ``cost`` is the points that its execution costs, ``complexity``
    the label of its complexity in the metrics. ``gzip_coding`` is the content coding of the last
    response to an anonymous client that accepts gzip, ``other_coding`` of the last response to
    another anonymous client. Both are None unless a direct read can get that response.
    """

    digest: str
    hint: CacheHint
    cost: int
    complexity: str = "none"
    gzip_coding: str | None = None
    other_coding: str | None = None

    def coding(self, request: GraphQLRequest) -> str | None:
        """Return the coding of the response that ``request`` is likely to get."""
        return self.gzip_coding if request.accepts_gzip else self.other_coding

    def with_coding(self, request: GraphQLRequest, coding: str | None) -> "KnownRequest":
        """Return what is known after ``request`` got a response in this coding."""
        if coding == self.coding(request):
            return self
        if request.accepts_gzip:
            return self._replace(gzip_coding=coding)
        return self._replace(other_coding=coding)


def direct_coding(entry: Entry) -> str | None:
    """Return the coding of ``entry``; None when a direct read must not get the entry.

    A look-up gets large entries. A look-up also gets entries that may be stale, because the cache
    then chooses a leader.
    """
    return None if entry.stale or len(entry.body or b"") > MAX_DIRECT_BYTES else entry.coding


class KnownRequests:
    """The known requests of a process; shared by its threads and its event loop.

    When Redis fails, ``answer`` returns an early look-up without a result: the service executes.
    """

    def __init__(self, cache: CachedResponses, rate_limiter: RateLimiter, size: int) -> None:
        """``size`` is the number of requests that are kept."""
        self._cache = cache
        self._rate_limiter = rate_limiter
        self._known: LRUCache[bytes, KnownRequest] = LRUCache(size)
        # Redis confirms the credentials at each use, so they may be out of date here.
        self._credentials: LRUCache[str, bytes] = LRUCache(max(2, size // _KNOWN_PER_TOKEN))
        # The codings of responses to requests with a token; an item takes about 200 bytes.
        self._codings: LRUCache[bytes, str] = LRUCache(max(2, size // 2))

    def remember(self, raw_digest: bytes, known: KnownRequest) -> None:
        """Remember ``known`` for the bytes with this digest; keep the codings if it is the same."""
        before = self._known.get(raw_digest)
        if before is None or before[:4] != known[:4]:  # the codings are the last two fields
            self._known.set(raw_digest, known)

    def learn_coding(self, raw_digest: bytes, request: GraphQLRequest, entry: Entry) -> None:
        """Remember how a direct read gets ``entry``, the cached response to ``request``."""
        known = self._known.get(raw_digest)
        if known is None or entry.body is None:  # a 304 says nothing about the coding
            return
        coding = direct_coding(entry)
        if request.token:
            key = _coding_key(raw_digest, token_digest(request.token), request)
            value = _NO_CODING if coding is None else coding
            if value != self._codings.get(key):
                self._codings.set(key, value)
            return
        after = known.with_coding(request, coding)
        if after is not known:
            self._known.set(raw_digest, after)

    def direct_read(
        self, raw_digest: bytes | None, token: str | None, request: GraphQLRequest
    ) -> tuple[KnownRequest, DirectRead] | None:
        """Return the request with this digest, and the commands that read its response.

        ``token`` is the digest of the bearer token. ``request`` has no document, only what the
        headers say. None means that ``answer`` has to look up. Never blocks.
        """
        known = self._find(raw_digest, request)
        if known is None or raw_digest is None or self._cache.hit_statistics.is_due:
            return None  # a look-up reports the hit statistics when they are due
        if request.if_none_match and request.queries_only:
            return None
        coding, credentials = known.coding(request), b""
        if token is not None:
            coding = self._codings.get(_coding_key(raw_digest, token, request))
            credentials = self._credentials.get(token) or b""
            if not credentials:
                return None
        if coding is None or coding == _NO_CODING:
            return None
        shared = known.hint.is_shared
        return known, self._cache.direct_read(
            token, credentials, known.digest, coding, shared=shared
        )

    def answer(
        self, request: GraphQLRequest, state: RequestState
    ) -> GraphQLResponse | EarlyLookup | None:
        """Look up the response to a known request.

        ``request`` has no document, only what the headers say. Returns the response for a hit, the
        look-up for a miss, and None for a request that is not known.
        """
        known = self._find(state.raw_digest, request)
        if known is None or state.raw_digest is None:
            return None
        token = token_digest(request.token) if request.token else None
        lookup = self._cache.look_up(
            lookup_request(
                self._rate_limiter,
                request,
                token=token,
                viewer=ANONYMOUS,
                digest=known.digest,
                shared=known.hint.is_shared,
                cost=known.cost,
            )
        )
        if lookup is not None and token and lookup.credentials:
            self._credentials.set(token, lookup.credentials)
        if lookup is None or lookup.entry is None:
            return EarlyLookup(known.digest, known.hint.is_shared, lookup)
        self.learn_coding(state.raw_digest, request, lookup.entry)
        return self.respond(known, lookup.entry, request, state)

    def respond(
        self, known: KnownRequest, entry: Entry, request: GraphQLRequest, state: RequestState
    ) -> GraphQLResponse:
        """Return the response to a hit on a known request, and record the hit."""
        record_operation("query", known.complexity, statements=0, seconds=state.elapsed)
        return hit_response(self._cache.hit_statistics, entry, known.hint, request)

    def abandon(self, state: RequestState) -> None:
        """Complete the flight that an early look-up leads, if the service has not taken it over."""
        early, state.early_lookup = state.early_lookup, None
        lookup = early.result if early is not None else None
        if early is None or lookup is None or lookup.viewer is None:
            return
        if lookup.leads and lookup.flight:
            name = entry_name(lookup.viewer, early.digest, shared=early.shared)
            self._cache.complete(name, lookup.flight)

    def _find(self, raw_digest: bytes | None, request: GraphQLRequest) -> KnownRequest | None:
        if raw_digest is None or request.no_store or not config().cache.enabled:
            return None
        return self._known.get(raw_digest)


def _coding_key(raw_digest: bytes, token: str, request: GraphQLRequest) -> bytes:
    """Return the key of a request with a token, for clients that do or do not accept gzip."""
    return raw_digest + (b"z" if request.accepts_gzip else b"-") + token.encode()
