"""What must not be in the database of a service that others can reach: the demo data's keys."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import Error, Tags, register
from django.db import connections

from notes.management.commands.seed_demo import ADMIN, TOKEN
from pcf.apps import config
from users.models import ApiToken, User
from users.tokens import digest_of


@register(Tags.database)
def no_keys_that_all_can_guess(databases: Sequence[str] | None = None, **_: Any) -> list[Error]:
    """Errors for the demo data's token and password, unless the settings allow demo data.

    Runs where databases are checked: ``manage.py migrate`` and ``check --database default``.
    """
    if config().features.demo_data or "default" not in (databases or ()):
        return []
    tables = connections["default"].introspection.table_names()
    if ApiToken._meta.db_table not in tables:  # noqa: SLF001 (before the first migration)
        return []
    errors = []
    tokens = ApiToken.objects.filter(digest=digest_of(TOKEN), revoked_at=None)
    if tokens.exists():
        hint = "Revoke or delete it: everybody knows its text."
        errors.append(Error("The demo data's token works here.", hint=hint, id="notes.E001"))
    admin = User.objects.filter(username=ADMIN, is_active=True).first()
    if admin is not None and admin.check_password(ADMIN):
        hint = f"Change it: manage.py changepassword {ADMIN}"
        errors.append(Error("The demo data's password works here.", hint=hint, id="notes.E002"))
    return errors
