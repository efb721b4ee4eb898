"""The triggers that count the writes of each note in its ``version``.

A version grows by one with each update of its note that changes a column. A trigger behind the
statement updates the version; other transactions see both updates at once. A writer may make a
version greater, never smaller.

A statement that adds, removes or moves tags of a note updates the version, too. A note that the
same transaction has written before is left out: no other transaction has seen its last version. So
a load of notes with their tags writes each note once.

An update that changes no column leaves the version, and generated columns do not count. So does a
write that no trigger of rows sees: ``DISABLE TRIGGER``, ``session_replication_role = replica``,
``TRUNCATE`` of the tags on notes.
"""

from typing import Any

from notes.tag_counts import execute

_INSTALL = """
CREATE OR REPLACE FUNCTION {schema}.notes_count_write() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- the plan stays right for a session in which the statements grow
SET enable_nestloop = off SET enable_seqscan = off AS $body$
DECLARE
    changed bigint[];
    stale bigint[];
    versions integer[];
    some_are_unchanged boolean;
BEGIN
    -- A greater version is the update below, or one for tags. A smaller one is a copy of an older
    -- row that a writer had. The largest column stands last: most comparisons end before it.
    SELECT array_agg(a.id) FILTER (WHERE w.counts AND (a.version < b.version) IS NOT TRUE),
        array_agg(a.id) FILTER (WHERE a.version < b.version),
        array_agg(b.version + w.counts::integer) FILTER (WHERE a.version < b.version),
        bool_or(NOT w.counts)
    INTO changed, stale, versions, some_are_unchanged
    FROM after_rows a LEFT JOIN before_rows b ON b.id = a.id,
        LATERAL (
            SELECT b.id IS NULL OR
            ROW(a.is_public, a.author_id, a.created_at, a.updated_at, a.deleted_at, a.title,
                a.content)
            IS DISTINCT FROM
            ROW(b.is_public, b.author_id, b.created_at, b.updated_at, b.deleted_at, b.title,
                b.content) AS counts
        ) w
    WHERE (a.version > b.version) IS NOT TRUE;
    IF changed IS NOT NULL THEN
        UPDATE {schema}.notes_note n SET version = n.version + 1 WHERE n.id = ANY (changed);
    END IF;
    FOR place IN 1..COALESCE(cardinality(stale), 0) LOOP
        UPDATE {schema}.notes_note n SET version = versions[place] WHERE n.id = stale[place];
    END LOOP;
    IF some_are_unchanged THEN
        -- these rows have the transaction's number, and their versions have not grown
        PERFORM set_config('notes.unchanged_in', pg_current_xact_id()::text, true);
    END IF;
    RETURN NULL;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.notes_count_tag_write() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- the plan stays right for a session in which the statements grow
SET enable_nestloop = off SET enable_seqscan = off AS $body$
DECLARE
    notes bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT a.note_id) INTO notes FROM after_rows a;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(DISTINCT b.note_id) INTO notes FROM before_rows b;
    ELSE
        SELECT array_agg(DISTINCT moved.note_id) INTO notes FROM (
            (SELECT a.id, a.note_id, a.tag_id FROM after_rows a
             EXCEPT SELECT b.id, b.note_id, b.tag_id FROM before_rows b)
            UNION ALL
            (SELECT b.id, b.note_id, b.tag_id FROM before_rows b
             EXCEPT SELECT a.id, a.note_id, a.tag_id FROM after_rows a)
        ) moved;
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

-- No trigger BEFORE UPDATE: with one, PostgreSQL computes the search vector for every update.
DROP TRIGGER IF EXISTS notes_version ON {schema}.notes_note;
CREATE TRIGGER notes_version AFTER UPDATE ON {schema}.notes_note
REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_count_write();
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
