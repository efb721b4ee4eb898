"""Have ANALYZE sample more words, so that PostgreSQL tells a rare word from a usual one."""

from django.db import migrations

from notes.models import SEARCH_STATISTICS


class Migration(migrations.Migration):

    dependencies = [("notes", "0006_indexes")]

    operations = [
        migrations.RunSQL(
            SEARCH_STATISTICS,
            "ALTER TABLE notes_note ALTER COLUMN search_vector SET STATISTICS -1",
        )
    ]
