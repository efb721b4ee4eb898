"""``manage.py rotate_token``: replace a token that is in use."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from users import audit
from users.management.expiry import add_expiry_argument, expiry, until
from users.models import ApiToken

MAX_OVERLAP = 720  # hours; 30 days


class Command(BaseCommand):
    help = (
        "Replace a token by one with the same user, name and scope, and write its text to standard "
        "output. The text cannot be read again. The old text works until the overlap ends; "
        "--overlap 0 ends it at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="the owner of the token")
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--name", help="the token's name, if only one valid token has it")
        which.add_argument("--id", type=int, help="the token's id, as the admin shows it")
        parser.add_argument(
            "--overlap",
            type=int,
            default=24,
            metavar="HOURS",
            help=f"hours until the old text stops working, 0 to {MAX_OVERLAP}; the default is 24",
        )
        add_expiry_argument(parser, "the default is the old token's lifetime")

    def handle(self, *_args: Any, overlap: int, expires_in: int | None, **options: Any) -> None:
        if not 0 <= overlap <= MAX_OVERLAP:
            message = f"--overlap must be 0 to {MAX_OVERLAP} hours, got {overlap}"
            raise CommandError(message)
        old = self._find(options["username"], options["name"], options["id"])
        expires_at = expiry(expires_in)
        if expires_in is None and old.expires_at is not None:
            expires_at = timezone.now() + (old.expires_at - old.created_at)
        try:
            new, text = old.rotate(overlap=timedelta(hours=overlap), expires_at=expires_at)
        except ValueError as error:  # another rotation was faster
            raise CommandError(str(error)) from error
        audit.log("rotated a token", id=old.pk, successor=new.pk, user=old.user_id, hours=overlap)
        old_text = f"works for another {overlap} h" if overlap else "stopped working"
        self.stderr.write(
            f"Token {new.name!r}, scope {new.scope}, valid {until(new.expires_at)}. Keep the "
            f"text: it is shown once. The old text {old_text}."
        )
        self.stdout.write(text)

    @staticmethod
    def _find(username: str, name: str | None, key: int | None) -> ApiToken:
        """Return the one valid token with this name or id. Raises CommandError otherwise."""
        tokens = ApiToken.objects.valid().filter(
            user__username=username, replaced_by=None, session=None
        )
        found = list(tokens.filter(name=name) if key is None else tokens.filter(pk=key))
        which = f"named {name!r}" if key is None else f"with the id {key}"
        if not found:
            message = f"user {username!r} has no valid token {which} that was not replaced"
            raise CommandError(message)
        if len(found) > 1:
            ids = ", ".join(str(token.pk) for token in found)
            message = (
                f"user {username!r} has {len(found)} tokens {which}; use --id with one of {ids}"
            )
            raise CommandError(message)
        token: ApiToken = found[0]
        return token
