"""The rate limiter: cost over time, concurrent requests, bytes of a response."""

from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier, Thread

import pytest

from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway, redis_gateway
from pcf.conf.sections import ConfigError, RateSettings
from pcf.http.headers import client_address
from pcf.http.rate_limits import (
    RateLimited,
    RateLimiter,
    RateLimiterUnavailable,
    TooManyRequests,
    client_key,
)
from pcf.project.schema import graphql_service
from pcf.viewer import ANONYMOUS, Viewer
from tests.conftest import token_for
from tests.http.counters import count_refusals

ANN, BOB = Viewer(1), Viewer(2)
HERE, THERE = "192.0.2.1", "192.0.2.2"
SLOW = 0.001  # points a second: the bucket does not refill during a test


def limit(settings, **rates):
    given = {"enabled": True, "viewer_points": SLOW, "address_points": SLOW, **rates}
    documents = replace(settings.PCF.documents, max_cost=1)
    settings.PCF = replace(settings.PCF, documents=documents, rates=RateSettings(**given))


@contextmanager
def acquired(rate_limiter, viewer, address):
    """Have one of the client's requests in execution for the block."""
    slot = rate_limiter.acquire(viewer, address)
    try:
        yield slot
    finally:
        rate_limiter.release(slot)


@pytest.fixture
def rate_limiter():
    return RateLimiter(redis_gateway())


def test_a_bucket_is_emptied_exactly(settings, rate_limiter):
    limit(settings, viewer_burst=10, address_burst=5)
    for points in (6, 4):
        rate_limiter.charge(ANN, HERE, points)
    with pytest.raises(RateLimited) as refused:
        rate_limiter.charge(ANN, HERE, 1)
    assert int(refused.value.headers["Retry-After"]) in range(990, 1_002)
    rate_limiter.charge(BOB, HERE, 10)
    rate_limiter.charge(ANONYMOUS, HERE, 5)
    rate_limiter.charge(ANONYMOUS, THERE, 5)
    with pytest.raises(RateLimited):
        rate_limiter.charge(ANONYMOUS, HERE, 1)


def test_a_refused_charge_takes_no_points(settings, rate_limiter):
    limit(settings, viewer_burst=10)
    with pytest.raises(RateLimited):
        rate_limiter.charge(ANN, HERE, 11)
    rate_limiter.charge(ANN, HERE, 10)


def test_points_come_back_with_time(settings, rate_limiter):
    limit(settings, viewer_burst=10, viewer_points=1e6)
    for _ in range(20):
        rate_limiter.charge(ANN, HERE, 10)


def test_fail_open_decides_when_redis_fails(settings, rate_limiter, monkeypatch):
    def down(*_):
        raise CacheUnavailable

    monkeypatch.setattr(RedisGateway, "run", down)
    limit(settings, viewer_burst=1)
    for _ in range(3):
        rate_limiter.charge(ANN, HERE, 1)
    limit(settings, viewer_burst=1, fail_open=False)
    with pytest.raises(RateLimiterUnavailable):
        rate_limiter.charge(ANN, HERE, 1)


def test_concurrent_requests_of_a_client_are_limited(settings, rate_limiter):
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_concurrent=2))
    with acquired(rate_limiter, ANN, HERE), acquired(rate_limiter, ANN, THERE):
        with pytest.raises(TooManyRequests), acquired(rate_limiter, ANN, HERE):
            pass
        with acquired(rate_limiter, BOB, HERE), acquired(rate_limiter, ANONYMOUS, HERE):
            pass
    for _ in range(5):
        with acquired(rate_limiter, ANN, HERE):
            pass
    assert rate_limiter._concurrent == {}


def test_concurrent_requests_are_counted_over_threads(settings, rate_limiter):
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_concurrent=3))
    asked, all_asked, outcomes = Barrier(8), Barrier(8), []

    def ask():
        asked.wait(20)
        try:
            with acquired(rate_limiter, ANN, HERE):
                all_asked.wait(20)
                outcomes.append("in")
        except TooManyRequests:
            outcomes.append("out")
            all_asked.wait(20)

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["in"] * 3 + ["out"] * 5


def test_the_points_of_concurrent_requests_are_limited(settings, rate_limiter):
    """One request alone may cost more: nothing else runs beside it."""
    requests = replace(settings.PCF.requests, max_concurrent=6, max_concurrent_cost=1_000)
    settings.PCF = replace(settings.PCF, requests=requests)
    first = rate_limiter.acquire(ANN, HERE, 600)
    second = rate_limiter.acquire(ANN, HERE, 400)
    with pytest.raises(TooManyRequests) as refused:
        rate_limiter.acquire(ANN, HERE, 1)
    assert (refused.value.limit, refused.value.allowed) == ("concurrent_cost", 1_000)
    rate_limiter.release(rate_limiter.acquire(BOB, HERE, 1_000))
    rate_limiter.release(first)
    rate_limiter.release(rate_limiter.acquire(ANN, HERE, 600))
    rate_limiter.release(second)
    alone = rate_limiter.acquire(ANN, HERE, 5_000)
    with pytest.raises(TooManyRequests):
        rate_limiter.acquire(ANN, HERE, 1)
    rate_limiter.release(alone)
    assert rate_limiter._concurrent == {}


def test_the_bytes_of_concurrent_responses_are_limited(settings, rate_limiter):
    requests = replace(settings.PCF.requests, max_concurrent=6, max_response_bytes=1_000)
    settings.PCF = replace(settings.PCF, requests=requests)
    first, second = rate_limiter.acquire(ANN, HERE), rate_limiter.acquire(ANN, HERE)
    other = rate_limiter.acquire(BOB, HERE)
    rate_limiter.add_bytes(first, 600)
    rate_limiter.add_bytes(second, 400)
    rate_limiter.add_bytes(other, 1_000)
    with pytest.raises(TooManyRequests) as refused:
        rate_limiter.add_bytes(second, 1)
    assert (refused.value.limit, refused.value.allowed) == ("concurrent_bytes", 1_000)
    rate_limiter.release(second)
    rate_limiter.add_bytes(first, 10_000)  # alone; the executor has the limit of one response
    rate_limiter.release(first)
    rate_limiter.release(other)
    assert rate_limiter._concurrent == {}


def test_a_response_beyond_the_bytes_at_once_gets_429(live_world, ask, settings):
    """The test itself builds the other response."""
    requests = replace(settings.PCF.requests, max_concurrent=6, max_response_bytes=10_000)
    settings.PCF = replace(settings.PCF, requests=requests)
    rate_limiter = graphql_service()._rate_limiter
    with acquired(rate_limiter, ANONYMOUS, "127.0.0.1") as slot:
        assert ask("{ users { id } }").data
        rate_limiter.add_bytes(slot, 9_990)
        refused = ask("{ users { id name } }")
        assert (refused.status, refused.codes) == (429, ["TOO_MANY_REQUESTS"])
        assert refused.headers["Retry-After"] == "1"
        assert "data" not in refused.content
    assert ask("{ users { id name } }").data


LARGE = f"{{ users {{ {'n' * 400}: name }} }}"


@pytest.mark.parametrize(
    "headers", [{}, {"Cache-Control": "no-store"}], ids=["stored", "not stored"]
)
def test_bytes_beyond_the_estimate_cost_points(live_world, ask, settings, fresh_service, headers):
    """The response has 1,200 bytes and more, so it costs 12 points or more; 2 are estimated."""
    limit(settings, address_burst=100)
    documents = replace(settings.PCF.documents, max_cost=3, bytes_per_point=100_000)
    settings.PCF = replace(settings.PCF, documents=documents)
    limiter = graphql_service()._rate_limiter
    documents = replace(documents, bytes_per_point=100)
    settings.PCF = replace(settings.PCF, documents=documents)
    answer = ask(LARGE, **headers)
    assert answer.data
    spent = len(answer.body) // 100
    assert spent > 10
    local = "127.0.0.1"
    limiter.charge(ANONYMOUS, local, 100 - spent)
    with pytest.raises(RateLimited):
        limiter.charge(ANONYMOUS, local, 1)


def test_a_response_that_is_too_large_costs_the_bytes_that_it_may_have(
    live_world, ask, settings, fresh_service
):
    limit(settings, address_burst=100)
    documents = replace(settings.PCF.documents, max_cost=3, bytes_per_point=100_000)
    settings.PCF = replace(settings.PCF, documents=documents)
    limiter = graphql_service()._rate_limiter
    requests = replace(settings.PCF.requests, max_response_bytes=1_000)
    settings.PCF = replace(
        settings.PCF, requests=requests, documents=replace(documents, bytes_per_point=50)
    )
    assert ask(LARGE).codes == ["RESPONSE_TOO_LARGE"]
    limiter.charge(ANONYMOUS, "127.0.0.1", 80)
    with pytest.raises(RateLimited):
        limiter.charge(ANONYMOUS, "127.0.0.1", 1)


def test_the_response_says_when_to_try_again(world, ask, settings, fresh_service):
    limit(settings, address_burst=5, viewer_burst=3)
    settings.PCF = replace(settings.PCF, documents=replace(settings.PCF.documents, max_cost=3))
    before = count_refusals("rate")
    assert ask("{ users { id } }").data  # 2 points
    assert ask("{ users { name } }").data
    refused = ask("{ users { createdAt } }")
    assert (refused.status, refused.codes) == (429, ["RATE_LIMITED"])
    assert int(refused.headers["Retry-After"]) > 500
    assert count_refusals("rate") == before + 1
    assert ask("{ users { createdAt } }", token_for(world.ann)).data


def test_requests_over_the_concurrent_limit_get_429(live_world, ask, settings):
    """The test itself counts as the requests in execution."""
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_concurrent=2))
    rate_limiter, local = graphql_service()._rate_limiter, "127.0.0.1"
    before = count_refusals("concurrent")
    with acquired(rate_limiter, ANONYMOUS, local):
        assert ask("{ users { id } }").data
        assert count_refusals("concurrent") == before
        settings.PCF = replace(
            settings.PCF, requests=replace(settings.PCF.requests, max_concurrent=1)
        )
        refused = ask("{ users { name } }")
        assert refused.status == 429
        assert [error["extensions"] for error in refused.errors] == [
            {"code": "TOO_MANY_REQUESTS", "limit": "concurrent", "allowed": 1}
        ]
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Cache-Control"] == "no-store"
        assert "data" not in refused.content
        assert count_refusals("concurrent") == before + 1
        assert ask("{ users { id } }").cache_status == "pcf; hit"  # a hit is not counted
        assert ask("{ users { name } }", token_for(live_world.ann)).data
    assert ask("{ users { name } }").data
    assert count_refusals("concurrent") == before + 1


def test_hits_are_free(live_world, ask, settings):
    limit(settings, address_burst=2)
    settings.PCF = replace(settings.PCF, documents=replace(settings.PCF.documents, max_cost=2))
    statuses = [ask("{ users { id } }").cache_status for _ in range(5)]
    assert statuses == ["pcf; fwd=miss; stored", *["pcf; hit"] * 4]
    assert ask("{ users { name } }").codes == ["RATE_LIMITED"]


def test_the_address_is_charged_for_wrong_tokens(world, ask, settings):
    limit(settings, address_burst=20, wrong_token=10)
    settings.PCF = replace(settings.PCF, documents=replace(settings.PCF.documents, max_cost=2))
    assert [ask("{ me { id } }", f"guess-{n}").status for n in range(3)] == [401, 401, 429]


def test_the_size_of_a_response_is_limited(world, ask, settings):
    body = ask("{ users { name } }").body
    requests = replace(settings.PCF.requests, max_response_bytes=len(body))
    settings.PCF = replace(settings.PCF, requests=requests)
    assert ask("{ users { name } }", **{"Cache-Control": "no-store"}).body == body
    requests = replace(requests, max_response_bytes=len(body) - 1)
    settings.PCF = replace(settings.PCF, requests=requests)
    refused = ask("{ users { name } }", **{"Cache-Control": "no-store"})
    assert [error["extensions"] for error in refused.errors] == [
        {"code": "RESPONSE_TOO_LARGE", "limit": "response", "allowed": len(body) - 1}
    ]
    assert refused.content["data"] is None


@pytest.mark.parametrize(
    ("remote", "forwarded", "proxies", "expected"),
    [
        ("192.0.2.1", "198.51.100.1", 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", 1, "198.51.100.1"),
        ("192.0.2.1", "203.0.113.9, 198.51.100.1", 1, "198.51.100.1"),
        ("192.0.2.1", "203.0.113.9, 198.51.100.1", 2, "203.0.113.9"),
        ("192.0.2.1", "198.51.100.1", 2, "192.0.2.1"),
        ("192.0.2.1", "", 1, "192.0.2.1"),
        ("192.0.2.1", "nonsense", 1, "unknown"),
        ("", "", 0, "unknown"),
        ("2001:db8:1:2:3::4", "", 0, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
    ],
)
def test_the_address_of_a_client(remote, forwarded, proxies, expected):
    assert client_address(remote, forwarded, proxies) == expected


def test_client_keys_do_not_contain_addresses():
    assert HERE not in client_key(ANONYMOUS, HERE)
    assert client_key(ANONYMOUS, HERE) != client_key(ANONYMOUS, THERE)
    assert client_key(ANN, HERE) == client_key(ANN, THERE) == "v1"


@pytest.mark.parametrize(
    "wrong", [{"viewer_points": 0}, {"address_burst": 0}, {"trusted_proxies": -1}]
)
def test_rates_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="rates"):
        RateSettings(**wrong)
