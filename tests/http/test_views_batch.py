"""Batches, and the limits of variables."""

import json
from dataclasses import replace

import pytest
from django.test import Client

from tests.http.counters import count_refusals

ME = {"query": "{ me { id } }"}


@pytest.fixture
def http(db):
    return Client()


def limit(settings, **limits):
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, **limits))


def post(http, content):
    return http.post("/graphql", json.dumps(content), content_type="application/json")


def error(answer):
    return answer.json()["errors"][0]["extensions"]


def test_batching_is_off_unless_it_is_switched_on(http):
    answer = post(http, [ME])
    assert answer.status_code == 400
    assert "batching is off" in answer.json()["errors"][0]["message"]


def test_the_responses_of_a_batch_keep_the_order(http, settings):
    limit(settings, max_batch=3)
    answer = post(http, [ME, {"query": "{ nope }"}, {"query": "{ __typename }"}])
    first, second, third = answer.json()
    assert answer.status_code == 200
    assert (first, third) == ({"data": {"me": None}}, {"data": {"__typename": "Query"}})
    assert second["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


def test_a_batch_has_a_limit(http, settings):
    limit(settings, max_batch=2)
    assert post(http, [ME] * 2).status_code == 200
    answer = post(http, [ME] * 3)
    assert answer.status_code == 400
    assert error(answer) == {"code": "BATCH_TOO_LARGE", "limit": "batch", "allowed": 2}


@pytest.mark.parametrize("batch", [[], [1], [ME, None], [[ME]], [{"query": 1}]])
def test_a_malformed_batch_is_refused_as_a_whole(http, settings, batch):
    limit(settings, max_batch=3)
    assert post(http, batch).status_code == 400


def test_the_size_of_variables_is_limited(http, settings):
    limit(settings, max_variables_bytes=20)
    at_the_limit = {"a": "x" * 12}
    assert len(json.dumps(at_the_limit, separators=(",", ":"))) == 20
    assert post(http, {**ME, "variables": at_the_limit}).status_code == 200
    answer = post(http, {**ME, "variables": {"a": "x" * 13}})
    assert answer.status_code == 400
    assert error(answer) == {
        "code": "VARIABLES_TOO_LARGE",
        "limit": "variables_bytes",
        "allowed": 20,
    }


def test_refusals_are_counted_by_limit(http, settings):
    limit(settings, max_variables_depth=1)
    before = count_refusals("variables_depth")
    assert post(http, {**ME, "variables": {"a": 1}}).status_code == 200
    assert count_refusals("variables_depth") == before
    assert error(post(http, {**ME, "variables": {"a": []}}))["limit"] == "variables_depth"
    assert count_refusals("variables_depth") == before + 1
