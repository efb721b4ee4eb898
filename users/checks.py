"""System checks of the settings of accounts."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004

from users.accounts import SIGN_UP_MODES


@register("users")
def check_sign_up(**_: Any) -> list[CheckMessage]:
    """Check that USERS_SIGN_UP names a mode."""
    if settings.USERS_SIGN_UP in SIGN_UP_MODES:
        return []
    hint = f"Set it to one of {', '.join(SIGN_UP_MODES)}."
    message = f"USERS_SIGN_UP is {settings.USERS_SIGN_UP!r}, which is no mode."
    return [Error(message, hint=hint, id="users.E001")]


@register(Tags.security, deploy=True)
def check_site(**_: Any) -> list[CheckMessage]:
    """Check that the links in mails lead to a front end over HTTPS."""
    site = settings.USERS_SITE
    if site.startswith("https://") and site.endswith("/"):
        return []
    hint = "Set USERS_SITE to the address of the front end, such as https://notes.example.org/."
    return [Warning(f"The links in mails begin with {site!r}.", hint=hint, id="users.W001")]
