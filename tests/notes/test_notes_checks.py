"""The system check finds the demo data's token and password."""

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


def test_working_demo_credentials_are_found(production, admin):
    assert found() == ["notes.E001", "notes.E002"]


def test_disabled_demo_credentials_are_allowed(production, admin):
    ApiToken.objects.update(revoked_at=timezone.now())
    assert found() == ["notes.E002"]
    admin.set_password("something else")
    admin.save()
    assert found() == []


def test_settings_with_demo_data_allow_the_credentials(admin):
    assert found() == []
