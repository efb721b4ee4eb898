"""The requests that are known by their bytes, and direct reads."""

from math import inf
from unittest.mock import Mock

import pytest

from pcf.cache.entries import Entry
from pcf.cache.keys import token_digest
from pcf.cache.response_cache import CachedResponses
from pcf.execution.cache_hints import NO_HINT
from pcf.http.known_requests import MAX_DIRECT_BYTES, KnownRequest, KnownRequests, direct_coding
from pcf.http.request import GraphQLRequest


@pytest.mark.parametrize(
    ("entry", "coding"),
    [
        (Entry(b"x", "t", "gzip"), "gzip"),
        (Entry(b"x", "t"), ""),
        (Entry(b"x" * MAX_DIRECT_BYTES, "t"), ""),
        (Entry(b"x" * (MAX_DIRECT_BYTES + 1), "t"), None),
        (Entry(b"x", "t", stale=60), None),  # the look-up chooses a leader
    ],
)
def test_direct_reads_get_small_entries_that_are_never_stale(entry, coding):
    assert direct_coding(entry) == coding


@pytest.mark.parametrize("token", [None, "a-token"])
@pytest.mark.parametrize("gzip_", [True, False])
def test_a_hit_enables_direct_reads_of_the_same_request(live_world, token, gzip_):
    cache = CachedResponses(Mock())
    cache.hit_statistics._due = inf
    hits = KnownRequests(cache, Mock(), 10)
    hits.remember(b"r", KnownRequest("d", NO_HINT, 1))
    if token:
        hits._credentials.set(token_digest(token), b"1.read")
    request = GraphQLRequest("", token=token, accepts_gzip=gzip_)

    def short(asked):
        digest = token_digest(asked.token) if asked.token else None
        found = hits.direct_read(b"r", digest, asked)
        return found and found[1].coding

    assert short(request) is None
    hits.learn_coding(b"r", request, Entry(None, "t"))  # a 304
    assert short(request) is None
    hits.learn_coding(b"r", request, Entry(b"x", "t", "gzip" if gzip_ else ""))
    assert short(request) == (b"gzip" if gzip_ else b"")
    for other in ({"accepts_gzip": not gzip_}, {"token": "another" if token else "a-token"}):
        assert short(request._replace(**other)) is None
    cache.hit_statistics._due = 0.0
    assert short(request) is None, "what was counted is to be told with a look-up"
    cache.hit_statistics._due = inf
    hits.learn_coding(b"r", request, Entry(b"x" * (MAX_DIRECT_BYTES + 1), "t"))
    assert short(request) is None


def test_a_repeated_execution_keeps_the_codings_of_a_known_request():
    hits = KnownRequests(Mock(), Mock(), 10)
    known, request = KnownRequest("d", NO_HINT, 1), GraphQLRequest("", accepts_gzip=True)
    hits.remember(b"r", known)
    hits.learn_coding(b"r", request, Entry(b"x", "t", "gzip"))
    hits.remember(b"r", known)
    assert hits._known.get(b"r").gzip_coding == "gzip"
    hits.remember(b"r", KnownRequest("other", NO_HINT, 1))  # as after a change of the schema
    assert hits._known.get(b"r").gzip_coding is None
    hits.learn_coding(b"not known", request, Entry(b"x", "t"))
    assert hits._known.get(b"not known") is None
