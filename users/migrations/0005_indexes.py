"""Build the indexes for lists of users, while others write."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models



class Migration(migrations.Migration):

    atomic = False

    dependencies = [("users", "0004_name_folded")]

    operations = [
        AddIndexConcurrently(
            model_name="user",
            index=models.Index(fields=["created_at", "id"], name="users_user_created_id"),
        ),
        AddIndexConcurrently(
            model_name="user",
            index=models.Index(fields=["name_folded", "id"], name="users_user_folded_id"),
        ),
        AddIndexConcurrently(
            model_name="user",
            index=GinIndex(fields=["name_folded"], name="users_user_folded_part", opclasses=("gin_trgm_ops",)),
        ),
    ]
