"""Normalise the names of tags, merge tags whose names differ in case alone, and keep it so.

A name gets NFC, loses control and bidi characters and the white space at both ends. Of several tags
with one name the oldest stays, with the notes of all. Writers to tags wait until the end.
"""

import unicodedata

import pcf.database.fields
import tags.names
from django.db import migrations, models

MAX_NAME = 50
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
REFUSED = frozenset({"Cc", "Zl", "Zp", "Cs"})

MERGE = """
CREATE TEMPORARY TABLE merged_tags ON COMMIT DROP AS
SELECT id, name, min(id) OVER (PARTITION BY pcf_lower(name)) AS kept FROM cleaned_tags;

INSERT INTO notes_notetag (note_id, tag_id)
SELECT DISTINCT t.note_id, m.kept FROM notes_notetag t JOIN merged_tags m ON m.id = t.tag_id
WHERE m.id <> m.kept
ON CONFLICT DO NOTHING;
DELETE FROM notes_notetag t USING merged_tags m WHERE m.id = t.tag_id AND m.id <> m.kept;
DELETE FROM tags_tag t USING merged_tags m WHERE m.id = t.id AND m.id <> m.kept;
UPDATE tags_tag t SET name = m.name FROM merged_tags m
WHERE m.id = t.id AND m.id = m.kept AND t.name <> m.name;

DROP TABLE merged_tags, cleaned_tags;
SET CONSTRAINTS ALL IMMEDIATE;
"""


def cleaned(key, name):
    """Return the name that a tag gets."""
    kept = "".join(
        each for each in name if each not in BIDI and unicodedata.category(each) not in REFUSED
    )
    text = unicodedata.normalize("NFC", kept).strip()[:MAX_NAME].strip()
    return text or f"tag {key}"


def _merge(apps, schema_editor):
    tags = apps.get_model("tags", "Tag").objects.values_list("pk", "name")
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("LOCK TABLE tags_tag IN SHARE ROW EXCLUSIVE MODE")
        rows = [(key, cleaned(key, name)) for key, name in tags]
        cursor.execute("CREATE TEMPORARY TABLE cleaned_tags (id bigint, name text) ON COMMIT DROP")
        cursor.executemany("INSERT INTO cleaned_tags VALUES (%s, %s)", rows)
        cursor.execute(MERGE)


class Migration(migrations.Migration):

    dependencies = [
        ("pcf", "0003_lower"),
        ("tags", "0003_indexes"),
        # the notes of merged tags
        ("notes", "0009_trash_indexes"),
    ]

    operations = [
        migrations.RunPython(_merge, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="tag",
            name="name",
            field=models.CharField(
                max_length=50, unique=True, validators=[tags.names.validate_name]
            ),
        ),
        migrations.AddConstraint(
            model_name="tag",
            constraint=models.CheckConstraint(
                condition=tags.names.IsNormal(models.F("name")), name="tags_tag_name_normal"
            ),
        ),
        migrations.AddConstraint(
            model_name="tag",
            constraint=models.UniqueConstraint(
                pcf.database.fields.CaseFold("name"),
                name="tags_tag_name_unique",
                violation_error_code="unique",
                violation_error_message="Another tag has this name.",
            ),
        ),
    ]
