"""``manage.py create_token``: an API token for a user."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from users import audit
from users.management.expiry import add_expiry_argument, expiry, until
from users.models import SCOPES, ApiToken, User


class Command(BaseCommand):
    help = (
        "Creates an API token and writes its text to standard output, the only time it can be "
        "read: the database holds its SHA-256. Everything else goes to standard error."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="whose token it is")
        parser.add_argument("--name", required=True, help="what the token is for")
        parser.add_argument(
            "--scope",
            choices=[value for value, _ in SCOPES],
            default="write",
            help=f"{'; '.join(meaning for _, meaning in SCOPES)}. Without this: write",
        )
        add_expiry_argument(parser, "without this it does not")

    def handle(self, *_args: Any, username: str, name: str, scope: str, **options: Any) -> None:
        try:
            user = User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            message = f"there is no user {username!r}"
            raise CommandError(message) from None
        if not user.is_active:
            message = f"user {username!r} is not active, so a token would not work"
            raise CommandError(message)
        expires_at = expiry(options["expires_in"])
        token = ApiToken(user=user, name=name, scope=scope, expires_at=expires_at)
        text = token.renew()
        try:
            token.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        token.save()
        audit.note("token issued", token=token.pk, user=user.pk, scope=scope)

        self.stderr.write(
            f"Token {token.name!r} for {username!r}, scope {scope}, valid {until(expires_at)}. "
            "Keep it: it is shown once."
        )
        self.stdout.write(text)
