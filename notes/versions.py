"""The triggers that count the writes of each note in its ``version``.

A version grows by one with each update of its note that changes a column. A statement that adds,
removes or moves tags of a note updates the version, too. A note that the same transaction has
written before is left out: no other transaction has seen its last version. So a load of notes with
their tags writes each note once.

An update that changes no column leaves the version, and generated columns do not count. So does a
write that no trigger of rows sees: ``DISABLE TRIGGER``, ``session_replication_role = replica``,
``TRUNCATE`` of the tags on notes.
"""

from typing import Any

from notes.tag_counts import execute

_INSTALL = """
CREATE OR REPLACE FUNCTION {schema}.notes_count_write() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    -- The writer's own value is a copy of an older row. A greater one is the update below.
    IF NEW.version > OLD.version OR (
        ROW(NEW.id, NEW.title, NEW.content, NEW.author_id, NEW.is_public, NEW.created_at,
            NEW.updated_at, NEW.deleted_at)
        IS DISTINCT FROM
        ROW(OLD.id, OLD.title, OLD.content, OLD.author_id, OLD.is_public, OLD.created_at,
            OLD.updated_at, OLD.deleted_at)
    ) THEN
        NEW.version := OLD.version + 1;
    ELSE
        NEW.version := OLD.version;
        -- this row has the transaction's number, and its version has not grown
        PERFORM set_config('notes.unchanged_in', pg_current_xact_id()::text, true);
    END IF;
    RETURN NEW;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.notes_count_tag_write() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- the plan stays right for a session in which the tables grow
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $body$
DECLARE
    notes bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT a.note_id) INTO notes FROM after_rows a;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(DISTINCT b.note_id) INTO notes FROM before_rows b;
    ELSE
        SELECT array_agg(DISTINCT changed.note_id) INTO notes
        FROM before_rows b JOIN after_rows a ON a.id = b.id,
            LATERAL (VALUES (a.note_id), (b.note_id)) AS changed (note_id)
        WHERE (a.note_id, a.tag_id) <> (b.note_id, b.tag_id);
    END IF;
    IF notes IS NOT NULL THEN
        PERFORM FROM {schema}.notes_note n WHERE n.id = ANY (notes) ORDER BY n.id
        FOR NO KEY UPDATE;
        UPDATE {schema}.notes_note n SET version = n.version + 1
        WHERE n.id = ANY (notes) AND (
            n.xmin <> pg_current_xact_id()::xid
            OR current_setting('notes.unchanged_in', true) = pg_current_xact_id()::text
        );
    END IF;
    RETURN NULL;
END $body$;

CREATE OR REPLACE TRIGGER notes_version BEFORE UPDATE ON {schema}.notes_note
FOR EACH ROW EXECUTE FUNCTION {schema}.notes_count_write();
CREATE OR REPLACE TRIGGER notes_version_insert AFTER INSERT ON {schema}.notes_notetag
REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_count_tag_write();
CREATE OR REPLACE TRIGGER notes_version_update AFTER UPDATE ON {schema}.notes_notetag
REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_count_tag_write();
CREATE OR REPLACE TRIGGER notes_version_delete AFTER DELETE ON {schema}.notes_notetag
REFERENCING OLD TABLE AS before_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_count_tag_write();
"""

_REMOVE = """
DROP FUNCTION IF EXISTS {schema}.notes_count_tag_write() CASCADE;
DROP FUNCTION IF EXISTS {schema}.notes_count_write() CASCADE;
"""


def install(cursor: Any) -> None:
    """Create the functions and the triggers, or bring them up to date."""
    execute(cursor, _INSTALL)


def remove(cursor: Any) -> None:
    """Drop the functions and the triggers."""
    execute(cursor, _REMOVE)
