"""The merging of tags in bounded steps.

Each step is a transaction of its own, which moves at most ROWS notes to the tag that stays. The
last step moves what is left and deletes the other tags. A merge that ends early has moved some
notes as a whole, and the same merge again continues it.
"""

from collections.abc import Callable, Iterator, Sequence

from django.db import connection

from notes.models import NoteTag
from pcf.database.deletion import ROWS
from pcf.database.transactions import run_transaction
from pcf.execution.mutations import refusal
from tags.models import Tag

_SOME_LINKS = """
SELECT id FROM notes_notetag WHERE tag_id = ANY (%s) ORDER BY tag_id, note_id LIMIT %s
"""
_COPY_LINKS = """
INSERT INTO notes_notetag (note_id, tag_id)
SELECT DISTINCT note_id, %s::bigint FROM notes_notetag WHERE id = ANY (%s)
ORDER BY note_id ON CONFLICT (note_id, tag_id) DO NOTHING
"""


def merge_in_steps(
    merged: Sequence[int], kept: int, watch: Callable[[], None], *, size: int = ROWS
) -> Iterator[int]:
    """Move the notes of the tags ``merged`` to the tag ``kept``, and delete the tags.

    The function yields the number of links that each step has moved. ``watch`` is called in the
    transaction that deletes the tags. Raises a refusal when ``kept`` is gone.
    """

    def step() -> int:
        locked = Tag.objects.filter(pk__in=[kept, *merged]).order_by("pk")
        if kept not in locked.select_for_update().values_list("pk", flat=True):
            raise refusal("NOT_FOUND", "There is no such tag.", "intoId")
        with connection.cursor() as cursor:
            cursor.execute(_SOME_LINKS, [list(merged), size])
            links = [key for (key,) in cursor.fetchall()]
            cursor.execute(_COPY_LINKS, [kept, links])
        NoteTag.objects.filter(pk__in=links).delete()
        if len(links) < size:  # no new link has come: the tags are locked
            watch()
            Tag.objects.filter(pk__in=merged).delete()
        return len(links)

    moved = size
    while moved == size:
        moved = run_transaction(step)
        yield moved
