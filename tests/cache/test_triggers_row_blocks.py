"""A page of a list depends on the blocks of primary keys that it covers, and on no others."""

from random import Random

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from notes.models import Note
from pcf.execution.dependencies import BLOCK_BITS, MAX_BLOCKS, WHOLE, blocks_between, has_blocks

HIT = "pcf; hit"
BLOCK = 1 << BLOCK_BITS
ids = st.integers(-(2**40), 2**40) | st.integers(0, 3 * BLOCK * MAX_BLOCKS)


@given(ids, st.integers(1, 2 * BLOCK * MAX_BLOCKS), st.data())
def test_every_row_of_a_page_is_in_a_block_of_the_page(after, length, data):
    last = after + length
    row = data.draw(st.integers(after + 1, last))
    covered = set(blocks_between(after, last))
    assert covered == {WHOLE} or row >> BLOCK_BITS in covered
    assert len(covered) <= MAX_BLOCKS


@pytest.mark.django_db
@given(st.integers(-(2**40), 2**40))
def test_postgresql_and_python_agree_on_the_block_of_a_row(key):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::bigint >> %s", [key, BLOCK_BITS])
        assert cursor.fetchone() == (key >> BLOCK_BITS,)


def test_models_without_integer_keys_have_no_blocks():
    from django.contrib.sessions.models import Session

    assert has_blocks(Note)
    assert not has_blocks(Session)


def page(first, after=0):
    return f'{{ notes(first: {first}, after: "{after}") {{ id title }} }}'


@pytest.fixture
def placed(live_world):
    """``placed(pk)`` makes a public note of ann with this primary key."""

    def place(pk):
        return Note.objects.create(pk=pk, title=f"note {pk}", author=live_world.ann, is_public=True)

    Note.objects.all().delete()
    return place


@pytest.fixture
def statuses(ask):
    """``statuses(queries)`` returns the Cache-Status of each."""
    return lambda queries: [ask(query).cache_status for query in queries]


def test_a_new_note_leaves_the_full_pages_before_it(placed, statuses):
    for pk in (1, 2, 3, 4, 5 * BLOCK):
        placed(pk)
    full = [page(2), page(2, 2), page(1)]
    open_ended = [page(10), page(4, 2), page(2, 4), page(1, 5 * BLOCK)]
    statuses(full + open_ended)
    assert statuses(full + open_ended) == [HIT] * 7

    placed(9 * BLOCK)
    assert statuses(full) == [HIT] * 3
    assert HIT not in statuses(open_ended)


@pytest.mark.parametrize(
    "write",
    [
        lambda note: Note.objects.filter(pk=note.pk).update(is_public=False),
        lambda note: note.delete(),
        lambda note: Note.objects.filter(pk=note.pk).update(id=3 * BLOCK),
    ],
    ids=["hidden", "deleted", "moved"],
)
def test_a_note_that_leaves_a_page_invalidates_the_pages_over_its_key(placed, statuses, write):
    for number in range(6):
        placed(1 + number * BLOCK)
    pages = [page(1, number * BLOCK) for number in range(5)]
    statuses(pages)
    write(Note.objects.get(pk=1 + BLOCK))
    hits = [status == HIT for status in statuses(pages)]
    assert not hits[1]
    assert hits[0]
    assert hits[4]


def test_a_note_that_is_published_enters_the_page_that_skipped_it(placed, ask, statuses):
    for pk in (1, 2, 3, BLOCK + 1):
        placed(pk)
    Note.objects.filter(pk=2).update(is_public=False)
    pages = [page(2), page(1, BLOCK)]
    statuses(pages)
    Note.objects.filter(pk=2).update(is_public=True)
    assert [note["id"] for note in ask(page(2)).data["notes"]] == ["1", "2"]
    assert statuses(pages[1:]) == [HIT]


def write_anything(random, place, span):
    """Write to a random note, or make one."""
    notes = {note.pk: note for note in Note.objects.all()}
    note = random.choice(list(notes.values()))
    same = Note.objects.filter(pk=note.pk)
    free = random.choice([pk for pk in range(1, span + BLOCK) if pk not in notes])
    kind = random.choice(["place", "toggle", "delete", "rename", "move", "create"])
    if kind == "place":
        place(free)
    elif kind == "toggle":
        same.update(is_public=not note.is_public)
    elif kind == "delete" and len(notes) > 3:
        note.delete()
    elif kind == "rename":
        same.update(title=f"{note.title}!")
    elif kind == "move":
        same.update(id=free)
    else:  # after all others, as a new row
        place(max(notes) + 1)


@pytest.mark.parametrize("seed", range(6))
def test_random_pages_are_never_older_than_random_writes(placed, ask, seed):
    random = Random(seed)
    span = random.choice([20, 3 * BLOCK, 40 * BLOCK])
    for pk in random.sample(range(1, span), 12):
        placed(pk)
    queries = [page(random.randint(1, 6), random.randint(0, span)) for _ in range(8)]
    for _ in range(25):
        for query in queries:
            ask(query)
        write_anything(random, placed, span)
        for query in queries:
            assert ask(query).data == ask(query, **{"Cache-Control": "no-store"}).data
