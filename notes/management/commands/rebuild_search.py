"""``manage.py rebuild_search``: apply the setting NOTES_SEARCH_CONFIG to all notes."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import ProgrammingError, connection, transaction

from notes.models import PREFIX_CONFIG, SEARCH_CONFIG
from pcf.cache.availability import CacheUnavailable
from pcf.cache.invalidation import flush_type
from pcf.database.fields import define_configuration

# PostgreSQL computes the generated columns of a row when one of their columns is written.
_BATCH = """
WITH batch AS (
    SELECT id FROM notes_note WHERE id > %s ORDER BY id LIMIT %s FOR NO KEY UPDATE
), written AS (
    UPDATE notes_note n SET title = n.title FROM batch WHERE n.id = batch.id
)
SELECT max(id), count(*) FROM batch
"""


class Command(BaseCommand):
    help = (
        "Define the text search configurations of notes anew, and compute the search vector and "
        "the folded title of every note. Writers and readers go on meanwhile; a search may find "
        "too few notes until the command ends. An interrupted command may be run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch-size", type=int, default=1_000, help="notes of a transaction (1,000)"
        )

    def handle(self, *_args: Any, batch_size: int, **_options: Any) -> None:
        source = settings.NOTES_SEARCH_CONFIG
        with connection.cursor() as cursor:
            try:
                with transaction.atomic():
                    define_configuration(cursor, SEARCH_CONFIG, source)
                    define_configuration(cursor, PREFIX_CONFIG, "simple")
            except ProgrammingError as error:
                raise CommandError(f"NOTES_SEARCH_CONFIG: {error}") from error
            last: int | None = 0
            done = 0
            while last is not None:
                with transaction.atomic():
                    cursor.execute(_BATCH, [last, batch_size])
                    last, count = cursor.fetchone()
                done += count
        try:
            flush_type("Note")
        except CacheUnavailable as error:
            raise CommandError("Redis does not answer: run manage.py flush_cache --all") from error
        self.stdout.write(f"{done:,} notes can be searched by the configuration {source!r}.")
