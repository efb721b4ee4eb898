"""GraphQL over HTTP: methods, media types, status codes, credentials."""

import json
from dataclasses import replace

import pytest
from django.test import Client

from pcf.http.request import GraphQLRequest
from tests.conftest import token_for
from tests.http.wsgi import CountingDjango, call, environ_of
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
        (f"{NEWER}; charset=utf-8, application/json; charset=utf-8", NEWER),
        (f"{NEWER}, */*", NEWER),
        (f"{NEWER};q=0.5, */*", "application/json"),
        (f"application/json;q=0, {NEWER};q=0.1", NEWER),
        ("application/json;q=0, application/*", NEWER),
        ("application/*;q=0.1, text/html", "application/json"),
        ("APPLICATION/JSON", "application/json"),
    ],
)
def test_the_media_type_follows_accept(http, accept, media):
    headers = {"Accept": accept} if accept else {}
    assert post(http, {"query": ME}, **headers)["Content-Type"] == f"{media}; charset=utf-8"


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain",
        "application/xml",
        "*/*;q=0",
        f"{NEWER};q=0, application/json;q=0",
        "application/json; charset=latin-1",
        "application/json;q=x",
        "nonsense",
    ],
)
def test_without_an_acceptable_media_type_nothing_is_executed(http, accept):
    answer = post(http, {"query": ME}, Accept=accept)
    assert answer.status_code == 406
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert "data" not in answer.json()


@pytest.mark.parametrize("parameter", ["operationName", "variables", "extensions"])
def test_null_means_that_a_parameter_is_missing(http, parameter):
    assert post(http, {"query": ME, parameter: None}).json() == {"data": {"me": None}}


@pytest.mark.parametrize("wrong", [0, 1.5, True, [], "text"])
@pytest.mark.parametrize("parameter", ["query", "operationName", "variables", "extensions"])
def test_parameters_have_types(http, parameter, wrong):
    if wrong == "text" and parameter in {"query", "operationName"}:
        wrong = {}
    answer = post(http, {"query": ME, parameter: wrong})
    assert answer.status_code == 400
    assert parameter in answer.json()["errors"][0]["message"]


def test_other_members_of_the_body_are_ignored(http):
    assert post(http, {"query": ME, "other": [1], "extensions": {"x": 1}}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        '{"query": "{ me { id } }", "query": "{ users { id } }"}',
        '{"query": "{ me { id } }", "\\u0071uery": "{ users { id } }"}',
        '{"query": "{ me { id } }", "variables": {}, "variables": {}}',
        '{"operationName": "a", "query": "query a { me { id } }", "operationName": "b"}',
    ],
)
def test_a_parameter_given_twice_is_refused(http, body):
    answer = post(http, body)
    assert answer.status_code == 400
    assert "more than once" in answer.json()["errors"][0]["message"]


def test_names_of_parameters_may_stand_elsewhere(http):
    body = {"query": ME, "variables": {"query": 1, "variables": {"query": "query"}, "é": 2}}
    assert post(http, body).status_code == 200
    deep = '{"query": "{ me { id } }", "variables": ' + '{"query":' * 900 + "1" + "}" * 901
    assert post(http, deep).status_code == 400


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity", "x"])
def test_compressed_bodies_are_refused_unread(http, encoding):
    answer = post(http, b"\x1f\x8b", **{"Content-Encoding": encoding})
    assert answer.status_code == 415
    assert answer["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "query_string",
    [
        "query={me{id}}&query={users{id}}",
        "query={me{id}}&variables={}&variables={}",
        "query=%ff",
        "query={me{id}}&variables=[1]",
        "query={me{id}}&variables={",
        "query={me{id}}&extensions=1",
        "query",
        "&".join(["query={me{id}}", *("x=1",) * 20]),
    ],
)
def test_malformed_query_strings_are_refused(http, query_string):
    answer = http.get("/graphql?" + query_string, headers={"Accept": NEWER})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


def test_a_query_string_has_20_parameters_at_most(http):
    """test_malformed_query_strings_are_refused has the 21st."""
    query_string = "&".join(["query={me{id}}", *("x=1",) * 19])
    assert http.get("/graphql?" + query_string).json() == {"data": {"me": None}}


def test_text_is_utf8_in_both_directions(http):
    for text in ("Ünïcödé 🏃", "\u202e"):
        query = 'query ($t: String) { notes(tag: $t) { id } a: __type(name: "é") { name } }'
        variables = json.dumps({"t": text}, ensure_ascii=False)
        answer = http.get("/graphql", {"query": query, "variables": variables})
        assert answer.json() == {"data": {"notes": [], "a": None}}
    assert http.get("/graphql?query={é}").json()["errors"][0]["extensions"]["code"].startswith("G")


def test_get_needs_a_query_operation_also_when_there_are_others(http):
    both = "query A { me { id } } mutation B { __typename }"
    assert http.get("/graphql", {"query": both, "operationName": "A"}).status_code == 200
    assert http.get("/graphql", {"query": both, "operationName": "B"}).status_code == 405
    assert http.get("/graphql", {"query": ME, "operationName": ""}).status_code == 200


def test_head_is_get_without_a_body(http):
    answer = http.head("/graphql", {"query": ME})
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/livez", "/nothing", "/admin/login/"])
def test_head_has_no_content_on_any_page(db, path):
    """gunicorn would drop the content, and log a warning without the request's id."""
    django = CountingDjango()
    whole = call(django, environ_of() | {"PATH_INFO": path})
    head = call(django, environ_of() | {"PATH_INFO": path, "REQUEST_METHOD": "HEAD"})
    assert (head.status, head.body) == (whole.status, b"")
    assert int(head.headers["Content-Length"]) == len(whole.body) > 0


@pytest.mark.parametrize(
    ("content", "newer", "older"),
    [
        ({"query": "{"}, 400, 200),
        ({"query": "{ nope }"}, 422, 200),
        ({"query": "query A { me { id } } query B { me { id } }"}, 422, 200),
        ({"query": "query ($i: ID!) { user(id: $i) { id } }"}, 422, 200),
        ({"query": "{ users(first: 0) { id } }"}, 294, 200),
        ({"query": "{ me { id } users(first: 0) { id } }"}, 294, 200),
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
    refused = post(http, b" " * (limit + 1))
    assert refused.status_code == 413
    assert refused.json()["errors"][0]["extensions"] == {
        "code": "BODY_TOO_LARGE",
        "limit": "body",
        "allowed": limit,
    }
    assert post(http, b" " * limit).status_code == 400


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer ", "abc", "Bearer " + "x" * 600])
def test_credentials_of_another_kind_are_refused(http, header):
    response = post(http, {"query": ME}, Authorization=header)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("length", "challenge"), [(512, 'Bearer error="invalid_token"'), (513, "Bearer")]
)
def test_a_token_has_512_characters_at_most(http, length, challenge):
    """The service does not look up a longer token."""
    response = post(http, {"query": ME}, Authorization="Bearer " + "x" * length)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, challenge)


def test_a_token_is_valid_until_it_expires(world, ask):
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


def test_a_valid_request_id_is_kept(http):
    assert post(http, {"query": ME}, **{"X-Request-ID": "abc-1"})["X-Request-ID"] == "abc-1"
    strange = post(http, {"query": ME}, **{"X-Request-ID": "a b" * 99})["X-Request-ID"]
    assert len(strange) == 16


def test_probes(http):
    assert http.get("/livez").status_code == 200
    assert http.get("/readyz").content == b"database: ok\nmigrations: ok\nwrites: ok\ncache: ok\n"
    health = http.get("/health").json()
    assert health["status"] == "ok"
    assert set(health["checks"]) == {"database", "migrations", "writes", "cache"}


def test_metrics_name_what_operators_look_for(world, http):
    post(http, {"query": "{ users { notes { id } } }"})
    text = http.get("/metrics").content.decode()
    for name in (
        "dataloader_batch_size_bucket",
        "dataloader_batch_size_sum",
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
        "POST", "/graphql", b"{}", content_type="application/json", CONTENT_LENGTH=""
    )
    assert chunked.status_code == 411


def test_an_unexpected_error_is_a_graphql_response(http, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr("pcf.http.service.GraphQLService._response_digest", broken)
    response = post(http, {"query": ME})
    assert response.status_code == 500
    assert response.json()["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert b"secret" not in response.content
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ usr { id } }", None),
        ("{ users { nam } }", None),
        ("{ users(frst: 1) { id } }", None),
        ("{ users { id } } fragment F on Usr { id }", None),
        ("mutation ($i: CreateNoteInput!) { createNote(input: $i) { note { id } } }", {"titl": 1}),
    ],
)
def test_suggestions_follow_the_setting(world, ask, settings, query, variables):
    values = {"i": {"title": "x", **variables}} if variables else None
    assert b"Did you mean" in ask(query, variables=values).body
    documents = replace(settings.PCF.documents, suggestions=False)
    settings.PCF = replace(settings.PCF, documents=documents)
    answer = ask(query, variables=values)
    assert b"Did you mean" not in answer.body
    assert answer.errors[0]["message"].endswith((".", "'"))


def test_a_request_shows_no_token():
    """Log lines and tracebacks with the request show no token."""
    assert "secret" not in repr(GraphQLRequest("{ me { id } }", token="secret"))
