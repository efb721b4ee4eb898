"""Let PostgreSQL find frequent matches of filters in the order of a page, while others write."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

from notes.models import NO_PLAN_STATISTICS, PLAN_STATISTICS


class Migration(migrations.Migration):

    atomic = False

    dependencies = [("notes", "0010_versions_after_updates")]

    operations = [
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(
                fields=["created_at", "id"],
                include=["title_folded", "is_public", "deleted_at", "author"],
                name="notes_note_created_id_new",
            ),
        ),
        RemoveIndexConcurrently(model_name="note", name="notes_note_created_id"),
        migrations.RenameIndex(
            model_name="note",
            old_name="notes_note_created_id_new",
            new_name="notes_note_created_id",
        ),
        migrations.RunSQL(PLAN_STATISTICS, NO_PLAN_STATISTICS),
    ]
