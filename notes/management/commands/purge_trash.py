"""``manage.py purge_trash``: delete notes that have lain in the trash for long enough."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from notes import trash
from users import audit


class Command(BaseCommand):
    help = (
        "Delete notes for ever that have lain in the trash for NOTES_TRASH_DAYS, in batches. Run "
        "the command once a day. An interrupted command may be run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days",
            type=int,
            default=settings.NOTES_TRASH_DAYS,
            help=f"days in the trash ({settings.NOTES_TRASH_DAYS}: NOTES_TRASH_DAYS)",
        )
        parser.add_argument(
            "--batch-size", type=int, default=1_000, help="notes of a transaction (1,000)"
        )

    def handle(self, *_args: Any, days: int, batch_size: int, **_options: Any) -> None:
        if days < 0 or batch_size < 1:
            raise CommandError("--days must be 0 or more, and --batch-size 1 or more")
        moment = timezone.now() - timedelta(days=days)
        done, count = 0, batch_size
        while count:
            with transaction.atomic():
                count = trash.purge_before(moment, batch_size)
            done += count
        audit.log("purge_trash", notes=done, days=days)
        self.stdout.write(f"{done:,} notes are gone.")
