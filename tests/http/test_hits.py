"""What is remembered of requests, and who takes the short way to a hit."""

from math import inf
from unittest.mock import Mock

import pytest

from pcf.cache.entries import Entry
from pcf.cache.responses import ResponseCache, token_digest
from pcf.execution.hints import NO_HINT
from pcf.http.hits import LIGHT, Hits, Known, light_coding
from pcf.http.protocol import GraphQLRequest


@pytest.mark.parametrize(
    ("entry", "coding"),
    [
        (Entry(b"x", "t", "gzip"), "gzip"),
        (Entry(b"x", "t"), ""),
        (Entry(b"x" * LIGHT, "t"), ""),
        (Entry(b"x" * (LIGHT + 1), "t"), None),
        (Entry(b"x", "t", stale=60), None),  # a look-up has to tell who renews it
    ],
)
def test_what_is_light_enough_for_the_short_way(entry, coding):
    assert light_coding(entry) == coding


@pytest.mark.parametrize("token", [None, "a-token"])
@pytest.mark.parametrize("gzip_", [True, False])
def test_a_hit_teaches_its_own_clients_the_short_way(live_world, token, gzip_):
    cache = ResponseCache(Mock())
    cache.tally._due = inf
    hits = Hits(cache, Mock(), 10)
    hits.remember(b"r", Known("d", NO_HINT, 1))
    if token:
        hits._credentials.add(token_digest(token), b"1.read")
    request = GraphQLRequest("", token=token, accepts_gzip=gzip_)

    def short(asked):
        found = hits.short(asked, Mock(known_as=b"r"))
        return found and found[1].coding

    assert short(request) is None
    hits.learn(b"r", request, Entry(None, "t"))  # the client had it
    assert short(request) is None
    hits.learn(b"r", request, Entry(b"x", "t", "gzip" if gzip_ else ""))
    assert short(request) == (b"gzip" if gzip_ else b"")
    for other in ({"accepts_gzip": not gzip_}, {"token": "another" if token else "a-token"}):
        assert short(request._replace(**other)) is None
    cache.tally._due = 0.0
    assert short(request) is None, "what was counted is to be told with a look-up"
    cache.tally._due = inf
    hits.learn(b"r", request, Entry(b"x" * (LIGHT + 1), "t"))
    assert short(request) is None


def test_what_is_known_of_a_request_survives_that_it_is_executed_again():
    hits = Hits(Mock(), Mock(), 10)
    known, request = Known("d", NO_HINT, 1), GraphQLRequest("", accepts_gzip=True)
    hits.remember(b"r", known)
    hits.learn(b"r", request, Entry(b"x", "t", "gzip"))
    hits.remember(b"r", known)
    assert hits._known.find(b"r").for_gzip == "gzip"
    hits.remember(b"r", Known("other", NO_HINT, 1))  # under another schema, say
    assert hits._known.find(b"r").for_gzip is None
    hits.learn(b"not known", request, Entry(b"x", "t"))
    assert hits._known.find(b"not known") is None
