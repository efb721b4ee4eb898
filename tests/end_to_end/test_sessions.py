"""Sessions with two workers over real sockets: log-ins, cookies, and their end everywhere."""

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

PASSWORD = "correct horse battery"
ME = "{ me { id name } }"
LOG_IN = """mutation ($input: LogInInput!) { answer: logIn(input: $input) {
  accessToken refreshToken userErrors { code } } }"""
REFRESH = """mutation ($input: RefreshAccessInput!) { answer: refreshAccess(input: $input) {
  accessToken refreshToken userErrors { code } } }"""
LOG_OUT = "mutation { answer: logOut { userErrors { code } } }"
PERSON = f"""
from users.models import User
user = User.objects.create(username="e2e-person", name="Person", email="person@example.org")
user.set_password({PASSWORD!r})
user.save()
"""


@pytest.fixture(scope="module", autouse=True)
def _person(server) -> None:
    server.manage("shell", "-v", "0", "-c", PERSON)


def post(server, query: str, values: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Return the status, the headers and the content."""
    body = json.dumps({"query": query, "variables": {"input": values}}).encode()
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(server.url + "/graphql", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())


def run(server, mutation: str, values: Any = None, **headers: str) -> Any:
    status, _, content = post(server, mutation, values, **headers)
    assert status == 200, content
    return content["data"]["answer"]


def log_in(server) -> Any:
    answer = run(server, LOG_IN, {"username": "e2e-person", "password": PASSWORD})
    assert answer["userErrors"] == []
    return answer


def cookie_of(headers: Any) -> str:
    return headers["Set-Cookie"].partition(";")[0]


def many(server, **headers: str) -> tuple[set[int], set[str]]:
    """Return the statuses and the cache statuses of simultaneous requests to both workers."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: post(server, ME, **headers), range(24)))
    return {each[0] for each in found}, {each[1]["Cache-Status"] for each in found}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_session_ends_in_every_worker_at_once(server):
    session = log_in(server)
    token = bearer(session["accessToken"])
    many(server, **token)
    assert many(server, **token) == ({200}, {"pcf; hit"})  # both workers remember the token
    assert run(server, LOG_OUT, **token) == {"userErrors": []}
    assert many(server, **token)[0] == {401}
    again = run(server, REFRESH, {"refreshToken": session["refreshToken"]})
    assert again["userErrors"] == [{"code": "WRONG_CREDENTIALS"}]


def test_a_cookie_is_good_for_hits_until_log_out(server):
    values = {"username": "e2e-person", "password": PASSWORD, "cookie": True}
    own = {"Sec-Fetch-Site": "same-origin", "Origin": server.url}
    status, headers, content = post(server, LOG_IN, values, **own)
    assert (status, content["data"]["answer"]["accessToken"]) == (200, None)
    cookie = headers["Set-Cookie"]
    assert cookie.startswith("pcf_session=pcf_")
    assert cookie.partition("; ")[2].startswith("Path=/; Max-Age=25919")
    assert cookie.endswith("; HttpOnly; SameSite=Lax")
    own["Cookie"] = f"theme=dark; {cookie_of(headers)}"

    many(server, **own)
    assert many(server, **own) == ({200}, {"pcf; hit"})
    status, headers, _ = post(server, ME, **own)
    assert headers["Vary"] == "Accept, Accept-Encoding, Authorization, Cookie"
    assert headers["Cache-Control"] == "private, no-cache"

    foreign = {**own, "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert many(server, **foreign)[0] == {403}

    status, headers, content = post(server, LOG_OUT, **own)
    assert content["data"]["answer"] == {"userErrors": []}
    assert headers["Set-Cookie"] == "pcf_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
    assert many(server, **own)[0] == {401}
    assert post(server, ME, **own)[1]["Set-Cookie"].startswith("pcf_session=; ")
    assert post(server, ME)[2] == {"data": {"me": None}}


def test_ten_clients_with_one_refresh_token(server):
    text = log_in(server)["refreshToken"]
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: run(server, REFRESH, {"refreshToken": text}), range(10)))
    won = [each for each in found if not each["userErrors"]]
    assert len(won) == 1
    assert many(server, **bearer(won[0]["accessToken"]))[0] == {401}  # the family has ended
