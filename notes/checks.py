"""System checks: a service for others must not have the demo data's token and password."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import Error, Tags, register
from django.db import connections

from notes.management.commands.seed_demo import ADMIN, TOKEN
from pcf.conf import config
from users.models import ApiToken, User
from users.tokens import digest_of


@register(Tags.database)
def check_demo_credentials(databases: Sequence[str] | None = None, **_: Any) -> list[Error]:
    """Return errors for the demo data's token and password, unless the settings allow them.

    Django runs the check in ``manage.py migrate`` and ``manage.py check --database default``.
    """
    if config().features.demo_data or "default" not in (databases or ()):
        return []
    tables = connections["default"].introspection.table_names()
    if ApiToken._meta.db_table not in tables:  # noqa: SLF001 (missing before the first migration)
        return []
    errors = []
    tokens = ApiToken.objects.filter(digest=digest_of(TOKEN), revoked_at=None)
    if tokens.exists():
        hint = "Revoke or delete the token: everybody knows its text."
        errors.append(Error("The demo data's token works here.", hint=hint, id="notes.E001"))
    admin = User.objects.filter(username=ADMIN, is_active=True).first()
    if admin is not None and admin.check_password(ADMIN):
        hint = f"Change the password: manage.py changepassword {ADMIN}"
        errors.append(Error("The demo data's password works here.", hint=hint, id="notes.E002"))
    return errors
