"""``manage.py recount_tags``: count the notes of each tag anew."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction

from notes import tag_counts, versions


class Command(BaseCommand):
    help = (
        "Install the triggers that count the notes of each tag and the writes of each note, and "
        "count the notes of all tags anew. The command is necessary after writes that no trigger "
        "has seen, and after the schema has got another name. Writers to notes and tags wait until "
        "it ends; readers do not."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            tag_counts.install(cursor)
            versions.install(cursor)
            tag_counts.recount(cursor)
        self.stdout.write("The notes of each tag are counted.")
