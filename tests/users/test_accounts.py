"""Accounts: signing up, confirming an address, forgotten and changed passwords."""

import re
from datetime import timedelta

import pytest
from django.core import signing
from django.utils import timezone

from tests.conftest import token_for
from tests.users.accounts import (
    CHANGE,
    CONFIRM,
    ME,
    PASSWORD,
    REFRESH,
    REQUEST_RESET,
    RESET,
    SIGN_UP,
    codes,
    link,
    log_in,
    mails,
    person,
    run,
)
from users import accounts, mail
from users.models import Session, User

pytestmark = pytest.mark.django_db(transaction=True)

CARL = {"username": "carl", "email": "carl@example.org", "password": PASSWORD, "name": "Carl"}
NEW = "another horse battery"


def sign_up(ask, **changes):
    return run(ask, SIGN_UP, **{**CARL, **changes})


def test_a_person_signs_up_and_logs_in(ask):
    payload = sign_up(ask)
    assert payload["userErrors"] == []
    carl = User.objects.get()
    assert payload["user"] == {"id": str(carl.pk), "name": "Carl"}
    assert (carl.email, carl.confirmed_email, carl.is_staff) == ("carl@example.org", None, False)
    assert log_in(ask, "carl")["user"] == {"id": str(carl.pk)}
    assert codes(log_in(ask, carl.email)) == [(None, "WRONG_CREDENTIALS")]


def test_the_link_of_the_mail_confirms_the_address(ask):
    sign_up(ask)
    [message] = mails()
    assert message.to == ["carl@example.org"]
    assert message.subject == "Confirm your e-mail address"
    for _ in range(2):  # people open a link twice
        assert run(ask, CONFIRM, token=link(message))["userErrors"] == []
    assert User.objects.get().confirmed_email == "carl@example.org"
    assert log_in(ask, "Carl@example.org")["userErrors"] == []


def test_an_address_that_has_an_account_gets_the_same_answer(ask):
    person("Ann", confirmed_email="ann@example.org")
    taken = sign_up(ask, email="Ann@example.org")
    free = sign_up(ask, username="dora", email="dora@example.org")
    assert taken["userErrors"] == free["userErrors"] == []
    assert taken["user"]["name"] == free["user"]["name"]
    told, confirms = mails()
    assert (told.to, told.subject) == (["Ann@example.org"], "You have an account already")
    assert "username is ann" in told.body
    assert confirms.subject == "Confirm your e-mail address"


def test_one_account_alone_confirms_an_address(ask):
    sign_up(ask)
    sign_up(ask, username="other")
    first, second = mails()
    assert run(ask, CONFIRM, token=link(second))["userErrors"] == []
    assert codes(run(ask, CONFIRM, token=link(first))) == [("token", "INVALID")]


@pytest.mark.parametrize(
    ("changes", "refusals"),
    [
        ({"username": ""}, [("username", "REQUIRED")]),
        ({"username": "a b"}, [("username", "INVALID")]),
        ({"username": "a@b.org"}, [("username", "INVALID")]),
        ({"username": "x" * 151}, [("username", "TOO_LONG")]),
        ({"username": "ann"}, [("username", "TAKEN")]),
        ({"username": "\0"}, [("username", "INVALID")]),
        ({"email": " "}, [("email", "REQUIRED")]),
        ({"email": "nobody"}, [("email", "INVALID")]),
        ({"name": " "}, [("name", "REQUIRED")]),
        ({"name": "x" * 151}, [("name", "TOO_LONG")]),
        ({"password": ""}, [("password", "REQUIRED")]),
        ({"password": "\0" * 20}, [("password", "INVALID")]),
        ({"password": "x" * 1_001}, [("password", "TOO_LONG")]),
        ({"password": "carl"}, [("password", "INVALID")] * 3),  # short, common, and the username
        ({"password": "password"}, [("password", "INVALID")]),
        ({"invitation": "x"}, [("invitation", "INVALID")]),
    ],
)
def test_wrong_values_are_refused(ask, changes, refusals):
    person()
    assert codes(sign_up(ask, **changes)) == refusals
    assert User.objects.count() == 1
    assert mails() == []


def test_without_a_username_a_person_logs_in_with_the_confirmed_address(ask):
    assert sign_up(ask, username=None)["userErrors"] == []
    [message] = mails()
    assert codes(log_in(ask, "carl@example.org")) == [(None, "WRONG_CREDENTIALS")]
    assert run(ask, CONFIRM, token=link(message))["userErrors"] == []
    assert log_in(ask, "carl@example.org")["userErrors"] == []
    assert User.objects.get().username.startswith("user-")


def test_where_nobody_has_a_username_no_answer_says_whether_an_account_exists(ask, settings):
    """The answers for a username and an address are equal, whether an account has them or not."""
    settings.USERS_USERNAMES = False
    ann = person("Ann", confirmed_email="ann@example.org")
    ann.set_password("a password of her own")
    ann.save()
    for username in ("ann", "dora", "\0", "x" * 200):
        assert codes(sign_up(ask, username=username)) == [("username", "INVALID")]
    addresses = ("ann@example.org", "Ann@Example.org", "dora@example.org", "dora@example.org")
    for address in addresses:
        payload = sign_up(ask, username=None, email=address)
        assert payload["userErrors"] == []
        assert payload["user"]["name"] == "Carl"
        assert codes(log_in(ask, address)) == [(None, "WRONG_CREDENTIALS")]
    assert [message.subject for message in mails()] == [
        "You have an account already", "You have an account already",
        "Confirm your e-mail address", "Confirm your e-mail address",
    ]  # fmt: skip


def test_a_closed_service_refuses_everybody(ask, settings):
    settings.USERS_SIGN_UP = "closed"
    token = accounts.invite("carl@example.org")
    assert codes(sign_up(ask)) == codes(sign_up(ask, invitation=token)) == [(None, "FORBIDDEN")]


def test_an_invitation_is_good_for_one_account_with_its_address(ask, settings):
    settings.USERS_SIGN_UP = "invited"
    accounts.invite("Carl@example.org")
    [message] = mails()
    invitation = link(message)
    wrong = [("invitation", "INVALID")]
    assert codes(sign_up(ask)) == codes(sign_up(ask, invitation="x")) == wrong
    assert codes(sign_up(ask, invitation=invitation, email="dora@example.org")) == wrong
    assert sign_up(ask, invitation=invitation)["userErrors"] == []
    assert User.objects.get().confirmed_email == "carl@example.org"
    assert codes(sign_up(ask, invitation=invitation, username="dora")) == wrong


@pytest.mark.parametrize(("salt", "age"), [("users.invitation", 15), ("users.confirm-email", 4)])
def test_links_expire(ask, monkeypatch, settings, salt, age):
    carl = person("Carl")
    then = timezone.now() - timedelta(days=age)
    monkeypatch.setattr(signing.time, "time", then.timestamp)
    token = signing.dumps({"user": carl.pk, "email": carl.email}, salt=salt)
    monkeypatch.undo()
    settings.USERS_SIGN_UP = "invited"
    if salt == "users.invitation":
        payload = sign_up(ask, username="dora", invitation=token)
    else:
        payload = run(ask, CONFIRM, token=token)
    assert [code for _, code in codes(payload)] == ["INVALID"]


def test_a_link_does_not_confirm_another_address(ask):
    sign_up(ask)
    [message] = mails()
    User.objects.update(email="other@example.org")
    assert codes(run(ask, CONFIRM, token=link(message))) == [("token", "INVALID")]
    for token in ("", "x", "\0", signing.dumps({"email": "other@example.org"})):
        assert codes(run(ask, CONFIRM, token=token)) == [("token", "INVALID")]


UPDATE = """mutation ($input: UpdateProfileInput!) { answer: updateProfile(input: $input) {
  user { email confirmedEmail } userErrors { field code } } }"""
AGAIN = "mutation { answer: requestEmailConfirmation { userErrors { field code } } }"


def test_a_new_address_is_confirmed_before_it_is_good_for_log_ins(ask):
    token = token_for(person(confirmed_email="ann@example.org"))
    payload = run(ask, UPDATE, token, email="new@example.org")
    assert payload["user"] == {"email": "new@example.org", "confirmedEmail": "ann@example.org"}
    confirms, told = sorted(mails(), key=lambda message: message.subject)
    assert (confirms.to, told.to) == (["new@example.org"], ["ann@example.org"])
    assert told.subject == "Your e-mail address was changed"
    assert codes(log_in(ask, "new@example.org")) == [(None, "WRONG_CREDENTIALS")]
    assert log_in(ask, "ann@example.org")["userErrors"] == []
    me = "{ me { confirmedEmail } }"
    for _ in range(2):
        assert ask(me, token).data == {"me": {"confirmedEmail": "ann@example.org"}}
    assert run(ask, CONFIRM, token=link(confirms))["userErrors"] == []
    assert ask(me, token).data == {"me": {"confirmedEmail": "new@example.org"}}
    assert log_in(ask, "new@example.org")["userErrors"] == []
    assert codes(log_in(ask, "ann@example.org")) == [(None, "WRONG_CREDENTIALS")]


def test_another_name_sends_no_mail(ask):
    run(ask, UPDATE, token_for(person()), name="Anna")
    assert mails() == []


def test_a_user_gets_another_link(ask):
    token = token_for(person())
    assert run(ask, AGAIN, token) == {"userErrors": []}
    assert run(ask, CONFIRM, token=link(mails()[0]))["userErrors"] == []
    assert run(ask, AGAIN, token) == {"userErrors": []}
    assert len(mails()) == 1  # there is nothing to confirm
    User.objects.update(email="")
    assert codes(run(ask, AGAIN, token)) == [(None, "REQUIRED")]
    assert codes(run(ask, AGAIN)) == [(None, "UNAUTHENTICATED")]


# forgotten passwords


@pytest.mark.parametrize("typed", ["ann", "ann@example.org", "Ann@Example.ORG"])
def test_a_forgotten_password_is_set_by_a_link(ask, typed):
    person()
    session = log_in(ask)
    assert run(ask, REQUEST_RESET, username=typed) == {"userErrors": []}
    [message] = mails()
    assert message.to == ["ann@example.org"]
    assert run(ask, RESET, token=link(message), password=NEW)["userErrors"] == []
    assert codes(log_in(ask)) == [(None, "WRONG_CREDENTIALS")]
    assert ask(ME, session["accessToken"]).status == 401
    assert codes(run(ask, REFRESH, refreshToken=session["refreshToken"])) != []
    assert log_in(ask, "ann@example.org", NEW)["userErrors"] == []  # the link confirms it
    assert mails()[-1].subject == "Your password was changed"
    again = run(ask, RESET, token=link(message), password=PASSWORD)
    assert codes(again) == [("token", "INVALID")]


@pytest.mark.parametrize(
    "typed", ["nobody", "nobody@example.org", "", "\0", "gone", "gone@example.org", "silent"]
)
def test_an_unknown_account_gets_the_same_answer_and_no_mail(ask, typed):
    gone = person("Gone")
    User.objects.filter(pk=gone.pk).update(is_active=False)
    person("Silent")
    User.objects.filter(username="silent").update(email="")
    assert run(ask, REQUEST_RESET, username=typed) == {"userErrors": []}
    assert mails() == []


def test_the_link_goes_to_the_confirmed_address(ask):
    person(confirmed_email="ann@example.org")
    User.objects.update(email="thief@example.org")
    for typed, count in (("thief@example.org", 0), ("ann", 1)):
        run(ask, REQUEST_RESET, username=typed)
        assert [message.to for message in mails()] == [["ann@example.org"]] * count
    run(ask, RESET, token=link(mails()[0]), password=NEW)
    assert User.objects.get().confirmed_email == "ann@example.org"


def test_one_address_gets_a_bounded_number_of_mails(ask, settings):
    person()
    settings.USERS_MAILS = 3
    for _ in range(5):
        assert run(ask, REQUEST_RESET, username="ann") == {"userErrors": []}
    assert len(mails()) == 3


def test_links_to_reset_a_password_follow_the_rules(ask, monkeypatch):
    ann = person()
    run(ask, REQUEST_RESET, username="ann")
    token = link(mails()[0])
    assert codes(run(ask, RESET, token=token, password="12345")) != []
    for wrong in ("", "x", "1-", "-", token[:-1] + "!", f"zzzzzzzzzzzzz-{token}", "\0"):
        assert codes(run(ask, RESET, token=wrong, password=NEW)) == [("token", "INVALID")]
    ann.refresh_from_db()
    assert ann.check_password(PASSWORD)
    assert run(ask, RESET, token=token, password=NEW)["userErrors"] == []


# changed passwords


def test_a_changed_password_ends_the_other_sessions(ask):
    person()
    mine, other = log_in(ask), log_in(ask)
    payload = run(ask, CHANGE, mine["accessToken"], currentPassword=PASSWORD, newPassword=NEW)
    assert payload["userErrors"] == []
    assert ask(ME, mine["accessToken"]).status == 200
    assert ask(ME, other["accessToken"]).status == 401
    assert Session.objects.count() == 1
    assert log_in(ask, password=NEW)["userErrors"] == []
    assert [message.subject for message in mails()] == ["Your password was changed"]


def test_a_changed_password_needs_the_old_one_and_follows_the_rules(ask):
    ann = person()
    token = token_for(ann)
    wrong = run(ask, CHANGE, token, currentPassword="x", newPassword=NEW)
    assert codes(wrong) == [(None, "WRONG_CREDENTIALS")]
    short = run(ask, CHANGE, token, currentPassword=PASSWORD, newPassword="xyz")
    assert codes(short) == [("newPassword", "INVALID")]
    nobody = run(ask, CHANGE, currentPassword=PASSWORD, newPassword=NEW)
    assert codes(nobody) == [(None, "UNAUTHENTICATED")]
    ann.refresh_from_db()
    assert ann.check_password(PASSWORD)


def test_guesses_of_the_old_password_are_throttled(ask):
    token = token_for(person())
    for _ in range(5):
        run(ask, CHANGE, token, currentPassword="x", newPassword=NEW)
    payload = run(ask, CHANGE, token, currentPassword=PASSWORD, newPassword=NEW)
    assert codes(payload) == [(None, "THROTTLED")]


# mails


def test_a_mail_that_cannot_be_sent_is_logged_and_the_next_one_is_sent(ask, settings, caplog):
    person()
    settings.EMAIL_BACKEND = "no.such.Backend"
    run(ask, REQUEST_RESET, username="ann")
    mail.queue.flush()
    assert "a mail could not be sent" in caplog.text
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    run(ask, REQUEST_RESET, username="ann")
    assert len(mails()) == 1


def test_links_and_addresses_are_not_logged(ask, caplog):
    caplog.set_level("DEBUG")
    sign_up(ask)
    run(ask, REQUEST_RESET, username="carl")
    for message in mails():
        assert link(message) not in caplog.text
    assert not re.search(r"carl@example\.org|correct horse", caplog.text)
