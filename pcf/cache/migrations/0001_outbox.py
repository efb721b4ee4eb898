"""Create the outbox, and the function that takes the rows of a transaction out of it."""

from django.db import migrations

from pcf.cache.invalidation import forget_outbox

SQL = """
CREATE TABLE pcf_touch (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    names text[] NOT NULL
) WITH (
    -- rows live for a transaction only: without them there is nothing to vacuum but their remains
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 1000000000
);
CREATE INDEX pcf_touch_transaction ON pcf_touch (transaction);
COMMENT ON TABLE pcf_touch IS 'what committed transactions touched and the response cache does not know yet';

-- What the transaction touched so far, taken out of the outbox: no row when that is nothing.
-- Deferred constraints are checked first, so that what fails on them touches nothing.
CREATE FUNCTION pcf_take_touches(OUT transaction text, OUT names text[]) RETURNS SETOF record
LANGUAGE plpgsql AS $body$
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
"""

# a handler of the signal post_migrate installs the functions of the triggers
REVERSE_SQL = r"""
DO $body$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'pcf\_touch\_%'
    LOOP
        EXECUTE 'DROP FUNCTION ' || function || ' CASCADE';
    END LOOP;
END $body$;
DROP FUNCTION IF EXISTS pcf_has_touches();
DROP FUNCTION IF EXISTS pcf_delete_touches();
DROP FUNCTION pcf_take_touches();
DROP TABLE pcf_touch;
"""


def _forget(apps, schema_editor):
    """Let the COMMIT of the migration take nothing out of the outbox that it drops."""
    forget_outbox(schema_editor.connection)


class Migration(migrations.Migration):

    initial = True

    dependencies = []

    operations = [
        migrations.RunSQL(SQL, REVERSE_SQL),
        migrations.RunPython(migrations.RunPython.noop, _forget),
    ]
