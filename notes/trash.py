"""The deletion of notes for ever, in one statement a batch: in the trash, and with their authors.

A statement deletes the notes before their tags. So no version of a note grows for it
(``notes.versions``); the foreign keys are checked at the end of the transaction. The stored answers
to mutations with an idempotency key go, too, where they show one of the notes.

The functions need a transaction around them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from notes.models import Note
from pcf.database.deletion import deletes
from pcf.http.idempotency import forget_answers

_DELETE = """
WITH gone AS (
    DELETE FROM notes_note WHERE id = ANY (%s) RETURNING id
), links AS (
    DELETE FROM notes_notetag t USING gone WHERE t.note_id = gone.id RETURNING t.id
)
SELECT (SELECT array_agg(id) FROM gone), (SELECT count(*) FROM links)
"""

_PURGE = """
WITH gone AS (
    DELETE FROM notes_note WHERE id = ANY (%s) AND deleted_at IS NOT NULL RETURNING id
), links AS (
    DELETE FROM notes_notetag t USING gone WHERE t.note_id = gone.id
)
SELECT array_agg(id), 0 FROM gone
"""

_PURGE_OLD = """
WITH old AS (
    SELECT id FROM notes_note WHERE deleted_at < %s ORDER BY deleted_at, id LIMIT %s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM notes_note n USING old WHERE n.id = old.id RETURNING n.id
), links AS (
    DELETE FROM notes_notetag t USING gone WHERE t.note_id = gone.id
)
SELECT array_agg(id), 0 FROM gone
"""


@deletes(Note)
def delete(note_ids: Sequence[int]) -> int:
    """Delete notes and their tags for ever; return the number of notes and of tags on them."""
    return _run(_DELETE, list(note_ids))


def purge(note_ids: Sequence[int]) -> int:
    """Delete those of the notes that lie in the trash for ever, and return their number."""
    return _run(_PURGE, list(note_ids))


def purge_before(moment: datetime, limit: int) -> int:
    """Delete notes that were moved to the trash before ``moment``, the oldest first.

    The function deletes ``limit`` notes at most, and returns their number. It passes over notes
    that another transaction has locked.
    """
    return _run(_PURGE_OLD, moment, limit)


def _run(sql: str, *values: Any) -> int:
    """Delete notes, and the stored answers that show them; return the number of rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        keys, links = cursor.fetchone()
    if keys:
        forget_answers("note", keys)
    return len(keys or ()) + int(links)
