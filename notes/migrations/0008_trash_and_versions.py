"""Add the trash and the versions of notes, and install the triggers of versions and counters.

Writers to notes and to their tags wait until the migration ends; readers do not. Before an earlier
version serves this database again: manage.py migrate notes 0007, and manage.py recount_tags.
"""

import datetime

from django.db import migrations, models

from notes import tag_counts, versions


def _install(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        tag_counts.recount(cursor)
        tag_counts.install(cursor)
        versions.install(cursor)


def _remove(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        versions.remove(cursor)
        tag_counts.remove(cursor)


class Migration(migrations.Migration):

    dependencies = [("notes", "0007_search_statistics")]

    operations = [
        migrations.AddField(
            model_name="note",
            name="deleted_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="note",
            name="version",
            field=models.IntegerField(db_default=1, default=1, editable=False),
        ),
        migrations.AddField(
            model_name="notetag",
            name="is_deleted",
            field=models.BooleanField(db_default=False, editable=False),
        ),
        migrations.AddConstraint(
            model_name="note",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("deleted_at__gte", datetime.datetime(1, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)),
                    ("deleted_at__lt", datetime.datetime(9999, 12, 31, 0, 0, tzinfo=datetime.timezone.utc)),
                ),
                name="notes_note_deleted_at_range",
                violation_error_message="This time is out of range: the years 1 to 9999 are stored.",
            ),
        ),
        migrations.RunPython(_install, _remove),
    ]
