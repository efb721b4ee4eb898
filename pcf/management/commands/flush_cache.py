"""Remove responses from the cache: for writes that Django did not see, or by caution."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pcf.cache.gate import CacheUnavailable, gate
from pcf.cache.invalidation import flush_type
from pcf.execution.dependencies import Dependencies


class Command(BaseCommand):
    help = "Remove cached responses: all, those of one user, or those that depend on a type."

    def add_arguments(self, parser: CommandParser) -> None:
        what: ArgumentParser = parser.add_mutually_exclusive_group(required=True)  # type: ignore[assignment]
        what.add_argument("--all", action="store_true", help="everything")
        what.add_argument("--user", type=int, metavar="ID", help="responses made for this user")
        what.add_argument(
            "--type", metavar="TYPE", help="responses that depend on a type, e.g. Note"
        )
        parser.add_argument("--id", type=int, metavar="ID", help="with --type: on this row alone")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["id"] is not None and options["type"] is None:
            raise CommandError("--id goes with --type")
        try:
            removed, what = self._flush(options)
        except CacheUnavailable as error:
            raise CommandError("Redis does not answer; nothing was removed") from error
        self.stdout.write(
            f"{removed} cached {'entry' if removed == 1 else 'entries'} of {what} removed"
        )

    @staticmethod
    def _flush(options: dict[str, Any]) -> tuple[int, str]:
        if options["all"]:
            return gate().flush(), "all viewers"
        if options["user"] is not None:
            dependencies = Dependencies()
            dependencies.add("viewer", (options["user"],))
            return gate().invalidate(dependencies), f"viewer {options['user']}"
        try:
            removed = flush_type(options["type"], options["id"])
        except LookupError as error:
            raise CommandError(str(error)) from error
        row = "" if options["id"] is None else f" {options['id']}"
        return removed, f"type {options['type']}{row}"
