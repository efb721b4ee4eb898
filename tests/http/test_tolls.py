"""Who is charged for what by the look-up that every request makes anyway."""

import json
from dataclasses import replace

import pytest
from django_redis import get_redis_connection

from pcf.cache.gate import gate
from pcf.cache.responses import Question, ResponseCache
from pcf.cache.tolls import Bucket, Toll
from pcf.execution.hints import CacheHint
from pcf.http.throttle import client_name
from pcf.schema import graphql_service
from pcf.viewer import ANONYMOUS, Viewer
from tests.conftest import token_for
from tests.http.test_throttle import limit, place
from tests.http.wsgi import environ_of
from tests.server.asgi import call

HERE, THERE = "192.0.2.1", "192.0.2.2"
USERS = "{ users { id } }"  # 2 points


@pytest.fixture
def few(live_world, settings, fresh_service):
    """Buckets of 4 points that nothing comes back into, and a service that knows no requests."""
    limit(settings, address_burst=4, viewer_burst=4)
    settings.PCF = replace(settings.PCF, documents=replace(settings.PCF.documents, max_cost=4))
    return live_world


@pytest.fixture
def level(settings):
    """``level(viewer, address)`` is what is left in a bucket."""

    def read(viewer=ANONYMOUS, address=HERE):
        name = f"{settings.PCF.cache.prefix}:r:{client_name(viewer, address)}"
        left = get_redis_connection("default").hget(name, "level")
        return None if left is None else round(float(left))

    return read


def post(query, address=HERE, **headers):
    return {**environ_of(json.dumps({"query": query}).encode(), **headers), "REMOTE_ADDR": address}


def as_user(user):
    return {"authorization": f"Bearer {token_for(user)}"}


def forget(settings):
    """Let no response be in the cache."""
    client = get_redis_connection("default")
    for name in client.scan_iter(match=f"{settings.PCF.cache.prefix}:e:shared:*"):
        client.delete(name)


def test_a_miss_is_a_look_up_that_charges_and_a_store(few, service, commands, level):
    call(service, post("{ tags { id } }"))  # the scripts are known from now on
    commands.clear()
    before = level()
    assert call(service, post(USERS)).headers["Cache-Status"] == "pcf; fwd=miss; stored"
    assert commands == ["EVALSHA", "EVALSHA"]
    assert level() == before - 2


def test_each_address_pays_for_itself_also_when_the_request_is_known(few, service, level, settings):
    """A known request is looked up before anything else of it is read."""
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


def test_a_viewer_pays_from_its_own_bucket_whether_the_token_is_remembered_or_not(
    few, service, level
):
    ann = Viewer(few.ann.pk)
    token = as_user(few.ann)
    assert call(service, post(USERS, **token)).headers["Cache-Status"] == "pcf; fwd=miss; stored"
    assert level(ann) == 2
    other = call(service, post("{ users { name } }", **token))
    assert other.headers["Cache-Status"] == "pcf; fwd=miss; stored"
    assert level(ann) == 0
    assert call(service, post("{ users { createdAt } }", **token)).status.startswith("429")
    assert level() is None, "the address pays nothing"


def test_a_refusal_leaves_the_flight_to_others(few, service, settings):
    for query in (USERS, "{ users { name } }"):
        call(service, post(query))
    assert call(service, post("{ users { createdAt } }")).status.startswith("429")
    client = get_redis_connection("default")
    assert list(client.scan_iter(match=f"{settings.PCF.cache.prefix}:f:*")) == []
    answer = call(service, post("{ users { createdAt } }", THERE))
    assert answer.headers["Cache-Status"] == "pcf; fwd=miss; stored"


def toll(points):
    few = Bucket(4, 0.001)
    return Toll(points, client_name(ANONYMOUS, HERE), few, few)


def test_who_joins_a_flight_pays_nothing(few, level):
    cache = ResponseCache(gate())
    question = Question(digest="d" * 32, join=True, toll=toll(3))
    leader, second = cache.look_up(question), cache.look_up(question)
    assert (leader.leads, leader.wait) == (True, 0)
    assert (second.leads, second.wait, second.flight) == (False, None, leader.flight)
    assert level() == 1


def test_without_the_points_what_is_stale_is_served_and_made_anew_by_others(
    few, service, monkeypatch, settings
):
    hint = CacheHint(public=True, max_age=100, stale=60)
    monkeypatch.setattr("pcf.execution.hints._declared", lambda *_: hint)
    query = "{ stale: users { id } }"
    assert call(service, post(query)).headers["Cache-Status"] == "pcf; fwd=miss; stored"
    call(service, post(USERS))  # and nothing is left
    client = get_redis_connection("default")
    for name in client.scan_iter(match=f"{settings.PCF.cache.prefix}:e:shared:*"):
        client.pexpire(name, 50_000)
    for _ in range(2):
        assert call(service, post(query)).headers["Cache-Status"].startswith("pcf; hit; ttl=-")
    answer = call(service, post(query, THERE))
    assert answer.headers["Cache-Status"] == "pcf; fwd=miss; stored"


def test_points_are_given_back_for_what_is_not_executed_for_want_of_a_place(
    few, service, level, settings
):
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_concurrent=1))
    with place(graphql_service()._throttle, ANONYMOUS, HERE):
        for _ in range(3):
            assert call(service, post(USERS)).status.startswith("429")
    assert level() == 4
    assert call(service, post(USERS)).headers["Cache-Status"] == "pcf; fwd=miss; stored"


def test_what_is_not_looked_up_is_charged_by_itself(few, service, level):
    for _ in range(2):
        call(service, post(USERS, cache_control="no-store"))
    assert level() == 0
    assert call(service, post(USERS, cache_control="no-store")).status.startswith("429")


def test_a_request_that_is_too_dear_is_not_known_and_pays_nothing(few, service, level):
    dear = "{ users(first: 50) { notes(first: 50) { id } } }"
    for _ in range(2):
        answer = call(service, post(dear))
        assert json.loads(answer.body)["errors"][0]["extensions"]["limit"] == "cost"
    assert level() is None
