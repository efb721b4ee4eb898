"""The deletion of notes for ever, in one statement a batch: in the trash, and with their authors.

A statement deletes the notes before their tags. So no version of a note grows for it
(``notes.versions``); the foreign keys are checked at the end of the transaction.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from notes.models import Note
from pcf.database.deletion import deletes

_DELETE = """
WITH gone AS (
    DELETE FROM notes_note WHERE id = ANY (%s) RETURNING id
), links AS (
    DELETE FROM notes_notetag t USING gone WHERE t.note_id = gone.id RETURNING t.id
)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM links)
"""

_PURGE = """
WITH gone AS (
    DELETE FROM notes_note WHERE id = ANY (%s) AND deleted_at IS NOT NULL RETURNING id
), links AS (
    DELETE FROM notes_notetag t USING gone WHERE t.note_id = gone.id
)
SELECT count(*) FROM gone
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
SELECT count(*) FROM gone
"""


@deletes(Note)
def delete(note_ids: Sequence[int]) -> int:
    """Delete notes and their tags for ever; return the number of notes and of tags on them."""
    with connection.cursor() as cursor:
        cursor.execute(_DELETE, [list(note_ids)])
        (count,) = cursor.fetchone()
    return int(count)


def purge(note_ids: Sequence[int]) -> int:
    """Delete those of the notes that lie in the trash for ever, and return their number."""
    with connection.cursor() as cursor:
        cursor.execute(_PURGE, [list(note_ids)])
        (count,) = cursor.fetchone()
    return int(count)


def purge_before(moment: datetime, limit: int) -> int:
    """Delete notes that were moved to the trash before ``moment``, the oldest first.

    The function deletes ``limit`` notes at most, and returns their number. It passes over notes
    that another transaction has locked.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PURGE_OLD, [moment, limit])
        (count,) = cursor.fetchone()
    return int(count)
