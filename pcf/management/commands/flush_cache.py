"""Remove responses from the cache: for writes that Django did not see, or by caution."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pcf.cache.flushing import described, flush
from pcf.cache.gate import CacheUnavailable


class Command(BaseCommand):
    help = "Remove cached responses: all, those of one viewer, or those that depend on a type."

    def add_arguments(self, parser: CommandParser) -> None:
        what: ArgumentParser = parser.add_mutually_exclusive_group(required=True)  # type: ignore[assignment]
        what.add_argument("--all", action="store_true", help="everything")
        what.add_argument(
            "--viewer", "--user", metavar="ID", help="made for this user, 'anonymous' or 'shared'"
        )
        what.add_argument("--type", metavar="TYPE", help="what depends on a type, e.g. Note")
        parser.add_argument("--id", type=int, metavar="ID", help="with --type: on this row alone")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["id"] is not None and options["type"] is None:
            raise CommandError("--id goes with --type")
        what = {"viewer": options["viewer"], "type_": options["type"], "key": options["id"]}
        try:
            removed = flush(**what)
        except LookupError as error:
            raise CommandError(str(error)) from error
        except CacheUnavailable as error:
            raise CommandError("Redis does not answer; nothing was removed") from error
        entries = "entry" if removed == 1 else "entries"
        self.stdout.write(f"{removed} cached {entries} of {described(**what)} removed")
