"""Let any role that writes take its touches: whatever its rights and its search_path are."""

from django.db import migrations

from pcf.cache import outbox

# the triggers' functions of this version go on working with the function of the first migration
REVERSE_SQL = """
CREATE OR REPLACE FUNCTION pcf_take_touches(OUT transaction text, OUT names text[])
RETURNS SETOF record LANGUAGE plpgsql AS $body$
BEGIN
    IF pg_current_xact_id_if_assigned() IS NULL
       OR NOT EXISTS (SELECT FROM pcf_touch t WHERE t.transaction = pg_current_xact_id()) THEN
        RETURN;
    END IF;
    SET CONSTRAINTS ALL IMMEDIATE;
    WITH taken AS (
        DELETE FROM pcf_touch t WHERE t.transaction = pg_current_xact_id() RETURNING t.names
    )
    SELECT array_agg(DISTINCT name) INTO names FROM taken, unnest(taken.names) AS name;
    transaction := pg_current_xact_id()::text;
    RETURN NEXT;
END $body$;
COMMENT ON FUNCTION pcf_take_touches() IS NULL;
DROP FUNCTION IF EXISTS pcf_has_touches();
DROP FUNCTION IF EXISTS pcf_delete_touches();
"""


def _install(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        outbox.install_functions(cursor)


class Migration(migrations.Migration):

    dependencies = [("pcf_cache", "0001_outbox")]

    operations = [
        migrations.RunSQL(migrations.RunSQL.noop, REVERSE_SQL),
        migrations.RunPython(_install, migrations.RunPython.noop),
    ]
