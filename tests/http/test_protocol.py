"""GraphQL over HTTP: methods, media types, status codes, credentials."""

import json

import pytest
from django.test import Client

from tests.conftest import token_for
from users.models import ApiToken

ME = "{ me { id } }"
NEWER = "application/graphql-response+json"


@pytest.fixture
def http(db):
    return Client()


def post(http, content, content_type="application/json", **headers):
    body = content if isinstance(content, (str, bytes)) else json.dumps(content)
    return http.post("/graphql", body, content_type=content_type, headers=headers)


def test_get_runs_queries(http):
    response = http.get(
        "/graphql", {"query": "query Q($i: ID!) { user(id: $i) { id } }", "variables": '{"i": 1}'}
    )
    assert response.status_code == 200
    assert response.json() == {"data": {"user": None}}


def test_get_runs_no_mutations(http):
    mutation = 'mutation { deleteNote(input: {id: "1"}) { deletedId } }'
    response = http.get("/graphql", {"query": mutation})
    assert response.status_code == 405
    assert "POST" in response["Allow"]


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
def test_other_methods_are_refused(http, method):
    response = getattr(http, method)("/graphql")
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        (NEWER, NEWER),
        (f"{NEWER}, application/json;q=0.9", NEWER),
    ],
)
def test_the_media_type_follows_accept(http, accept, media):
    headers = {"Accept": accept} if accept else {}
    assert post(http, {"query": ME}, **headers)["Content-Type"] == f"{media}; charset=utf-8"


@pytest.mark.parametrize(
    ("content", "newer", "older"),
    [
        ({"query": "{"}, 400, 200),
        ({"query": "{ nope }"}, 400, 200),
        ({"query": "query A { me { id } } query B { me { id } }"}, 400, 200),
        ({"query": "query ($i: ID!) { user(id: $i) { id } }"}, 400, 200),
        ({"query": "{ users(first: 0) { id } }"}, 200, 200),
        ({"query": ""}, 400, 400),
        ({"query": 1}, 400, 400),
        ({}, 400, 400),
        ({"query": ME, "variables": []}, 400, 400),
        ({"query": ME, "operationName": 1}, 400, 400),
        ({"query": ME, "extensions": "x"}, 400, 400),
        ([{"query": ME}], 400, 400),
        ("{", 400, 400),
        (b"\xff", 400, 400),
    ],
)
def test_status_codes(http, content, newer, older):
    for accept, status in ((NEWER, newer), ("application/json", older)):
        response = post(http, content, Accept=accept)
        assert response.status_code == status
        assert response.json()["errors"][0]["extensions"]["code"]


def test_a_request_error_has_no_data_and_a_field_error_has(http):
    assert "data" not in post(http, {"query": "query ($i: ID!) { user(id: $i) { id } }"}).json()
    assert post(http, {"query": "{ users(first: 0) { id } }"}).json()["data"] is None


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
def test_only_json_in_utf8_is_read(http, content_type):
    assert post(http, '{"query": "{ me { id } }"}', content_type).status_code == 415


def test_a_body_over_the_limit_is_refused_unread(http, settings):
    limit = settings.PCF.documents.max_body_bytes
    assert post(http, b" " * (limit + 1)).status_code == 413
    assert post(http, b" " * limit).status_code == 400


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer ", "abc", "Bearer " + "x" * 600])
def test_credentials_of_another_kind_are_refused(http, header):
    response = post(http, {"query": ME}, Authorization=header)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_a_token_opens_the_door_until_it_expires(world, ask):
    from datetime import timedelta

    from django.utils import timezone

    token, text = ApiToken.issue(world.ann, "t", expires_at=timezone.now() + timedelta(hours=1))
    assert ask(ME, text).data["me"]["id"] == str(world.ann.pk)
    token.refresh_from_db()
    assert token.last_used_at is not None

    old = ApiToken.issue(world.ann, "t", expires_at=timezone.now() - timedelta(seconds=1))[1]
    assert ask(ME, old).status == 401
    assert ask(ME, "wrong").status == 401


def test_a_cookie_of_the_admin_is_no_credential(world):
    client = Client()
    client.force_login(world.staff)
    assert post(client, {"query": ME}).json() == {"data": {"me": None}}


def test_surrogates_and_nul_bytes_are_answered(world, ask):
    for text in ("\\ud800", "\\u0000"):
        assert ask(f'{{ notes(tag: "{text}") {{ title }} }}').status == 200
    token = token_for(world.ann)
    created = ask(
        'mutation { createNote(input: {title: "a\\u0000b"}) { userErrors { code field } } }',
        token,
    )
    assert created.data["createNote"]["userErrors"] == [{"code": "INVALID", "field": "title"}]


def test_the_request_id_is_taken_over_when_it_is_sane(http):
    assert post(http, {"query": ME}, **{"X-Request-ID": "abc-1"})["X-Request-ID"] == "abc-1"
    strange = post(http, {"query": ME}, **{"X-Request-ID": "a b" * 99})["X-Request-ID"]
    assert len(strange) == 16


def test_probes(http):
    assert http.get("/livez").status_code == 200
    assert http.get("/readyz").content == b"database: ok\nmigrations: ok\ncache: ok\n"
    health = http.get("/health").json()
    assert health["status"] == "ok"
    assert set(health["checks"]) == {"database", "migrations", "cache"}


def test_metrics_name_what_operators_look_for(world, http):
    post(http, {"query": "{ users { notes { id } } }"})
    text = http.get("/metrics").content.decode()
    for name in (
        "dataloader_batch_size_bucket",
        "dataloader_loads_total",
        "response_cache_hits_total",
        "response_cache_misses_total",
        "db_query_count_bucket",
        'graphql_request_duration_seconds_bucket{complexity_bucket="simple"',
    ):
        assert name in text


def nested(depth, leaf=1):
    for _ in range(depth):
        leaf = [leaf]
    return leaf


@pytest.mark.parametrize(("depth", "status"), [(31, 200), (32, 400), (900, 400)])
def test_variables_nest_32_levels_at_most(http, depth, status):
    """The object of variables is the first level."""
    response = post(http, {"query": ME, "variables": {"a": nested(depth)}})
    assert response.status_code == status
    assert response["Content-Type"].startswith("application/json")


def test_a_body_without_a_length_is_refused(http):
    chunked = http.generic(
        "POST", "/graphql", b"", content_type="application/json", CONTENT_LENGTH=""
    )
    assert chunked.status_code == 411


def test_what_nobody_expected_is_still_a_graphql_answer(http, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr("pcf.http.service.GraphQLService._look_up", broken)
    response = post(http, {"query": ME})
    assert response.status_code == 500
    assert response.json()["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert b"secret" not in response.content
    assert "secret" in caplog.text
