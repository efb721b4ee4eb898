"""Install the function of pcf.database.fields.CaseFold, with the collation of pcf_fold."""

from importlib import import_module

from django.db import migrations

_collation = import_module("pcf.migrations.0002_folding")._collation

# As in pcf_fold, both forms of the letter sigma are one.
FUNCTION = r"""
CREATE FUNCTION pcf_lower(text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT translate(
        normalize(lower(normalize($1, NFC) COLLATE pg_catalog."{collation}"), NFC),
        U&'\03C2', U&'\03C3') COLLATE "C";
END;
COMMENT ON FUNCTION pcf_lower(text) IS 'text in lower case, in any locale';
"""


def _install(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(FUNCTION.format(collation=_collation(cursor)))


def _remove(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION IF EXISTS pcf_lower(text)")


class Migration(migrations.Migration):

    dependencies = [("pcf", "0002_folding")]

    operations = [migrations.RunPython(_install, _remove)]
