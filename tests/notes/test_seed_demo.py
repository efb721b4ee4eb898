"""The demo data: its rows, its known token and password, the setting that allows it."""

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from notes.models import Note, NoteTag
from tags.models import Tag
from users.models import ApiToken, User

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _new_tables(db: None) -> None:
    """The tables have no pages, as ``migrate`` makes them.

    A rollback leaves pages without rows. Autovacuum's ANALYZE then counts 0 rows a page, and the
    triggers of a large load get plans for empty tables: it takes minutes.
    """
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE users_user, notes_note, notes_notetag, tags_tag CASCADE")


def seed_demo() -> str:
    out = StringIO()
    call_command("seed_demo", stdout=out)
    return out.getvalue()


def test_the_demo_data_is_as_documented() -> None:
    out = seed_demo()

    assert User.objects.count() == 1_001
    assert Note.objects.count() == 10_000
    assert Note.objects.filter(is_public=False).count() == 2_000
    assert Note.objects.filter(author=1, is_public=False).count() == 2
    assert Tag.objects.count() == 50
    assert NoteTag.objects.count() == 30_000
    assert "1,000 users" in out
    assert "test-token for user 1" in out


def test_the_token_is_the_first_users_and_stored_as_a_digest() -> None:
    seed_demo()
    token = ApiToken.objects.get()
    assert (token.user_id, bytes(token.digest)) == (1, ApiToken.digest_of("test-token"))
    assert (token.expires_at, token.revoked_at) == (None, None)


def test_the_superuser_comes_last_and_can_log_in() -> None:
    seed_demo()
    admin = User.objects.latest("id")
    assert admin.username == "admin"
    assert admin.check_password("admin")
    assert admin.is_superuser


def test_a_database_with_users_is_not_changed() -> None:
    User.objects.create(username="ann", name="Ann")
    assert "nothing to do" in seed_demo()
    assert User.objects.count() == 1
    assert not Note.objects.exists()


def test_the_command_needs_the_feature(settings: Any) -> None:
    features = replace(settings.PCF.features, demo_data=False)
    settings.PCF = replace(settings.PCF, features=features)
    with pytest.raises(CommandError, match=r"features\.demo_data is off"):
        seed_demo()
    assert not User.objects.exists()


def test_an_interrupted_run_leaves_nothing_and_the_next_one_starts_at_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(User.objects), "create_superuser", interrupted)
        with pytest.raises(KeyboardInterrupt):
            seed_demo()
    assert not any(model.objects.exists() for model in (User, Note, Tag, ApiToken))

    seed_demo()
    assert User.objects.earliest("id").pk == 1
