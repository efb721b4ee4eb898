"""Add the folded title and the search vector. The table is written anew, once for both columns."""

from django.conf import settings
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import migrations, models

from pcf.database.fields import Fold, SearchText, SearchVectorColumn, define_configuration

SQL = """
ALTER TABLE notes_note
ADD COLUMN title_folded text COLLATE "C" GENERATED ALWAYS AS (pcf_fold(title)) STORED,
ADD COLUMN search_vector tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('notes_search'::regconfig, COALESCE(pcf_search_text(title), '')), 'A')
    || setweight(to_tsvector('notes_search'::regconfig, COALESCE(pcf_search_text(content), '')), 'B')
    || setweight(to_tsvector('notes_search_simple'::regconfig, COALESCE(pcf_search_text(title), '')), 'C')
) STORED
"""
REVERSE_SQL = "ALTER TABLE notes_note DROP COLUMN search_vector, DROP COLUMN title_folded"


def _define(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        define_configuration(cursor, "notes_search", settings.NOTES_SEARCH_CONFIG)
        define_configuration(cursor, "notes_search_simple", "simple")


def _remove(apps, schema_editor):
    schema_editor.execute("DROP TEXT SEARCH CONFIGURATION IF EXISTS notes_search_simple")
    schema_editor.execute("DROP TEXT SEARCH CONFIGURATION IF EXISTS notes_search")


class Migration(migrations.Migration):

    dependencies = [("pcf", "0002_folding"), ("notes", "0003_times_in_range")]

    operations = [
        migrations.RunPython(_define, _remove),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(SQL, REVERSE_SQL)],
            state_operations=[
                migrations.AddField(
                    model_name="note",
                    name="title_folded",
                    field=models.GeneratedField(
                        db_persist=True,
                        expression=Fold("title"),
                        output_field=models.TextField(db_collation="C"),
                    ),
                ),
                migrations.AddField(
                    model_name="note",
                    name="search_vector",
                    field=SearchVectorColumn(
                        db_persist=True,
                        expression=SearchVector(SearchText("title"), config="notes_search", weight="A")
                        + SearchVector(SearchText("content"), config="notes_search", weight="B")
                        + SearchVector(SearchText("title"), config="notes_search_simple", weight="C"),
                        output_field=SearchVectorField(),
                    ),
                ),
            ],
        ),
    ]
