"""Count the writes of notes after each statement, and leave room on pages for the second update."""

from django.db import migrations

from notes import versions


def _install(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        versions.install(cursor)


class Migration(migrations.Migration):

    dependencies = [("notes", "0009_trash_indexes")]

    operations = [
        migrations.RunPython(_install, migrations.RunPython.noop),
        migrations.RunSQL(
            "ALTER TABLE notes_note SET (fillfactor = 85)",
            "ALTER TABLE notes_note RESET (fillfactor)",
        ),
    ]
