"""``manage.py create_token``: an API token for a user."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from users.models import ApiToken, User

MAX_DAYS = 36_500  # a hundred years; who wants more leaves the limit out


class Command(BaseCommand):
    help = (
        "Creates an API token and writes its text to standard output, the only time it can be "
        "read: the database holds its SHA-256. Everything else goes to standard error."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="whose token it is")
        parser.add_argument("--name", required=True, help="what the token is for")
        parser.add_argument(
            "--expires-in",
            type=int,
            metavar="DAYS",
            help=f"days until it expires, 1 to {MAX_DAYS:,}; without this it does not",
        )

    def handle(
        self, *_args: Any, username: str, name: str, expires_in: int | None, **_options: Any
    ) -> None:
        try:
            user = User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            message = f"there is no user {username!r}"
            raise CommandError(message) from None
        if not user.is_active:
            message = f"user {username!r} is not active, so a token would not work"
            raise CommandError(message)
        if expires_in is not None and not 1 <= expires_in <= MAX_DAYS:
            message = f"--expires-in must be 1 to {MAX_DAYS:,} days, got {expires_in}"
            raise CommandError(message)

        expires_at = None
        if expires_in is not None:
            expires_at = timezone.now() + timedelta(days=expires_in)
        token = ApiToken(user=user, name=name, expires_at=expires_at)
        text = token.renew()
        try:
            token.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        token.save()

        until = f"until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "until revoked"
        self.stderr.write(
            f"Token {token.name!r} for {username!r}, valid {until}. Keep it: it is shown once."
        )
        self.stdout.write(text)
