"""``manage.py create_token``: create an API token for a user."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from users import audit
from users.management.expiry import add_expiry_argument, expiry, until
from users.models import SCOPES, ApiToken, User


class Command(BaseCommand):
    help = (
        "Create an API token and write its text to standard output. The text cannot be read again: "
        "the database holds its SHA-256. All other output goes to standard error."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="the owner of the token")
        parser.add_argument(
            "--name", required=True, help="a name that tells the purpose of the token"
        )
        parser.add_argument(
            "--scope",
            choices=[value for value, _ in SCOPES],
            default="write",
            help=f"{'; '.join(meaning for _, meaning in SCOPES)}. The default is write",
        )
        add_expiry_argument(parser, "the default is never")

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
        audit.log("issued a token", id=token.pk, user=user.pk, scope=scope)

        self.stderr.write(
            f"Token {token.name!r} for {username!r}, scope {scope}, valid {until(expires_at)}. "
            "Keep the text: it is shown once."
        )
        self.stdout.write(text)
