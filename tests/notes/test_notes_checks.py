"""A service that others can reach refuses the demo data's keys."""

from dataclasses import replace

import pytest
from django.core.checks import Tags, run_checks
from django.utils import timezone

from notes.management.commands.seed_demo import ADMIN, TOKEN
from users.models import ApiToken, User
from users.tokens import digest_of

pytestmark = pytest.mark.django_db


def found() -> list[str]:
    errors = run_checks(tags=[Tags.database], databases=["default"])
    return [error.id for error in errors if error.id.startswith("notes.")]


@pytest.fixture
def admin() -> User:
    user = User.objects.create_superuser(ADMIN, "a@example.org", ADMIN, name="Administrator")
    ApiToken.objects.create(user=user, name="demo", digest=digest_of(TOKEN))
    return user


@pytest.fixture
def production(settings):
    settings.PCF = replace(settings.PCF, features=replace(settings.PCF.features, demo_data=False))


def test_keys_that_all_can_guess_are_found(production, admin):
    assert found() == ["notes.E001", "notes.E002"]


def test_they_may_be_there_but_must_not_work(production, admin):
    ApiToken.objects.update(revoked_at=timezone.now())
    assert found() == ["notes.E002"]
    admin.set_password("something else")
    admin.save()
    assert found() == []


def test_settings_that_allow_demo_data_allow_them(admin):
    assert found() == []
