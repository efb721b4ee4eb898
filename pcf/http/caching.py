"""HTTP caching: conditional requests (RFC 9110), freshness (RFC 9111), Cache-Status (RFC 9211).

Only the client that asked may store a response for one viewer. The client must revalidate it each
time, and gets a 304 while the response is unchanged. Shared caches may store only responses that an
app declared public, and serve them for their max age without revalidation. Shared caches do not
learn of writes.
"""

import re
from functools import lru_cache

from pcf.cache.entries import BROTLI, GZIP, Entry, compressed
from pcf.cache.statistics import HitStatistics
from pcf.conf import config
from pcf.execution.cache_hints import CacheHint
from pcf.http.request import GRAPHQL_JSON, GraphQLRequest, quality_values
from pcf.http.response import GraphQLResponse
from pcf.observability import metrics

# Values of Cache-Status. Hits and stored responses get theirs here; errors in ``error_responses``,
# mutations in ``service``, batches in ``views``.
HIT = "pcf; hit"
STORED = "pcf; fwd=miss; stored"
MISS = "pcf; fwd=miss"
BYPASS = "pcf; fwd=bypass"
BATCH = f"{BYPASS}; detail=batch"

# Values of Cache-Control
NO_STORE = "no-store"  # for errors and for the responses to mutations
_PRIVATE = "private, no-cache"

VARY_PUBLIC = "Accept, Accept-Encoding"
_VARY = f"{VARY_PUBLIC}, Authorization"

_ETAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def vary() -> str:
    """Return the value of Vary for a response that depends on the viewer."""
    return f"{_VARY}, Cookie" if config().requests.session_cookie else _VARY


def undeclared_read_status(place: str) -> str:
    """Return the Cache-Status of a response that is not stored because of a read at ``place``."""
    return f'{MISS}; detail="undeclared read at {place}"'


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether the client accepts gzip (RFC 9110 section 12.5.3).

    A client without the header does not.
    """
    ranges = quality_values(accept_encoding)
    return ranges.get(GZIP, ranges.get("*", 0.0)) > 0


@lru_cache(maxsize=256)
def best_coding(accept_encoding: str) -> str:
    """Return the coding with the highest weight (RFC 9110 section 12.5.3).

    Brotli wins a tie. Returns "" when the client accepts neither Brotli nor gzip, or gives identity
    a higher weight.
    """
    ranges = quality_values(accept_encoding)
    weights = {coding: ranges.get(coding, ranges.get("*", 0.0)) for coding in (BROTLI, GZIP)}
    best = max(weights, key=weights.__getitem__)
    return best if weights[best] > 0 and weights[best] >= ranges.get("identity", 0.0) else ""


def known_tag(request: GraphQLRequest) -> str:
    """Return the tag of the content that the client has, for ``LookupRequest.tag``.

    Returns "" unless ``If-None-Match`` has exactly one tag. ``_is_current`` handles lists of tags
    after the look-up.
    """
    if not request.if_none_match or not request.queries_only:
        return ""
    match = _ETAG.fullmatch(request.if_none_match.strip())
    if not match:
        return ""
    # entry_response() adds the media type's suffix to the tag; Redis knows the tag without it.
    return match[1].replace(_tag_suffix(request.media), "", 1)


def hit_response(
    statistics: HitStatistics, entry: Entry, hint: CacheHint, request: GraphQLRequest
) -> GraphQLResponse:
    """Return the response to a hit, and count the hit."""
    metrics.cache_hits.inc()
    statistics.add_hit()
    return entry_response(entry, _hit_status(entry), hint, request)


def entry_response(
    entry: Entry, cache_status: str, hint: CacheHint, request: GraphQLRequest
) -> GraphQLResponse:
    """Return the response with the content of ``entry``; 304 if the client has the content.

    ``finish_response`` adds the Vary of a response that depends on the viewer.
    """
    tag = entry.tag + _tag_suffix(request.media) + (f"-{entry.coding}" if entry.coding else "")
    headers = {
        "Cache-Status": cache_status,
        "Cache-Control": _cache_control(entry, hint),
        "ETag": f'"{tag}"',
    }
    if hint.public:
        headers["Vary"] = VARY_PUBLIC
    if cache_status.startswith(HIT):
        headers["Age"] = str(entry.age)
    # The look-up left out a body that the client has.
    if entry.body is None or (request.queries_only and _is_current(request.if_none_match, tag)):
        return GraphQLResponse(b"", 304, 304, headers)
    if entry.coding:
        headers["Content-Encoding"] = entry.coding
    return GraphQLResponse(entry.body, headers=headers)


def compress_response(response: GraphQLResponse, coding: str, threshold: int) -> GraphQLResponse:
    """Return ``response`` in ``coding`` if its body has ``threshold`` bytes or more and shrinks.

    A response with an ETag was made from an entry, which has its coding already.
    """
    packed = None if "ETag" in response.headers else compressed(response.body, coding, threshold)
    if packed is None:
        return response
    return response._replace(body=packed, headers={**response.headers, "Content-Encoding": coding})


def _hit_status(entry: Entry) -> str:
    """Return the Cache-Status of a hit. That of a stale hit has a ttl (RFC 9211 section 2.5)."""
    ttl = entry.max_age - entry.age
    return HIT if ttl >= 0 or not entry.stale else f"{HIT}; ttl={ttl}"


def _tag_suffix(media: str) -> str:
    """Return the suffix of the entity tags of a media type (RFC 9110 section 8.8.3)."""
    return "-r" if media == GRAPHQL_JSON else ""


def _cache_control(entry: Entry, hint: CacheHint) -> str:
    if entry.max_age <= 0:
        return NO_STORE
    if not hint.public:
        return _PRIVATE
    stale = f", stale-while-revalidate={entry.stale}" if entry.stale else ""
    return f"public, max-age={entry.max_age}{stale}"


def _is_current(if_none_match: str, tag: str) -> bool:
    """Return whether ``If-None-Match`` has this tag, by weak comparison (RFC 9110 13.1.2)."""
    return if_none_match.strip() == "*" or tag in _ETAG.findall(if_none_match)
