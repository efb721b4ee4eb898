"""What HTTP caches are told: RFC 9110 (conditional requests), 9111 (caching), 9211 (Cache-Status).

A response that is for one viewer may be kept by that client alone, which must ask again each time
and gets a 304 while nothing has changed. Only what an app declared public may be served by caches
between, and without asking, for its max age: they do not learn of writes.
"""

import re
from functools import lru_cache

from pcf.cache.entries import BROTLI, GZIP, Entry, compressed
from pcf.execution.hints import CacheHint
from pcf.http.negotiation import quality_values
from pcf.http.protocol import GRAPHQL_JSON, GraphQLRequest, GraphQLResponse

HIT = "pcf; hit"
STORED = "pcf; fwd=miss; stored"
MISS = "pcf; fwd=miss"
BYPASS = "pcf; fwd=bypass"

NO_STORE = "no-store"  # errors and whatever changes something
_PRIVATE = "private, no-cache"
VARY_PUBLIC = "Accept, Accept-Encoding"
VARY = f"{VARY_PUBLIC}, Authorization"

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client wants gzip (RFC 9110 section 12.5.3); not without saying so."""
    ranges = quality_values(accept_encoding)
    return ranges.get(GZIP, ranges.get("*", 0.0)) > 0


@lru_cache(maxsize=256)
def best_coding(accept_encoding: str) -> str:
    """The coding that the client gives the most weight (RFC 9110 section 12.5.3), br before gzip;
    "" when the client accepts neither or gives identity more weight.
    """
    ranges = quality_values(accept_encoding)
    weights = {coding: ranges.get(coding, ranges.get("*", 0.0)) for coding in (BROTLI, GZIP)}
    best = max(weights, key=weights.__getitem__)
    return best if weights[best] > 0 and weights[best] >= ranges.get("identity", 0.0) else ""


def known_tag(request: GraphQLRequest) -> str:
    """The tag of the content that the client has, as ``Question.tag`` wants it; else "".

    For one tag, which is the usual case; of several ``_is_known`` picks later.
    """
    if not request.if_none_match or not request.queries_only:
        return ""
    match = _TAG.fullmatch(request.if_none_match.strip())
    return match[1].replace(_suffix(request.media), "", 1) if match else ""


def response_of(
    entry: Entry, cache_status: str, hint: CacheHint, request: GraphQLRequest
) -> GraphQLResponse:
    """The HTTP side of a clean response to a query: 304 where the client has it already."""
    tag = entry.tag + _suffix(request.media) + (f"-{entry.coding}" if entry.coding else "")
    headers = {
        "Cache-Status": cache_status,
        "Cache-Control": _cache_control(entry, hint),
        "Vary": VARY_PUBLIC if hint.public else VARY,
        "ETag": f'"{tag}"',
    }
    if cache_status.startswith(HIT):
        headers["Age"] = str(entry.age)
    if entry.body is None or (request.queries_only and _is_known(request.if_none_match, tag)):
        return GraphQLResponse(b"", 304, 304, headers)
    if entry.coding:
        headers["Content-Encoding"] = entry.coding
    return GraphQLResponse(entry.body, headers=headers)


def in_coding(response: GraphQLResponse, coding: str, threshold: int) -> GraphQLResponse:
    """``response`` in ``coding`` where that pays. One with a tag has the coding of its entry."""
    packed = None if "ETag" in response.headers else compressed(response.body, coding, threshold)
    if packed is None:
        return response
    return response._replace(body=packed, headers={**response.headers, "Content-Encoding": coding})


def status_of_hit(entry: Entry) -> str:
    """``Cache-Status`` of a hit; one that is stale says for how long (section 2.5)."""
    left = entry.max_age - entry.age
    return HIT if left >= 0 or not entry.stale else f"{HIT}; ttl={left}"


def _suffix(media: str) -> str:
    """Representations of two media types have two tags (RFC 9110 section 8.8.3)."""
    return "-r" if media == GRAPHQL_JSON else ""


def _cache_control(entry: Entry, hint: CacheHint) -> str:
    if entry.max_age <= 0:
        return NO_STORE
    if not hint.public:
        return _PRIVATE
    stale = f", stale-while-revalidate={entry.stale}" if entry.stale else ""
    return f"public, max-age={entry.max_age}{stale}"


def _is_known(if_none_match: str, tag: str) -> bool:
    """Whether ``If-None-Match`` names this tag, compared weakly (RFC 9110 section 13.1.2)."""
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)
