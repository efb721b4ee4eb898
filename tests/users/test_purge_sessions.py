"""``manage.py purge_sessions``."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from tests.conftest import make_user
from users import sessions
from users.management.commands import purge_sessions
from users.models import ApiToken, Session

pytestmark = pytest.mark.django_db


def test_expired_sessions_are_deleted_and_others_stay(monkeypatch):
    monkeypatch.setattr(purge_sessions, "STEP", 2)
    ann = make_user("Ann")
    for _ in range(5):
        sessions.begin(ann, device="old", scope="write", has_cookie=False)
    Session.objects.update(expires_at=timezone.now())
    bob = make_user("Bob")
    sessions.begin(bob, device="new", scope="write", has_cookie=True)
    out = StringIO()
    call_command("purge_sessions", stdout=out)
    assert out.getvalue() == "5 sessions deleted\n"
    assert [session.device for session in Session.objects.all()] == ["new"]
    assert ApiToken.objects.count() == 1
