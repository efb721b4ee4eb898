"""Sessions: log-ins, rotating refresh tokens, the end of a session."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import sleep

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tests.users.accounts import (
    LOG_OUT,
    LOG_OUT_EVERYWHERE,
    ME,
    PASSWORD,
    REFRESH,
    codes,
    log_in,
    person,
    run,
)
from users import sessions, tokens
from users.models import ApiToken, Session

pytestmark = pytest.mark.django_db

WRONG = [(None, "WRONG_CREDENTIALS")]
ENDED = [("refreshToken", "WRONG_CREDENTIALS")]


def refresh(ask, text):
    return run(ask, REFRESH, refreshToken=text)


def test_a_log_in_gives_an_access_token_and_a_refresh_token(ask):
    ann = person()
    before = timezone.now()
    payload = log_in(ask, device="phone")
    assert payload["userErrors"] == []
    assert payload["user"] == {"id": str(ann.pk)}
    assert ask(ME, payload["accessToken"]).data == {"me": {"id": str(ann.pk)}}
    session = Session.objects.get()
    assert (session.user, session.device, session.scope) == (ann, "phone", "write")
    assert session.expires_at - before >= timedelta(days=30)
    token = ApiToken.objects.get(session=session)
    lifetime = token.expires_at - before
    assert timedelta(minutes=15) <= lifetime < timedelta(minutes=16)
    assert payload["expiresAt"] == token.expires_at.isoformat()


def test_only_digests_are_stored(ask):
    person()
    payload = log_in(ask)
    rows = str([*Session.objects.values(), *ApiToken.objects.values()])
    for name in ("accessToken", "refreshToken"):
        assert payload[name][-20:] not in rows


def test_a_confirmed_address_is_good_for_a_log_in_and_another_is_not(ask):
    person(confirmed_email="ann@example.org")
    bob = person("Bob")
    assert log_in(ask, "ANN@Example.org")["userErrors"] == []
    assert codes(log_in(ask, bob.email)) == WRONG


def test_a_username_wins_over_an_address(ask):
    person(confirmed_email="x@example.org")
    other = person("Other")
    type(other).objects.filter(pk=other.pk).update(username="x@example.org")
    assert log_in(ask, "x@example.org")["user"] == {"id": str(other.pk)}


@pytest.mark.parametrize("username", ["ann", "nobody", "", "\0", "x" * 300, "é\ud7ff"])
def test_a_wrong_password_and_an_unknown_account_have_the_same_answer(ask, username):
    person()
    assert log_in(ask, username, "wrong") == {
        "accessToken": None, "refreshToken": None, "expiresAt": None, "user": None,
        "userErrors": [{"field": None, "code": "WRONG_CREDENTIALS",
                        "message": "The account or the password is wrong."}],
    }  # fmt: skip
    assert not Session.objects.exists()


@pytest.mark.parametrize("password", ["", "\0", "x" * 1_001])
def test_odd_passwords_are_wrong(ask, password):
    person()
    assert codes(log_in(ask, password=password)) == WRONG


def test_an_inactive_user_cannot_log_in(ask):
    person(is_active=False)
    assert codes(log_in(ask)) == WRONG


@pytest.mark.parametrize("username", ["ann", "nobody"])
def test_an_unknown_account_costs_one_hash_as_well(ask, monkeypatch, username):
    """The hasher of the tests is fast; what counts is how often it works."""
    from django.contrib.auth.hashers import MD5PasswordHasher

    person()
    hashed = []
    encode = MD5PasswordHasher.encode

    def counted(self, password, salt):
        hashed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    assert codes(log_in(ask, username, "wrong")) == WRONG
    assert hashed == ["wrong"]


@pytest.mark.parametrize("username", ["ann", "nobody"])
def test_an_account_is_locked_after_five_failures(ask, username):
    person()
    for number in range(5):
        assert codes(log_in(ask, username, "wrong")) in (WRONG, [(None, "THROTTLED")]), number
    payload = log_in(ask, username, PASSWORD)
    assert codes(payload) == [(None, "THROTTLED")]
    assert "15 minutes" in payload["userErrors"][0]["message"]
    assert not Session.objects.exists()


def test_a_success_resets_the_count(ask):
    person()
    for _ in range(2):
        for _ in range(4):
            assert codes(log_in(ask, password="wrong")) == WRONG
        assert log_in(ask)["userErrors"] == []


def test_failures_by_name_and_by_address_count_together(ask):
    person(confirmed_email="ann@example.org")
    for name in ("ann", "ann@example.org", "ann", "ann@example.org", "ann"):
        log_in(ask, name, "wrong")
    assert codes(log_in(ask)) == [(None, "THROTTLED")]


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ({"device": "x" * 201}, ("device", "TOO_LONG")),
        ({"device": "a\nb"}, ("device", "INVALID")),
        ({"device": "a\0b"}, ("device", "INVALID")),
        ({"scope": "ADMIN"}, ("scope", "FORBIDDEN")),
        ({"cookie": True}, ("cookie", "INVALID")),  # the tests have no session cookie
    ],
)
def test_wrong_values_are_refused(ask, values, refusal):
    person()
    assert codes(log_in(ask, **values)) == [refusal]
    assert not Session.objects.exists()


def test_staff_may_ask_for_the_powers_of_staff(ask, world):
    world.staff.set_password(PASSWORD)
    world.staff.save()
    for scope, count in (("WRITE", 1), ("ADMIN", 3)):
        token = log_in(ask, "sue", scope=scope)["accessToken"]
        assert len(ask("{ notes { id } }", token).data["notes"]) == count


# refresh tokens


def test_a_refresh_replaces_the_refresh_token(ask):
    ann = person()
    first = log_in(ask)
    second = refresh(ask, first["refreshToken"])
    assert second["userErrors"] == []
    assert second["user"] == {"id": str(ann.pk)}
    assert second["refreshToken"] != first["refreshToken"]
    # requests that are on their way keep the access token that they have
    for payload in (first, second):
        assert ask(ME, payload["accessToken"]).data == {"me": {"id": str(ann.pk)}}
    assert Session.objects.count() == 1


def test_the_use_of_an_old_refresh_token_ends_the_session(transactional_db, ask):
    person()
    other = log_in(ask)
    first = log_in(ask)
    second = refresh(ask, first["refreshToken"])
    for token in (first, second):
        assert [ask(ME, token["accessToken"]).status for _ in range(2)] == [200, 200]
    assert codes(refresh(ask, first["refreshToken"])) == ENDED
    assert codes(refresh(ask, second["refreshToken"])) == ENDED
    for payload in (first, second):
        assert ask(ME, payload["accessToken"]).status == 401
    assert ask(ME, other["accessToken"]).status == 200
    assert refresh(ask, other["refreshToken"])["userErrors"] == []


def wait_for_waiting(count):
    """Wait until ``count`` connections to the database of the test wait for a lock."""
    with connection.cursor() as cursor:
        for _ in range(3_000):
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            if cursor.fetchone()[0] == count:
                return
            sleep(0.01)
    raise AssertionError("the requests do not meet")


def test_of_eight_racing_clients_one_gets_tokens(transactional_db, ask):
    """All have found the session before the first of them writes."""
    person()
    text = log_in(ask)["refreshToken"]

    def race(_):
        try:
            return refresh(ask, text)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        with transaction.atomic():
            Session.objects.select_for_update().get()
            racing = [pool.submit(race, number) for number in range(8)]
            wait_for_waiting(8)
        payloads = [each.result() for each in racing]
    won = [payload for payload in payloads if not payload["userErrors"]]
    assert len(won) == 1
    assert all(codes(payload) == ENDED for payload in payloads if payload not in won)
    assert not Session.objects.exists()
    assert ask(ME, won[0]["accessToken"]).status == 401


def test_other_texts_refresh_nothing(ask):
    person()
    payload = log_in(ask)
    unknown = tokens.new_refresh_text("a" * tokens.FAMILY_LENGTH)
    for text in ("", "x", "\0", "pcfr_" + "a" * 71, tokens.new_text(), unknown):
        assert codes(refresh(ask, text)) == ENDED
    assert ask(ME, payload["accessToken"]).status == 200


def test_an_access_token_refreshes_nothing(ask):
    person()
    payload = log_in(ask)
    assert codes(refresh(ask, payload["accessToken"])) == ENDED
    assert ask(ME, payload["refreshToken"]).status == 401


def test_a_refresh_without_a_token_is_refused(ask):
    person()
    token = log_in(ask)["accessToken"]
    for given in (None, token):
        answer = ask(REFRESH, given, {"input": {}}).data["answer"]
        assert codes(answer) == [("refreshToken", "REQUIRED")]


def test_an_expired_session_cannot_be_refreshed(ask):
    person()
    text = log_in(ask)["refreshToken"]
    Session.objects.update(expires_at=timezone.now())
    assert codes(refresh(ask, text)) == ENDED
    assert not Session.objects.exists()


def test_the_session_of_an_inactive_user_cannot_be_refreshed(ask):
    ann = person()
    text = log_in(ask)["refreshToken"]
    ann.is_active = False
    ann.save()
    assert codes(refresh(ask, text)) == ENDED


def test_an_expired_access_token_is_refused_and_goes_with_the_next_refresh(ask):
    person()
    payload = log_in(ask)
    ApiToken.objects.update(expires_at=timezone.now())
    assert ask(ME, payload["accessToken"]).status == 401
    assert refresh(ask, payload["refreshToken"])["userErrors"] == []
    assert ApiToken.objects.count() == 1


def test_a_refresh_prolongs_the_session(ask):
    person()
    text = log_in(ask)["refreshToken"]
    Session.objects.update(expires_at=timezone.now() + timedelta(days=1))
    refresh(ask, text)
    assert Session.objects.get().expires_at > timezone.now() + timedelta(days=29)


# the end


def test_log_out_ends_this_session_alone(transactional_db, ask):
    person()
    one, other = log_in(ask), log_in(ask)
    assert [ask(ME, one["accessToken"]).status for _ in range(2)] == [200, 200]
    assert run(ask, LOG_OUT, one["accessToken"]) == {"userErrors": []}
    assert ask(ME, one["accessToken"]).status == 401
    assert codes(refresh(ask, one["refreshToken"])) == ENDED
    assert ask(ME, other["accessToken"]).status == 200


def test_log_out_needs_a_session(world, ask):
    token = ApiToken.issue(world.ann, "t")[1]
    assert codes(run(ask, LOG_OUT)) == [(None, "UNAUTHENTICATED")]
    assert codes(run(ask, LOG_OUT, token)) == [(None, "FORBIDDEN")]


def test_log_out_everywhere_ends_all_sessions_of_the_viewer(transactional_db, ask):
    person()
    person("Bob")
    mine, theirs = [log_in(ask) for _ in range(3)], log_in(ask, "bob")
    assert run(ask, LOG_OUT_EVERYWHERE, mine[0]["accessToken"]) == {"count": 3, "userErrors": []}
    assert {ask(ME, payload["accessToken"]).status for payload in mine} == {401}
    assert ask(ME, theirs["accessToken"]).status == 200


def test_a_user_has_a_bounded_number_of_sessions(ask, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    person()
    first, second, third = (log_in(ask) for _ in range(3))
    assert Session.objects.count() == 2
    assert ask(ME, first["accessToken"]).status == 401
    assert {ask(ME, each["accessToken"]).status for each in (second, third)} == {200}


def test_expired_sessions_go_with_the_next_log_in(ask):
    person()
    log_in(ask)
    Session.objects.update(expires_at=timezone.now())
    log_in(ask)
    assert Session.objects.count() == ApiToken.objects.count() == 1


def test_the_use_of_an_access_token_is_noted_in_its_session(ask):
    person()
    token = log_in(ask)["accessToken"]
    long_ago = timezone.now() - timedelta(days=1)
    Session.objects.update(last_used_at=long_ago)
    ask(ME, token)
    assert Session.objects.get().last_used_at > long_ago
