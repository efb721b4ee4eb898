"""The look-up charges the client for a miss."""

import json
from dataclasses import replace

import pytest
from django_redis import get_redis_connection

from pcf.cache.redis_gateway import redis_gateway
from pcf.cache.response_cache import CachedResponses, LookupRequest, TokenBucket, TokenCost
from pcf.execution.cache_hints import CacheHint
from pcf.http.rate_limits import client_key
from pcf.project.schema import graphql_service
from pcf.viewer import ANONYMOUS, Viewer
from tests.conftest import token_for
from tests.http.test_rate_limits import acquired, limit
from tests.http.wsgi import environ_of
from tests.server.asgi import call

HERE, THERE = "192.0.2.1", "192.0.2.2"
USERS = "{ users { id } }"  # 2 points


@pytest.fixture
def small_buckets(live_world, settings, fresh_service):
    """Buckets of 4 points that do not refill, and a service without known requests."""
    limit(settings, address_burst=4, viewer_burst=4)
    settings.PCF = replace(settings.PCF, documents=replace(settings.PCF.documents, max_cost=4))
    return live_world


@pytest.fixture
def level(settings):
    """``level(viewer, address)`` returns the points that are left in a bucket."""

    def read(viewer=ANONYMOUS, address=HERE):
        name = f"{settings.PCF.cache.prefix}:r:{client_key(viewer, address)}"
        left = get_redis_connection("default").hget(name, "level")
        return None if left is None else round(float(left))

    return read


def post(query, address=HERE, **headers):
    return {**environ_of(json.dumps({"query": query}).encode(), **headers), "REMOTE_ADDR": address}


def as_user(user):
    return {"authorization": f"Bearer {token_for(user)}"}


def forget(settings):
    """Delete all shared responses from the cache."""
    client = get_redis_connection("default")
    for name in client.scan_iter(match=f"{settings.PCF.cache.prefix}:e:shared:*"):
        client.delete(name)


def test_a_miss_takes_two_commands_and_the_look_up_charges(small_buckets, service, commands, level):
    call(service, post("{ tags { id } }"))  # Redis has loaded the scripts now
    commands.clear()
    before = level()
    assert call(service, post(USERS)).headers["Cache-Status"] == "pcf; fwd=miss; stored"
    assert commands == ["EVALSHA", "EVALSHA"]
    assert level() == before - 2


def test_each_address_is_charged_also_for_a_known_request(small_buckets, service, level, settings):
    """The cache is asked for a known request before its document is read."""
    for _ in range(2):
        assert call(service, post(USERS, HERE)).headers["Cache-Status"] == "pcf; fwd=miss; stored"
        forget(settings)
    assert (level(address=HERE), level(address=THERE)) == (0, None)
    refused = call(service, post(USERS, HERE))
    assert refused.status == "429 Too Many Requests"
    assert int(refused.headers["Retry-After"]) > 500
    assert call(service, post(USERS, THERE)).headers["Cache-Status"] == "pcf; fwd=miss; stored"
    assert (level(address=HERE), level(address=THERE)) == (0, 2)
    assert call(service, post(USERS, HERE)).headers["Cache-Status"] == "pcf; hit", "free"


def test_a_viewer_is_charged_whether_the_cache_knows_its_token_or_not(
    small_buckets, service, level
):
    ann = Viewer(small_buckets.ann.pk)
    token = as_user(small_buckets.ann)
    assert call(service, post(USERS, **token)).headers["Cache-Status"] == "pcf; fwd=miss; stored"
    assert level(ann) == 2
    other = call(service, post("{ users { name } }", **token))
    assert other.headers["Cache-Status"] == "pcf; fwd=miss; stored"
    assert level(ann) == 0
    assert call(service, post("{ users { createdAt } }", **token)).status.startswith("429")
    assert level() is None, "the address pays nothing"


def test_a_refused_request_leads_no_flight(small_buckets, service, settings):
    for query in (USERS, "{ users { name } }"):
        call(service, post(query))
    assert call(service, post("{ users { createdAt } }")).status.startswith("429")
    client = get_redis_connection("default")
    assert list(client.scan_iter(match=f"{settings.PCF.cache.prefix}:f:*")) == []
    answer = call(service, post("{ users { createdAt } }", THERE))
    assert answer.headers["Cache-Status"] == "pcf; fwd=miss; stored"


def token_cost(points):
    bucket = TokenBucket(4, 0.001)
    return TokenCost(points, client_key(ANONYMOUS, HERE), bucket, bucket)


def test_a_waiter_is_not_charged(small_buckets, level):
    cache = CachedResponses(redis_gateway())
    question = LookupRequest(digest="d" * 32, join=True, cost=token_cost(3))
    leader, second = cache.look_up(question), cache.look_up(question)
    assert (leader.leads, leader.retry_after) == (True, 0)
    assert (second.leads, second.retry_after, second.flight) == (False, None, leader.flight)
    assert level() == 1


def test_a_client_without_points_gets_the_stale_response_and_does_not_lead(
    small_buckets, service, monkeypatch, settings
):
    hint = CacheHint(public=True, max_age=100, stale=60)
    monkeypatch.setattr("pcf.execution.cache_hints._declared", lambda *_: hint)
    query = "{ stale: users { id } }"
    assert call(service, post(query)).headers["Cache-Status"] == "pcf; fwd=miss; stored"
    call(service, post(USERS))  # the bucket is empty now
    client = get_redis_connection("default")
    for name in client.scan_iter(match=f"{settings.PCF.cache.prefix}:e:shared:*"):
        client.pexpire(name, 50_000)
    for _ in range(2):
        assert call(service, post(query)).headers["Cache-Status"].startswith("pcf; hit; ttl=-")
    answer = call(service, post(query, THERE))
    assert answer.headers["Cache-Status"] == "pcf; fwd=miss; stored"


def test_the_charge_is_refunded_when_too_many_requests_run(small_buckets, service, level, settings):
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_concurrent=1))
    with acquired(graphql_service()._rate_limiter, ANONYMOUS, HERE):
        for _ in range(3):
            assert call(service, post(USERS)).status.startswith("429")
    assert level() in (4, None)  # Redis forgets a full bucket after a while
    assert call(service, post(USERS)).headers["Cache-Status"] == "pcf; fwd=miss; stored"


def test_a_request_without_a_look_up_is_charged_by_itself(small_buckets, service, level):
    for _ in range(2):
        call(service, post(USERS, cache_control="no-store"))
    assert level() == 0
    assert call(service, post(USERS, cache_control="no-store")).status.startswith("429")


def test_a_request_over_the_cost_limit_is_neither_charged_nor_known(small_buckets, service, level):
    expensive = "{ users(first: 50) { notes(first: 50) { id } } }"
    for _ in range(2):
        answer = call(service, post(expensive))
        assert json.loads(answer.body)["errors"][0]["extensions"]["limit"] == "cost"
    assert level() is None
