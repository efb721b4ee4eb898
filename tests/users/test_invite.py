"""``manage.py invite``, and the system checks of accounts."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.users.accounts import link, mails
from users.checks import check_sign_up, check_site

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_invitation_is_sent_and_printed():
    out, err = StringIO(), StringIO()
    call_command("invite", "carl@example.org", stdout=out, stderr=err)
    [message] = mails()
    assert message.to == ["carl@example.org"]
    assert link(message) == out.getvalue().strip()
    assert "14 days" in err.getvalue()


@pytest.mark.parametrize("address", ["carl", "", "a@b c"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(CommandError, match="no e-mail address"):
        call_command("invite", address)
    assert mails() == []


@pytest.mark.parametrize(
    ("mode", "problems"), [("open", 0), ("invited", 0), ("closed", 0), ("", 1), ("Open", 1)]
)
def test_a_mode_that_is_none_is_found(settings, mode, problems):
    settings.USERS_SIGN_UP = mode
    assert [message.id for message in check_sign_up()] == ["users.E001"] * problems


@pytest.mark.parametrize(
    ("site", "problems"),
    [
        ("https://notes.example.org/", 0),
        ("https://notes.example.org", 1),
        ("http://notes.example.org/", 1),
        ("", 1),
    ],
)
def test_links_in_mails_lead_to_a_safe_site(settings, site, problems):
    settings.USERS_SITE = site
    assert [message.id for message in check_site()] == ["users.W001"] * problems
