"""Build the indexes for notes in the trash and outside of it, while others write."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False

    dependencies = [("notes", "0008_trash_and_versions")]

    operations = [
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(
                condition=models.Q(("deleted_at", None), ("is_public", True)),
                fields=["id"],
                name="notes_note_listed_public_id",
            ),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(
                condition=models.Q(("deleted_at", None)), fields=["id"], name="notes_note_listed_id"
            ),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(
                condition=models.Q(("deleted_at__isnull", False)),
                fields=["author", "deleted_at", "id"],
                name="notes_note_trash_author",
            ),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(
                condition=models.Q(("deleted_at__isnull", False)),
                fields=["deleted_at", "id"],
                name="notes_note_trash",
            ),
        ),
        RemoveIndexConcurrently(model_name="note", name="notes_note_public_id"),
    ]
