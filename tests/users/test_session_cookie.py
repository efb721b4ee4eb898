"""The session cookie: set, used, prolonged and removed, and only for pages of the same origin."""

from dataclasses import replace
from random import Random

import pytest
from django.test import Client

from pcf.errors import ConfigError
from pcf.models import IdempotentAnswer
from tests.conftest import token_for
from tests.users.accounts import LOG_IN, LOG_OUT, ME, PASSWORD, REFRESH, Browser, codes, person
from users.models import ApiToken, Session

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "pcf_session"
RENAME = 'mutation { updateProfile(input: {name: "New"}) { user { name } userErrors { code } } }'


@pytest.fixture(autouse=True)
def _cookie(settings):
    requests = replace(settings.PCF.requests, session_cookie=NAME)
    settings.PCF = replace(settings.PCF, requests=requests)


def log_in(browser, **values):
    values = {"username": "ann", "password": PASSWORD, "cookie": True, **values}
    return browser.post(LOG_IN, values)


@pytest.fixture
def browser():
    person()
    browser = Browser()
    assert log_in(browser).json()["data"]["answer"]["userErrors"] == []
    return browser


def me(response):
    return response.json()["data"]["me"]


def test_a_log_in_sets_the_cookie_and_gives_no_tokens(settings):
    ann = person()
    browser = Browser()
    response = log_in(browser)
    payload = response.json()["data"]["answer"]
    assert payload["accessToken"] is payload["refreshToken"] is None
    assert payload["user"] == {"id": str(ann.pk)}
    assert payload["expiresAt"] == Session.objects.get().expires_at.isoformat()
    cookie = browser.client.cookies[NAME]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert cookie["secure"] == cookie["domain"] == ""
    assert 30 * 86_400 - 60 < int(cookie["max-age"]) <= 30 * 86_400
    assert cookie.value.startswith("pcf_")
    assert me(browser.post(ME)) == {"id": str(ann.pk)}


@pytest.mark.parametrize("name", ["__Host-session", "__Secure-session"])
def test_a_cookie_with_a_prefix_is_for_https_alone(settings, name):
    requests = replace(settings.PCF.requests, session_cookie=name)
    settings.PCF = replace(settings.PCF, requests=requests)
    person()
    browser = Browser()
    log_in(browser)
    cookie = browser.client.cookies[name]
    assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")


def test_a_hit_with_the_cookie_is_a_hit(browser):
    found = [browser.post(ME) for _ in range(3)]
    assert [each["Cache-Status"] for each in found][1:] == ["pcf; hit"] * 2
    assert found[0].content == found[2].content
    assert {each["Vary"] for each in found} == {"Accept, Accept-Encoding, Authorization, Cookie"}
    assert {each["Cache-Control"] for each in found} == {"private, no-cache"}


def test_the_cookie_and_a_token_of_one_user_share_the_cached_response(browser):
    token = token_for(Session.objects.get().user)
    browser.post(ME)
    without = Browser().post(ME, Authorization=f"Bearer {token}")
    assert without["Cache-Status"] == "pcf; hit"


def test_the_header_wins_over_the_cookie(browser):
    bob = person("Bob")
    for _ in range(2):
        response = browser.post(ME, Authorization=f"Bearer {token_for(bob)}")
        assert me(response) == {"id": str(bob.pk)}


def test_without_the_setting_the_cookie_is_ignored(browser, settings):
    requests = replace(settings.PCF.requests, session_cookie="")
    settings.PCF = replace(settings.PCF, requests=requests)
    response = browser.post(ME)
    assert me(response) is None
    assert "Cookie" not in response["Vary"]


def test_a_refresh_keeps_the_cookie_for_longer(browser):
    before = browser.client.cookies[NAME].value
    Session.objects.update(expires_at="2100-01-01T00:00Z")
    browser.client.cookies[NAME]["max-age"] = 1
    response = browser.post(REFRESH, {})
    payload = response.json()["data"]["answer"]
    assert (payload["userErrors"], payload["accessToken"]) == ([], None)
    session = Session.objects.get()
    assert payload["expiresAt"] == session.expires_at.isoformat()
    assert ApiToken.objects.get().expires_at == session.expires_at
    assert browser.client.cookies[NAME].value == before
    assert int(browser.client.cookies[NAME]["max-age"]) > 86_400
    assert me(browser.post(ME)) is not None


def test_log_out_removes_the_cookie_and_the_session(browser):
    assert [browser.post(ME).status_code for _ in range(2)] == [200, 200]
    value = browser.client.cookies[NAME].value
    assert browser.post(LOG_OUT).json()["data"]["answer"]["userErrors"] == []
    assert browser.client.cookies[NAME].value == ""
    assert browser.client.cookies[NAME]["max-age"] == "0"
    assert not Session.objects.exists()
    browser.client.cookies[NAME] = value
    assert browser.post(ME).status_code == 401


def test_a_cookie_that_is_not_valid_is_refused_and_removed(browser):
    Session.objects.all().delete()
    ApiToken.objects.all().delete()
    response = browser.post(ME)
    assert response.status_code == 401
    assert browser.client.cookies[NAME]["max-age"] == "0"
    browser.client.cookies.clear()
    assert me(browser.post(ME)) is None


def test_a_bearer_token_that_is_not_valid_leaves_the_cookie(browser):
    response = browser.post(ME, Authorization="Bearer x")
    assert response.status_code == 401
    assert NAME not in response.cookies
    assert "Set-Cookie" not in response


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "x"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://testserver.evil.example"},
    {"Origin": "http://testserver:81"},
    {"Origin": "null"},
    {"Origin": ""},
]
OWN = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://before-the-proxy.example"},
    {"Origin": "http://testserver"},
    {"Origin": "https://testserver"},
    {},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_page_of_another_origin_cannot_use_the_cookie(browser, headers):
    browser.headers = headers
    for query in (ME, RENAME):
        response = browser.post(query)
        assert response.status_code == 403
        assert response.json()["errors"][0]["extensions"]["code"] == "FOREIGN_ORIGIN"
        assert "data" not in response.json()
    response = browser.client.get(
        "/graphql", {"query": ME}, headers={"Host": browser.host, **headers}
    )
    assert response.status_code == 403
    assert Session.objects.get().user.name == "Ann"


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_page_of_another_origin_cannot_log_its_visitor_in(headers):
    person()
    browser = Browser()
    browser.headers = headers
    response = log_in(browser)
    assert codes(response.json()["data"]["answer"]) == [("cookie", "FORBIDDEN")]
    assert NAME not in browser.client.cookies
    assert not Session.objects.exists()


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_a_page_of_this_origin_can(browser, headers):
    browser.headers = headers
    assert me(browser.post(ME)) is not None
    assert browser.post(RENAME).json()["data"]["updateProfile"]["user"] == {"name": "New"}


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_bearer_token_is_good_from_every_origin(browser, headers):
    token = token_for(Session.objects.get().user)
    browser.headers = headers
    assert me(browser.post(ME, Authorization=f"Bearer {token}")) is not None


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
def test_simple_content_types_are_refused(browser, content_type):
    """A page of another origin sends them without a preflight."""
    body = f'{{"query": "{RENAME}"}}'
    response = browser.client.generic("POST", "/graphql", body, content_type=content_type)
    assert response.status_code in (400, 415)
    assert Session.objects.get().user.name == "Ann"


def test_a_get_request_cannot_write(browser):
    response = browser.client.get("/graphql", {"query": RENAME}, headers=OWN[0])
    assert response.status_code == 405


@pytest.mark.parametrize(
    "header",
    [
        "{name}={value}",
        "a=b; {name}={value}; c=d",
        "x{name}=y; {name}={value}",
        "{name}={value};",
        "a; {name}={value}; {name}=other",
    ],
)
def test_the_cookie_is_found_among_others(browser, header):
    value = browser.client.cookies[NAME].value
    cookie = header.format(name=NAME, value=value)
    response = Client().post(
        "/graphql", {"query": ME}, content_type="application/json", headers={"Cookie": cookie}
    )
    assert me(response) is not None


@pytest.mark.parametrize(
    "header", [f"{NAME}=", NAME, f"x{NAME}=pcf_1", f"{NAME}x=pcf_1", f"{NAME}={'x' * 513}"]
)
def test_other_cookies_are_ignored(header):
    response = Client().post(
        "/graphql", {"query": ME}, content_type="application/json", headers={"Cookie": header}
    )
    assert me(response) is None


@pytest.mark.parametrize("name", ["a b", "a;b", "a=b", "é"])
def test_a_name_that_is_none_ends_the_start(settings, name):
    with pytest.raises(ConfigError, match="session_cookie"):
        replace(settings.PCF.requests, session_cookie=name)


def test_a_batch_sets_the_cookie(settings):
    requests = replace(settings.PCF.requests, max_batch=2)
    settings.PCF = replace(settings.PCF, requests=requests)
    person()
    values = {"username": "ann", "password": PASSWORD, "cookie": True}
    parts = [{"query": LOG_IN, "variables": {"input": values}}, {"query": ME}]
    client = Client()
    response = client.post("/graphql", parts, content_type="application/json")
    assert response.json()[0]["data"]["answer"]["userErrors"] == []
    assert client.cookies[NAME].value.startswith("pcf_")


# isolation


@pytest.mark.parametrize("seed", range(5))
def test_cookies_and_tokens_never_get_each_others_answers(live_world, seed):
    """Random requests of six clients: each answer equals the one that no cache has made."""
    for user in (live_world.ann, live_world.bob, live_world.staff):
        user.set_password(PASSWORD)
        user.save()
    ann, bob, staff = (Browser() for _ in range(3))
    for browser, username, scope in ((ann, "ann", "WRITE"), (bob, "bob", "READ"),
                                     (staff, "sue", "ADMIN")):  # fmt: skip
        log_in(browser, username=username, scope=scope)
    bearer = {"Authorization": f"Bearer {token_for(live_world.ann)}"}
    clients = [
        (Browser(), {}), (Browser(), bearer), (ann, {}), (bob, {}), (staff, {}), (bob, bearer),
    ]  # fmt: skip
    queries = [
        ME, "{ me { id email } }", "{ notes { title } }", "{ users { email notes { title } } }",
        "{ tags { name } }",
    ]  # fmt: skip
    chance = Random(seed)
    hits = 0
    for _ in range(60):
        browser, headers = chance.choice(clients)
        query = chance.choice(queries)
        cached = browser.post(query, **headers)
        fresh = browser.post(query, **headers, **{"Cache-Control": "no-store"})
        assert fresh["Cache-Status"] == "pcf; fwd=bypass"
        assert cached.json() == fresh.json()
        hits += cached["Cache-Status"] == "pcf; hit"
    assert hits > 10


def test_no_answer_with_a_secret_is_stored_for_an_idempotency_key(browser):
    key = {"Idempotency-Key": "the-same-key"}
    values = {"username": "ann", "password": PASSWORD}
    token = browser.post(LOG_IN, values).json()["data"]["answer"]["accessToken"]
    own = {"Authorization": f"Bearer {token}", **key}
    create = """mutation ($input: CreateTokenInput!) { answer: createToken(input: $input) {
      text userErrors { code } } }"""
    made = [browser.post(create, {"name": "ci"}, **own) for _ in range(2)]
    texts = {each.json()["data"]["answer"]["text"] for each in made}
    assert len(texts) == 2
    browser.post(LOG_IN, values, **own)
    assert not IdempotentAnswer.objects.exists()
