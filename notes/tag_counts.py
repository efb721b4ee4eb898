"""The triggers that count the notes of each tag, and that copy each note's values to its tags.

A row of ``notes_notetag`` has copies of its note's ``created_at`` and ``is_public``, and
``is_deleted``: whether the note lies in the trash. Notes in the trash do not count. A tag that a
transaction puts on a note waits for another transaction that changes the note, or its tags.
Transactions must be READ COMMITTED.

The counters of a tag are several rows, one for each bucket. A transaction locks a bucket until it
ends, so no other transaction writes to the rows of the bucket. Only the 33rd transaction that
writes tags at one time waits. A tag that is deleted in the same transaction has no counters.

The copies and the counters are wrong after writes that no trigger sees: ``DISABLE TRIGGER``,
``session_replication_role = replica``, a restore of the data alone. ``recount`` makes them right.
"""

from typing import Any

from notes.models import BUCKETS

_COPY = """
-- every name is qualified: a search_path of its own would cost as much as the read
CREATE OR REPLACE FUNCTION {schema}.notes_copy_to_tag() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER AS $body$
DECLARE
    created_at pg_catalog.timestamptz;
    is_public pg_catalog.bool;
    is_deleted pg_catalog.bool;
BEGIN
    -- the lock is that of the update in notes_count_tag_write: a weaker one would have to grow
    SELECT n.created_at, n.is_public, n.deleted_at IS NOT NULL
    INTO created_at, is_public, is_deleted
    FROM {schema}.notes_note n WHERE n.id OPERATOR(pg_catalog.=) NEW.note_id FOR NO KEY UPDATE;
    IF FOUND THEN  -- otherwise the note comes later in this transaction
        NEW.created_at := created_at;
        NEW.is_public := is_public;
        NEW.is_deleted := is_deleted;
    END IF;
    RETURN NEW;
END $body$;

CREATE OR REPLACE FUNCTION {schema}.notes_copy_to_tags() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- the plan stays right for a session in which the tables grow
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $body$
BEGIN
    UPDATE {schema}.notes_notetag t SET created_at = a.created_at, is_public = a.is_public,
        is_deleted = a.deleted_at IS NOT NULL
    FROM after_rows a
    WHERE t.note_id = a.id AND (t.created_at, t.is_public, t.is_deleted)
        <> (a.created_at, a.is_public, a.deleted_at IS NOT NULL);
    RETURN NULL;
END $body$;

CREATE OR REPLACE TRIGGER notes_copy BEFORE INSERT OR UPDATE ON {schema}.notes_notetag
FOR EACH ROW EXECUTE FUNCTION {schema}.notes_copy_to_tag();
CREATE OR REPLACE TRIGGER notes_copy_insert AFTER INSERT ON {schema}.notes_note
REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_copy_to_tags();
CREATE OR REPLACE TRIGGER notes_copy_update AFTER UPDATE ON {schema}.notes_note
REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_copy_to_tags();
"""

_COUNT = """
CREATE OR REPLACE FUNCTION {schema}.notes_count_tags() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    tags bigint[];
    totals bigint[];
    publics bigint[];
    own integer := pg_backend_pid() % {buckets};
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM {schema}.notes_tagcount;
        RETURN NULL;
    ELSIF TG_OP = 'INSERT' THEN
        SELECT array_agg(c.tag_id), array_agg(c.total), array_agg(c.public)
        INTO tags, totals, publics
        FROM (
            SELECT a.tag_id, count(*) AS total, count(*) FILTER (WHERE a.is_public) AS public
            FROM after_rows a WHERE NOT a.is_deleted GROUP BY a.tag_id
        ) c;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(c.tag_id), array_agg(-c.total), array_agg(-c.public)
        INTO tags, totals, publics
        FROM (
            SELECT b.tag_id, count(*) AS total, count(*) FILTER (WHERE b.is_public) AS public
            FROM before_rows b WHERE NOT b.is_deleted GROUP BY b.tag_id
        ) c;
    ELSE
        SELECT array_agg(c.tag_id), array_agg(c.total), array_agg(c.public)
        INTO tags, totals, publics
        FROM (
            SELECT d.tag_id, sum(d.sign) AS total, sum(d.sign * d.is_public::integer) AS public
            FROM (
                SELECT a.tag_id, a.is_public, 1 AS sign FROM after_rows a WHERE NOT a.is_deleted
                UNION ALL
                SELECT b.tag_id, b.is_public, -1 FROM before_rows b WHERE NOT b.is_deleted
            ) d GROUP BY d.tag_id
        ) c WHERE c.total <> 0 OR c.public <> 0;
    END IF;
    IF tags IS NULL THEN
        RETURN NULL;
    END IF;
    FOR step IN 1..{buckets} LOOP
        EXIT WHEN pg_try_advisory_xact_lock(TG_RELID::integer, own);
        own := (own + 1) % {buckets};
        IF step = {buckets} THEN
            PERFORM pg_advisory_xact_lock(TG_RELID::integer, own);
        END IF;
    END LOOP;
    INSERT INTO {schema}.notes_tagcount AS t (tag_id, bucket, total, public)
    SELECT c.tag_id, own, c.total, c.public
    FROM unnest(tags, totals, publics) AS c (tag_id, total, public)
    WHERE EXISTS (SELECT FROM {schema}.tags_tag g WHERE g.id = c.tag_id)
    ORDER BY c.tag_id
    ON CONFLICT (tag_id, bucket) DO UPDATE
    SET total = t.total + EXCLUDED.total, public = t.public + EXCLUDED.public;
    RETURN NULL;
END $body$;

CREATE OR REPLACE TRIGGER notes_count_insert AFTER INSERT ON {schema}.notes_notetag
REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_count_tags();
CREATE OR REPLACE TRIGGER notes_count_update AFTER UPDATE ON {schema}.notes_notetag
REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_count_tags();
CREATE OR REPLACE TRIGGER notes_count_delete AFTER DELETE ON {schema}.notes_notetag
REFERENCING OLD TABLE AS before_rows
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_count_tags();
CREATE OR REPLACE TRIGGER notes_count_truncate AFTER TRUNCATE ON {schema}.notes_notetag
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.notes_count_tags();
"""

_RECOUNT = """
LOCK TABLE {schema}.notes_note, {schema}.notes_notetag IN SHARE ROW EXCLUSIVE MODE;
UPDATE {schema}.notes_notetag t SET created_at = n.created_at, is_public = n.is_public,
    is_deleted = n.deleted_at IS NOT NULL
FROM {schema}.notes_note n
WHERE n.id = t.note_id AND (t.created_at, t.is_public, t.is_deleted)
    <> (n.created_at, n.is_public, n.deleted_at IS NOT NULL);
DELETE FROM {schema}.notes_tagcount;
INSERT INTO {schema}.notes_tagcount (tag_id, bucket, total, public)
SELECT tag_id, 0, count(*), count(*) FILTER (WHERE is_public)
FROM {schema}.notes_notetag WHERE NOT is_deleted GROUP BY tag_id;
"""

_REMOVE = """
DROP FUNCTION IF EXISTS {schema}.notes_count_tags() CASCADE;
DROP FUNCTION IF EXISTS {schema}.notes_copy_to_tags() CASCADE;
DROP FUNCTION IF EXISTS {schema}.notes_copy_to_tag() CASCADE;
"""


def install(cursor: Any) -> None:
    """Create the functions and the triggers, or bring them up to date."""
    execute(cursor, _COPY + _COUNT)


def recount(cursor: Any) -> None:
    """Copy and count everything anew. Call it in a transaction; other writers wait for its end."""
    execute(cursor, _RECOUNT)


def remove(cursor: Any) -> None:
    """Drop the functions and the triggers."""
    execute(cursor, _REMOVE)


def execute(cursor: Any, sql: str) -> None:
    """Execute ``sql`` with the names of the schema and the number of buckets in its braces."""
    cursor.execute("SELECT pg_catalog.quote_ident(pg_catalog.current_schema())")
    (schema,) = cursor.fetchone()
    cursor.execute(sql.replace("{schema}", schema).replace("{buckets}", str(BUCKETS)))
