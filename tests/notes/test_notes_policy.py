"""The rule in SQL and the rule in Python agree."""

from itertools import product

import pytest
from django.db.models import Q
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from notes.models import Note
from notes.policy import may_read, may_write, own_trash, restorable_notes, visible_notes
from pcf.viewer import ANONYMOUS, Viewer
from users.models import User

AUTHOR, OTHER, STAFF = Viewer(1), Viewer(2), Viewer(3, is_staff=True)


@pytest.mark.parametrize(
    ("viewer", "is_public", "reads", "writes"),
    [
        (ANONYMOUS, True, True, False),
        (ANONYMOUS, False, False, False),
        (OTHER, True, True, False),
        (OTHER, False, False, False),
        (AUTHOR, True, True, True),
        (AUTHOR, False, True, True),
        (STAFF, True, True, True),
        (STAFF, False, True, True),
    ],
)
def test_permissions_to_read_and_write(viewer, is_public, reads, writes) -> None:
    note = Note(author_id=AUTHOR.id, is_public=is_public)
    assert may_read(viewer, note) is reads
    assert may_write(viewer, note) is writes
    note.deleted_at = timezone.now()
    assert not may_read(viewer, note)


def test_an_anonymous_viewer_is_not_the_author_of_an_unsaved_note() -> None:
    assert not may_write(ANONYMOUS, Note(author_id=None))


class VisibleNotesTest(TestCase):
    """A class, because hypothesis rolls the database back between examples only for test cases."""

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), max_size=12),
        st.lists(st.booleans(), min_size=3, max_size=3),
    )
    def test_lists_hold_exactly_the_readable_notes(self, notes, staff) -> None:
        users = [
            User.objects.create(username=f"user{index}", name="A User", is_staff=is_staff)
            for index, is_staff in enumerate(staff)
        ]
        for author, is_public, is_deleted in notes:
            Note.objects.create(
                author=users[author], title="note", is_public=is_public,
                deleted_at=timezone.now() if is_deleted else None,
            )  # fmt: skip

        everything = list(Note.objects.all())
        viewers = [ANONYMOUS, *(Viewer(user.pk, user.is_staff) for user in users)]
        for viewer in viewers:
            listed = set(Note.objects.filter(visible_notes(viewer)))
            assert listed == {note for note in everything if may_read(viewer, note)}
            trash = set(Note.objects.filter(restorable_notes(viewer)))
            assert {note for note in everything if may_write(viewer, note)} <= listed | trash
            deleted = {note for note in everything if note.deleted_at is not None}
            assert trash == {note for note in deleted if may_write(viewer, note)}
            own = {note for note in deleted if note.author_id == viewer.id}
            assert set(Note.objects.filter(own_trash(viewer))) == own <= trash


def test_every_rule_is_a_condition_that_combines(db: None) -> None:
    ann = User.objects.create(username="ann", name="Ann")
    for is_public, title in product((True, False), ("this", "that")):
        Note.objects.create(author=ann, title=title, is_public=is_public)

    def count(viewer: Viewer) -> int:
        return Note.objects.filter(visible_notes(viewer) & Q(title="this")).count()

    assert (count(ANONYMOUS), count(Viewer(ann.pk)), count(STAFF)) == (1, 2, 2)
