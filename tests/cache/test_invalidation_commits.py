"""Commits, roll-backs and savepoints: what a transaction touches, and when Redis learns of it."""

import pytest
from django.db import IntegrityError, transaction

from notes.models import Note
from tests.cache.names import everything
from tests.conftest import make_note


def rename(instance):
    instance.name += "!"
    instance.save()


def test_nothing_is_delivered_before_the_commit_and_all_at_once_after_it(live_world, delivered):
    with transaction.atomic():
        make_note(live_world.ann, "one", live_world.red)
        live_world.public.delete()
        assert delivered == []
    assert len(delivered) == 1


def test_a_rolled_back_write_touches_nothing(live_world, delivered):
    with pytest.raises(RuntimeError), transaction.atomic():
        make_note(live_world.ann, "one")
        raise RuntimeError
    assert delivered == []


def test_savepoints_are_respected(live_world, delivered):
    with transaction.atomic():
        rename(live_world.red)
        with pytest.raises(RuntimeError), transaction.atomic():
            rename(live_world.blue)
            raise RuntimeError
        with transaction.atomic():
            rename(live_world.ann)
        rename(live_world.bob)
    touched = everything(delivered)
    assert f"tag:{live_world.blue.pk}" not in touched
    assert {
        f"tag:{live_world.red.pk}",
        f"user:{live_world.ann.pk}",
        f"user:{live_world.bob.pk}",
    } <= touched


def test_a_commit_that_fails_on_a_deferred_constraint_touches_nothing(live_world, delivered):
    with pytest.raises(IntegrityError), transaction.atomic():
        rename(live_world.red)
        Note.objects.filter(pk=live_world.public.pk).update(author_id=0)
    assert delivered == []
    live_world.red.refresh_from_db()
    assert live_world.red.name == "red"


def test_a_failing_on_commit_hook_stops_no_invalidation(live_world, delivered):
    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError), transaction.atomic():
        transaction.on_commit(fail)
        rename(live_world.red)
    assert f"tag:{live_world.red.pk}" in everything(delivered)


def test_commits_by_hand(live_world, delivered):
    transaction.set_autocommit(False)
    try:
        rename(live_world.red)
        transaction.rollback()
        assert delivered == []
        live_world.red.refresh_from_db()
        rename(live_world.red)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert f"tag:{live_world.red.pk}" in everything(delivered)
