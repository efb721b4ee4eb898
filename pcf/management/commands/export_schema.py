"""``manage.py export_schema``: write the GraphQL schema to a file, or check the file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from graphene_django.settings import graphene_settings
from graphql import print_schema

PATH = Path("schema.graphql")


class Command(BaseCommand):
    help = "Write the schema to schema.graphql; --check only compares the file with the schema."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="fail when the file differs")
        parser.add_argument("--path", type=Path, default=PATH, help="the file (%(default)s)")

    def handle(self, *_args: Any, check: bool, path: Path, **_options: Any) -> None:
        text = print_schema(graphene_settings.SCHEMA.graphql_schema) + "\n"
        if not check:
            path.write_text(text)
            self.stdout.write(f"{path} written")
        elif not path.exists() or path.read_text() != text:
            raise CommandError(f"{path} is not up to date: run manage.py export_schema")
