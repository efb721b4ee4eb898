"""Add the columns for copies of each note's values, and the table that counts the notes of each tag.

Migration 0008 installs the triggers that keep them, and counts.
"""

import django.db.models.deletion
import django.db.models.functions
from django.db import migrations, models

FOREIGN_KEY = """
ALTER TABLE notes_tagcount ADD CONSTRAINT notes_tagcount_tag
FOREIGN KEY (tag_id) REFERENCES tags_tag (id) ON DELETE CASCADE
"""


class Migration(migrations.Migration):

    dependencies = [
        ("notes", "0004_folded_title_and_search_vector"),
        ("tags", "0002_name_folded"),
    ]

    operations = [
        migrations.AddField(
            model_name="notetag",
            name="created_at",
            field=models.DateTimeField(
                db_default=django.db.models.functions.Now(), editable=False
            ),
        ),
        migrations.AddField(
            model_name="notetag",
            name="is_public",
            field=models.BooleanField(db_default=False, editable=False),
        ),
        migrations.CreateModel(
            name="TagCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bucket", models.SmallIntegerField()),
                ("total", models.BigIntegerField(default=0)),
                ("public", models.BigIntegerField(default=0)),
                ("tag", models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name="counts", to="tags.tag")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("tag", "bucket"), name="notes_tagcount_tag_bucket")],
            },
        ),
        migrations.RunSQL(FOREIGN_KEY, migrations.RunSQL.noop),
    ]
