"""How much a client may ask for: points in time, requests at once, bytes of an answer."""

from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier, Thread

import pytest

from pcf.cache.gate import CacheUnavailable, Gate, gate
from pcf.config import ConfigError, Rates
from pcf.http.address import client_address
from pcf.http.throttle import RateLimited, Throttle, ThrottleUnavailable, TooManyAtOnce, client_name
from pcf.metrics import limit_refusals
from pcf.schema import graphql_service
from pcf.viewer import ANONYMOUS, Viewer
from tests.conftest import token_for

ANN, BOB = Viewer(1), Viewer(2)
HERE, THERE = "192.0.2.1", "192.0.2.2"
SLOW = 0.001  # points a second: nothing comes back while a test runs


def limit(settings, **rates):
    given = {"enabled": True, "viewer_points": SLOW, "address_points": SLOW, **rates}
    documents = replace(settings.PCF.documents, max_cost=1)
    settings.PCF = replace(settings.PCF, documents=documents, rates=Rates(**given))


@contextmanager
def place(throttle, viewer, address):
    """Have one of the client's places for the block."""
    taken = throttle.take_place(viewer, address)
    try:
        yield
    finally:
        throttle.leave_place(taken)


@pytest.fixture
def throttle():
    return Throttle(gate())


def test_a_bucket_is_emptied_exactly(settings, throttle):
    limit(settings, viewer_burst=10, address_burst=5)
    for points in (6, 4):
        throttle.charge(ANN, HERE, points)
    with pytest.raises(RateLimited) as refused:
        throttle.charge(ANN, HERE, 1)
    assert int(refused.value.headers["Retry-After"]) in range(990, 1_002)
    throttle.charge(BOB, HERE, 10)
    throttle.charge(ANONYMOUS, HERE, 5)
    throttle.charge(ANONYMOUS, THERE, 5)
    with pytest.raises(RateLimited):
        throttle.charge(ANONYMOUS, HERE, 1)


def test_a_refusal_takes_nothing(settings, throttle):
    limit(settings, viewer_burst=10)
    with pytest.raises(RateLimited):
        throttle.charge(ANN, HERE, 11)
    throttle.charge(ANN, HERE, 10)


def test_points_come_back_with_time(settings, throttle):
    limit(settings, viewer_burst=10, viewer_points=1e6)
    for _ in range(20):
        throttle.charge(ANN, HERE, 10)


def test_without_redis_the_setting_decides(settings, throttle, monkeypatch):
    def down(*_):
        raise CacheUnavailable

    monkeypatch.setattr(Gate, "run", down)
    limit(settings, viewer_burst=1)
    for _ in range(3):
        throttle.charge(ANN, HERE, 1)
    limit(settings, viewer_burst=1, fail_open=False)
    with pytest.raises(ThrottleUnavailable):
        throttle.charge(ANN, HERE, 1)


def test_so_many_at_once_and_no_more(settings, throttle):
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_concurrent=2))
    with place(throttle, ANN, HERE), place(throttle, ANN, THERE):
        with pytest.raises(TooManyAtOnce), place(throttle, ANN, HERE):
            pass
        with place(throttle, BOB, HERE), place(throttle, ANONYMOUS, HERE):
            pass
    for _ in range(5):
        with place(throttle, ANN, HERE):
            pass
    assert throttle._at_once == {}


def test_places_are_counted_over_threads(settings, throttle):
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_concurrent=3))
    asked, all_asked, outcomes = Barrier(8), Barrier(8), []

    def ask():
        asked.wait(20)
        try:
            with place(throttle, ANN, HERE):
                all_asked.wait(20)
                outcomes.append("in")
        except TooManyAtOnce:
            outcomes.append("out")
            all_asked.wait(20)

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["in"] * 3 + ["out"] * 5


def test_over_http_a_client_is_told_when_to_come_back(world, ask, settings, fresh_service):
    limit(settings, address_burst=5, viewer_burst=3)
    settings.PCF = replace(settings.PCF, documents=replace(settings.PCF.documents, max_cost=3))
    counter = limit_refusals.labels("rate")
    before = counter._value.get()
    assert ask("{ users { id } }").data  # 2 points
    assert ask("{ users { name } }").data
    refused = ask("{ users { createdAt } }")
    assert (refused.status, refused.codes) == (429, ["RATE_LIMITED"])
    assert int(refused.headers["Retry-After"]) > 500
    assert counter._value.get() == before + 1
    assert ask("{ users { createdAt } }", token_for(world.ann)).data


def test_over_http_no_more_than_so_many_at_once_are_executed(live_world, ask, settings):
    """Those that are under way are held from outside: a place is a place, whoever has it."""
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_concurrent=2))
    throttle, local = graphql_service()._throttle, "127.0.0.1"
    counter = limit_refusals.labels("concurrent")
    before = counter._value.get()
    with place(throttle, ANONYMOUS, local):
        assert ask("{ users { id } }").data
        assert counter._value.get() == before
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
        assert counter._value.get() == before + 1
        assert ask("{ users { id } }").cache_status == "pcf; hit"  # which takes no place
        assert ask("{ users { name } }", token_for(live_world.ann)).data
    assert ask("{ users { name } }").data
    assert counter._value.get() == before + 1


def test_answers_from_the_cache_are_free(live_world, ask, settings):
    limit(settings, address_burst=2)
    settings.PCF = replace(settings.PCF, documents=replace(settings.PCF.documents, max_cost=2))
    statuses = [ask("{ users { id } }").cache_status for _ in range(5)]
    assert statuses == ["pcf; fwd=miss; stored", *["pcf; hit"] * 4]
    assert ask("{ users { name } }").codes == ["RATE_LIMITED"]


def test_guessing_tokens_costs_the_address(world, ask, settings):
    limit(settings, address_burst=20, wrong_token=10)
    settings.PCF = replace(settings.PCF, documents=replace(settings.PCF.documents, max_cost=2))
    assert [ask("{ me { id } }", f"guess-{n}").status for n in range(3)] == [401, 401, 429]


def test_the_size_of_an_answer_is_limited(world, ask, settings):
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


def test_addresses_are_not_kept_in_clear():
    assert HERE not in client_name(ANONYMOUS, HERE)
    assert client_name(ANONYMOUS, HERE) != client_name(ANONYMOUS, THERE)
    assert client_name(ANN, HERE) == client_name(ANN, THERE) == "v1"


@pytest.mark.parametrize(
    "wrong", [{"viewer_points": 0}, {"address_burst": 0}, {"trusted_proxies": -1}]
)
def test_rates_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match="rates"):
        Rates(**wrong)
