"""CORS: the origins that may read responses, and the requests that need a preflight."""

from dataclasses import replace

import pytest
from django.test import Client

from pcf.conf.sections import ConfigError, RequestSettings

APP = "https://app.example.org"
ASK = {
    "Origin": APP,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


@pytest.fixture
def http(db):
    return Client()


def allow(settings, *origins):
    settings.PCF = replace(
        settings.PCF, requests=replace(settings.PCF.requests, cors_origins=origins)
    )


def post(http, **headers):
    body = '{"query": "{ me { id } }"}'
    return http.post("/graphql", body, content_type="application/json", headers=headers)


def test_without_cors_origins_no_origin_may_read(http):
    answer = post(http, Origin=APP)
    assert answer.status_code == 200
    assert not any(name.startswith("Access-Control") for name in answer.headers)
    assert "Origin" not in answer["Vary"]
    assert http.options("/graphql", headers=ASK).status_code == 405


def test_an_origin_on_the_list_may_read(http, settings):
    allow(settings, APP)
    answer = post(http, Origin=APP)
    assert answer["Access-Control-Allow-Origin"] == APP
    assert "Cache-Status" in answer["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer
    assert answer["Vary"] == "Accept, Accept-Encoding, Authorization, Origin"


@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", APP + ".evil.org", "null", APP + ":1"]
)
def test_an_origin_off_the_list_may_not_read(http, settings, origin):
    allow(settings, APP)
    answer = post(http, Origin=origin)
    assert "Access-Control-Allow-Origin" not in answer
    assert "Origin" in answer["Vary"]
    assert http.options("/graphql", headers={**ASK, "Origin": origin}).status_code == 405


def test_a_page_may_read_errors(http, settings):
    allow(settings, APP)
    answer = post(http, Origin=APP, Authorization="Bearer wrong")
    assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (401, APP)


def test_a_preflight_says_what_is_allowed(http, settings):
    allow(settings, APP)
    answer = http.options("/graphql", headers=ASK)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["Access-Control-Allow-Origin"] == APP
    assert answer["Access-Control-Allow-Methods"] == "GET, POST"
    assert "Authorization" in answer["Access-Control-Allow-Headers"]
    assert answer["Access-Control-Max-Age"] == "7200"
    assert "Origin" in answer["Vary"]
    assert http.options("/graphql", headers={"Origin": APP}).status_code == 405


def allowed_headers(http):
    names = http.options("/graphql", headers=ASK)["Access-Control-Allow-Headers"].split(", ")
    return {name.lower() for name in names}


@pytest.mark.parametrize(
    "headers",
    [
        "accept authorization cache-control content-type if-none-match idempotency-key",
        "x-request-id x-request-timeout traceparent",
        "apollographql-client-name apollographql-client-version",
        "apollo-require-preflight x-apollo-operation-name x-apollo-operation-id",
        "graphql-preflight graphql-require-preflight x-requested-with",
        "x-graphql-client-name x-graphql-client-version",
        "sentry-trace baggage tracestate",
    ],
)
def test_the_headers_of_pcf_and_of_common_clients_are_allowed(http, settings, headers):
    allow(settings, APP)
    assert set(headers.split()) <= allowed_headers(http)


def test_a_setting_allows_more_headers(http, settings):
    allow(settings, APP)
    before = allowed_headers(http)
    requests = replace(settings.PCF.requests, cors_headers=("X-Tenant", "x-datadog-trace-id"))
    settings.PCF = replace(settings.PCF, requests=requests)
    assert allowed_headers(http) == before | {"x-tenant", "x-datadog-trace-id"}


def test_the_setting_may_allow_every_header(http, settings):
    """A "*" covers all headers but Authorization, which the response names."""
    allow(settings, APP)
    requests = replace(settings.PCF.requests, cors_headers=("*",))
    settings.PCF = replace(settings.PCF, requests=requests)
    assert {"*", "authorization"} <= allowed_headers(http)


@pytest.mark.parametrize("name", ["X Tenant", "X-Tenant:", "", "X-Tenant\r\nX-Evil: 1", "X-Ténant"])
def test_a_malformed_header_name_is_a_wrong_setting(name):
    with pytest.raises(ConfigError) as told:
        RequestSettings(cors_headers=("X-Tenant", name))
    assert str(told.value) == (
        f"requests.cors_headers: {name!r} is no name of a header such as X-Tenant"
    )


def test_a_page_may_read_the_headers_of_responses(http, settings):
    allow(settings, APP)
    answers = [
        post(http, Origin=APP),
        post(http, Origin=APP, Authorization="Bearer wrong"),
        http.get("/graphql?query=mutation{x}", headers={"Origin": APP}),
        http.put("/graphql", headers={"Origin": APP}),
        http.post("/graphql", "", content_type="text/plain", headers={"Origin": APP}),
    ]
    readable = {"Cache-Control", "Content-Length", "Content-Type"}  # every page may read these
    not_for_pages = {"Vary", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"}
    not_for_pages |= {"Cross-Origin-Opener-Policy"}
    for answer in answers:
        exposed = set(answer["Access-Control-Expose-Headers"].split(", "))
        carried = {name for name in answer.headers if not name.startswith("Access-Control")}
        assert carried - not_for_pages <= exposed | readable
        assert "Content-Encoding" in exposed


def test_every_origin_may_be_allowed(http, settings):
    allow(settings, "*")
    assert post(http, Origin="https://x.org")["Access-Control-Allow-Origin"] == "*"
    assert "Origin" not in post(http, Origin="https://x.org")["Vary"]


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/", "https://*.org", ""])
def test_a_malformed_origin_is_a_wrong_setting(origin):
    with pytest.raises(ConfigError):
        RequestSettings(cors_origins=(origin,))


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
def test_a_body_that_needs_no_preflight_is_refused(http, content_type):
    """The three media types of a form (Fetch, section 2.2.2), and no media type."""
    body = '{"query": "mutation { __typename }"}'
    answer = http.generic("POST", "/graphql", body, content_type=content_type)
    assert answer.status_code == 415


def test_a_foreign_host_is_refused_with_json(http, settings):
    settings.ALLOWED_HOSTS = ["localhost"]
    answer = post(http, Host="evil.example.org")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert post(http, Host="localhost").status_code == 200
    assert http.get("/admin/login/", headers={"Host": "evil.example.org"}).status_code == 400
