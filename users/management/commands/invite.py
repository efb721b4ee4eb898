"""``manage.py invite``: invite a person to sign up."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email

from users import accounts, audit, mail


class Command(BaseCommand):
    help = (
        "Send an invitation to sign up, and write its text to standard output. The invitation is "
        "good for one account with this address."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", help="the e-mail address of the person")

    def handle(self, *_args: Any, address: str, **_options: Any) -> None:
        try:
            validate_email(address)
        except ValidationError as error:
            message = f"{address!r} is no e-mail address"
            raise CommandError(message) from error
        text = accounts.invite(address)
        mail.queue.flush()
        audit.log("sent an invitation")
        self.stderr.write(f"The invitation is good for {accounts.INVITATION_LIFETIME.days} days.")
        self.stdout.write(text)
