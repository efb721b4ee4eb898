"""Build the indexes for lists of notes and for the search, while others write."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models



class Migration(migrations.Migration):

    atomic = False

    dependencies = [("notes", "0005_tag_counts")]

    operations = [
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(fields=["created_at", "id"], name="notes_note_created_id"),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(fields=["author", "created_at", "id"], name="notes_note_author_created_id"),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(fields=["updated_at", "id"], name="notes_note_updated_id"),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(fields=["author", "updated_at", "id"], name="notes_note_author_updated_id"),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(fields=["title_folded", "id"], name="notes_note_title_id"),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=models.Index(fields=["author", "title_folded", "id"], name="notes_note_author_title_id"),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=GinIndex(fields=["title_folded"], name="notes_note_title_part", opclasses=("gin_trgm_ops",)),
        ),
        AddIndexConcurrently(
            model_name="note",
            index=GinIndex(fields=["search_vector"], name="notes_note_search"),
        ),
        AddIndexConcurrently(
            model_name="notetag",
            index=models.Index(fields=["tag", "created_at", "note"], name="notes_notetag_tag_created"),
        ),
    ]
