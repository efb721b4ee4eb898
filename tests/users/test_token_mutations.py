"""Tokens and sessions that a user sees, creates and ends through the API."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.conftest import token_for
from tests.users.accounts import ME, PASSWORD, codes, log_in, person, run
from users import token_mutations
from users.models import ApiToken, Session

pytestmark = pytest.mark.django_db(transaction=True)

CREATE = """mutation ($input: CreateTokenInput!) { answer: createToken(input: $input) {
  text token { id name scope createdAt lastUsedAt expiresAt } userErrors { field code } } }"""
REVOKE = """mutation ($input: RevokeTokenInput!) { answer: revokeToken(input: $input) {
  revokedId userErrors { field code } } }"""
END = """mutation ($input: EndSessionInput!) { answer: endSession(input: $input) {
  endedId userErrors { field code } } }"""
DEACTIVATE = """mutation ($input: PasswordInput!) { answer: deactivateAccount(input: $input) {
  deactivatedId userErrors { field code } } }"""
MINE = "{ me { tokens { id name } sessions { id device isCurrent } } }"
RENAME = 'mutation { updateProfile(input: {name: "New"}) { userErrors { code } } }'


def test_a_token_is_created_and_its_text_is_shown_once(ask):
    ann = person()
    session = log_in(ask)["accessToken"]
    payload = run(ask, CREATE, session, name=" ci ", scope="READ", expiresInDays=7)
    assert payload["userErrors"] == []
    token = ApiToken.objects.get(session=None)
    assert (token.user, token.name, token.scope) == (ann, "ci", "read")
    week = timezone.now() + timedelta(days=7)
    assert week - timedelta(minutes=5) < token.expires_at <= week
    assert payload["token"]["expiresAt"] == token.expires_at.isoformat()
    assert payload["token"]["scope"] == "READ"
    assert ask(ME, payload["text"]).data == {"me": {"id": str(ann.pk)}}
    assert ask(RENAME, payload["text"]).status == 403
    assert ask(MINE, session).data["me"]["tokens"] == [{"id": str(token.pk), "name": "ci"}]


def test_a_token_without_days_never_expires(ask):
    person()
    payload = run(ask, CREATE, log_in(ask)["accessToken"], name="ci")
    assert payload["token"]["expiresAt"] is None
    assert payload["token"]["scope"] == "WRITE"


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ({"name": " "}, ("name", "REQUIRED")),
        ({"name": "x" * 101}, ("name", "TOO_LONG")),
        ({"name": "\0"}, ("name", "INVALID")),
        ({"expiresInDays": 0}, ("expiresInDays", "INVALID")),
        ({"expiresInDays": -1}, ("expiresInDays", "INVALID")),
        ({"expiresInDays": 36_501}, ("expiresInDays", "INVALID")),
        ({"scope": "ADMIN"}, ("scope", "FORBIDDEN")),
    ],
)
def test_wrong_values_are_refused(ask, values, refusal):
    person(is_staff=True)  # whose session has the scope write
    payload = run(ask, CREATE, log_in(ask)["accessToken"], **{"name": "ci", **values})
    assert codes(payload) == [refusal]
    assert not ApiToken.objects.filter(session=None).exists()


def test_a_token_cannot_create_tokens(ask):
    token = token_for(person())
    assert codes(run(ask, CREATE, token, name="more")) == [(None, "FORBIDDEN")]
    assert codes(run(ask, CREATE, name="more")) == [(None, "UNAUTHENTICATED")]
    assert ApiToken.objects.count() == 1


def test_a_user_has_a_bounded_number_of_tokens(ask, monkeypatch):
    monkeypatch.setattr(token_mutations, "MAX_TOKENS", 1)
    person()
    session = log_in(ask)["accessToken"]
    payload = run(ask, CREATE, session, name="one")
    assert codes(run(ask, CREATE, session, name="two")) == [(None, "INVALID")]
    run(ask, REVOKE, session, id=payload["token"]["id"])
    assert run(ask, CREATE, session, name="two")["userErrors"] == []


def test_a_revoked_token_stops_working_at_once(ask):
    person()
    session = log_in(ask)["accessToken"]
    created = run(ask, CREATE, session, name="ci")
    assert [ask(ME, created["text"]).status for _ in range(2)] == [200, 200]
    key = created["token"]["id"]
    assert run(ask, REVOKE, session, id=key) == {"revokedId": key, "userErrors": []}
    assert ask(ME, created["text"]).status == 401
    assert ask(MINE, session).data["me"]["tokens"] == []
    assert codes(run(ask, REVOKE, session, id=key)) == [("id", "NOT_FOUND")]


def test_tokens_and_sessions_of_others_are_out_of_reach(ask):
    ann = person()
    person("Bob")
    token_for(ann)
    log_in(ask)
    bob = log_in(ask, "bob")["accessToken"]
    for token in ApiToken.objects.filter(user=ann):
        assert codes(run(ask, REVOKE, bob, id=str(token.pk))) == [("id", "NOT_FOUND")]
    session = Session.objects.get(user=ann)
    assert codes(run(ask, END, bob, id=str(session.pk))) == [("id", "NOT_FOUND")]
    assert codes(run(ask, END, bob, id="x")) == [("id", "NOT_FOUND")]
    assert ApiToken.objects.filter(user=ann, revoked_at=None).count() == 2


def test_access_tokens_of_sessions_are_no_tokens_to_revoke(ask):
    person()
    session = log_in(ask)["accessToken"]
    key = ApiToken.objects.get().pk
    assert codes(run(ask, REVOKE, session, id=str(key))) == [("id", "NOT_FOUND")]


def test_a_user_ends_one_session(ask):
    person()
    phone, desk = (log_in(ask, device=name)["accessToken"] for name in ("phone", "desk"))
    found = ask(MINE, desk).data["me"]["sessions"]
    assert [(each["device"], each["isCurrent"]) for each in found] == [
        ("phone", False), ("desk", True),
    ]  # fmt: skip
    assert [ask(ME, phone).status for _ in range(2)] == [200, 200]
    key = found[0]["id"]
    assert run(ask, END, desk, id=key) == {"endedId": key, "userErrors": []}
    assert (ask(ME, phone).status, ask(ME, desk).status) == (401, 200)


def test_all_sessions_are_one_statement_and_the_current_one_another(ask, django_assert_num_queries):
    person()
    token = [log_in(ask) for _ in range(5)][-1]["accessToken"]
    ask(MINE, token)
    with django_assert_num_queries(4):  # me, tokens, sessions, the token of the request
        assert len(ask(MINE, token).data["me"]["sessions"]) == 5


def test_a_deactivated_account_has_no_sessions_and_no_tokens(ask):
    ann = person()
    token, session = token_for(ann), log_in(ask)["accessToken"]
    for text in (token, session):
        assert [ask(ME, text).status for _ in range(2)] == [200, 200]
    wrong = run(ask, DEACTIVATE, session, password="wrong")
    assert codes(wrong) == [(None, "WRONG_CREDENTIALS")]
    payload = run(ask, DEACTIVATE, session, password=PASSWORD)
    assert payload == {"deactivatedId": str(ann.pk), "userErrors": []}
    assert {ask(ME, text).status for text in (token, session)} == {401}
    assert codes(log_in(ask)) == [(None, "WRONG_CREDENTIALS")]
    ann.refresh_from_db()
    ann.is_active = True
    ann.save()
    assert ask(ME, token).status == 401
    assert log_in(ask)["userErrors"] == []
