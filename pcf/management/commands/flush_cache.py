"""``manage.py flush_cache``: remove responses from the cache.

The command is for writes whose triggers did not fire, and for operators in doubt.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pcf.cache.invalidation import flush, flush_report, known_types
from pcf.cache.redis_gateway import CacheUnavailable


class Command(BaseCommand):
    help = "Remove cached responses: all, those of one viewer, or those that depend on a type."

    def add_arguments(self, parser: CommandParser) -> None:
        group: ArgumentParser = parser.add_mutually_exclusive_group(required=True)  # type: ignore[assignment]
        group.add_argument("--all", action="store_true", help="all responses")
        group.add_argument(
            "--viewer",
            "--user",
            metavar="ID",
            help="responses to this user, 'anonymous' or 'shared'",
        )
        group.add_argument(
            "--type",
            metavar="TYPE",
            help=f"responses that depend on a model: one of {', '.join(known_types())}",
        )
        parser.add_argument(
            "--id",
            metavar="ID",
            help="with --type: responses that depend on this row; if it is gone, on the type",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["id"] is not None and options["type"] is None:
            raise CommandError("--id needs --type")
        selection = {"viewer": options["viewer"], "type_": options["type"], "key": options["id"]}
        try:
            removed = flush(**selection)
        except LookupError as error:
            raise CommandError(str(error)) from error
        except CacheUnavailable as error:
            raise CommandError("Redis does not answer; nothing was removed") from error
        self.stdout.write(flush_report(removed, **selection))
