"""An account is deleted by its user, in steps, with all that belongs to it."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from notes.models import Note
from pcf.database import deletion
from tests.conftest import build_world, make_note, token_for
from tests.users.accounts import ME, PASSWORD, codes, log_in, person, run
from users.models import ApiToken, Session, User

pytestmark = pytest.mark.django_db(transaction=True)

DELETE = """mutation ($input: PasswordInput!) { answer: deleteAccount(input: $input) {
  deletedId userErrors { field code } } }"""


def purge() -> str:
    out = StringIO()
    call_command("purge_accounts", stdout=out)
    return out.getvalue()


def test_a_deleted_account_is_gone_with_its_notes_and_nothing_else(ask):
    world = build_world()
    world.ann.set_password(PASSWORD)
    world.ann.save()
    session, token = log_in(ask)["accessToken"], token_for(world.ann)
    titles = "{ notes { title author { name } } }"
    for _ in range(2):
        assert len(ask(titles).data["notes"]) == 1
    payload = run(ask, DELETE, session, password=PASSWORD)
    assert payload == {"deletedId": str(world.ann.pk), "userErrors": []}
    assert not User.objects.filter(pk=world.ann.pk).exists()
    assert [note.title for note in Note.objects.all()] == ["private of bob"]
    assert not Session.objects.exists()
    assert not ApiToken.objects.exists()
    assert {ask(ME, text).status for text in (session, token)} == {401}
    assert ask(titles).data == {"notes": []}
    assert codes(log_in(ask)) == [(None, "WRONG_CREDENTIALS")]


def test_the_command_deletes_what_a_request_had_no_time_for(ask, monkeypatch):
    ann, bob = person(), person("Bob")
    for number in range(5):
        make_note(ann, f"note {number}")
    make_note(bob, "of bob")
    monkeypatch.setattr(deletion, "RESERVE", 1_000.0)  # no request has so much time
    monkeypatch.setattr(deletion, "DEPENDENT_ROWS", 0)
    session = log_in(ask)["accessToken"]
    assert run(ask, DELETE, session, password=PASSWORD)["userErrors"] == []
    ann.refresh_from_db()
    assert not ann.is_active
    assert ask(ME, session).status == 401
    assert purge() == "1 accounts deleted\n"
    assert [user.username for user in User.objects.all()] == ["bob"]
    assert [note.title for note in Note.objects.all()] == ["of bob"]


def test_the_command_leaves_accounts_that_staff_have_opened_again(ask):
    ann = person()
    User.objects.filter(pk=ann.pk).update(deletion_requested_at=timezone.now())
    assert purge() == "0 accounts deleted\n"
    assert User.objects.exists()


def test_a_wrong_password_and_the_account_of_staff_are_refused(ask):
    person(is_staff=True)
    session = log_in(ask)["accessToken"]
    for password, code in (("wrong", "WRONG_CREDENTIALS"), (PASSWORD, "FORBIDDEN")):
        assert codes(run(ask, DELETE, session, password=password)) == [(None, code)]
    assert User.objects.get().is_active
    assert ask(ME, session).status == 200
