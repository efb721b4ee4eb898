"""``manage.py rotate_token``: a new text for a token that is in use."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from users import audit
from users.management.expiry import add_expiry_argument, expiry, until
from users.models import ApiToken

MAX_OVERLAP = 720  # hours; who needs the old text for longer does not want to be rid of it


class Command(BaseCommand):
    help = (
        "Issues a token instead of another one: same user, name and scope, new text, written to "
        "standard output, the only time it can be read. The old text works for the overlap yet, or "
        "with --overlap 0 no longer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="whose token it is")
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--name", help="the token's name, when only one valid token has it")
        which.add_argument("--id", type=int, help="the token's id, as the admin shows it")
        parser.add_argument(
            "--overlap",
            type=int,
            default=24,
            metavar="HOURS",
            help=f"how long the old text works yet, 0 to {MAX_OVERLAP}; 24 without this",
        )
        add_expiry_argument(parser, "without this as long as the old one was made for")

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
        except ValueError as error:  # somebody else was faster
            raise CommandError(str(error)) from error
        audit.note("token rotated", token=old.pk, instead=new.pk, user=old.user_id, hours=overlap)
        old_text = f"works for {overlap} h yet" if overlap else "does not work any longer"
        self.stderr.write(
            f"Token {new.name!r}, scope {new.scope}, valid {until(new.expires_at)}. Keep it: it is "
            f"shown once. The old text {old_text}."
        )
        self.stdout.write(text)

    @staticmethod
    def _find(username: str, name: str | None, key: int | None) -> ApiToken:
        """The one token that is meant. Raises CommandError when there is none or more."""
        tokens = ApiToken.objects.valid().filter(user__username=username, replaced_by=None)
        found = list(tokens.filter(name=name) if key is None else tokens.filter(pk=key))
        which = f"named {name!r}" if key is None else f"with the id {key}"
        if not found:
            message = f"user {username!r} has no valid token {which} that was not rotated yet"
            raise CommandError(message)
        if len(found) > 1:
            ids = ", ".join(str(token.pk) for token in found)
            message = f"user {username!r} has {len(found)} tokens {which}; say --id, one of {ids}"
            raise CommandError(message)
        token: ApiToken = found[0]
        return token
