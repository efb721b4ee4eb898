"""Build the indexes for lists of tags, while others write."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models



class Migration(migrations.Migration):

    atomic = False

    dependencies = [("tags", "0002_name_folded")]

    operations = [
        AddIndexConcurrently(
            model_name="tag",
            index=models.Index(fields=["name_folded", "id"], name="tags_tag_folded_id"),
        ),
        AddIndexConcurrently(
            model_name="tag",
            index=GinIndex(fields=["name_folded"], name="tags_tag_folded_part", opclasses=("gin_trgm_ops",)),
        ),
    ]
