"""Writes of every kind, and what they touch; commits, roll-backs, savepoints."""

import pytest
from django.db import transaction

from notes.models import Note, NoteTag
from pcf.cache import invalidation
from pcf.cache.gate import gate
from pcf.cache.invalidation import TouchingQuerySet, flush_type, touch_kinds
from tags.models import Tag
from tests.conftest import make_note, token_for
from users.models import ApiToken, User


@pytest.fixture
def delivered(live_world, monkeypatch):
    """The dependencies of every invalidation that was delivered, as ``kind:key``."""
    names = []
    deliver = invalidation._deliver

    def spy(dependencies):
        names.append(
            {f"{kind}:{key}" for kind, keys in dependencies.items() for key in keys}
            | {f"{kind}!" for kind in dependencies.kinds}
        )
        deliver(dependencies)

    monkeypatch.setattr(invalidation, "_deliver", spy)
    return names


def everything(delivered):
    return set().union(*delivered)


def test_saving_a_note_touches_it_its_author_and_its_tags(live_world, delivered):
    note = live_world.private
    note.title = "new"
    note.save()
    assert everything(delivered) == {
        f"note:{note.pk}",
        "notes:",
        f"notes-by-author:{live_world.ann.pk}",
        f"notes-by-tag:{live_world.red.pk}",
        f"notes-by-tag:{live_world.blue.pk}",
    }


def test_moving_a_note_touches_both_authors_and_only_after_the_write(live_world, delivered):
    note = live_world.public
    note.author = live_world.bob
    note.save()
    assert len(delivered) == 1
    assert f"notes-by-author:{live_world.ann.pk}" in delivered[0]
    assert f"notes-by-author:{live_world.bob.pk}" in delivered[0]


def test_an_instance_made_by_hand_touches_the_stored_author_too(live_world, delivered):
    Note(pk=live_world.public.pk, title="t", author=live_world.bob).save()
    assert f"notes-by-author:{live_world.ann.pk}" in everything(delivered)


def test_deleting_a_user_touches_all_that_goes_with_them(live_world, delivered):
    ann, public, private = live_world.ann.pk, live_world.public.pk, live_world.private.pk
    live_world.ann.delete()
    assert everything(delivered) >= {
        f"user:{ann}",
        "users:",
        f"note:{public}",
        f"note:{private}",
        f"notes-by-author:{ann}",
        f"tags-by-note:{private}",
        f"notes-by-tag:{live_world.blue.pk}",
        "notes:",
    }


@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.public.tags.add(w.blue),
        lambda w: w.public.tags.set([w.blue, w.red]),
        lambda w: NoteTag.objects.create(note=w.public, tag=w.blue),
        lambda w: w.blue.notes.add(w.public),
        lambda w: NoteTag.objects.bulk_create([NoteTag(note=w.public, tag=w.blue)]),
    ],
)
def test_putting_a_tag_on_a_note_touches_both_sides(live_world, delivered, write):
    write(live_world)
    assert everything(delivered) == {
        f"tags-by-note:{live_world.public.pk}",
        f"notes-by-tag:{live_world.blue.pk}",
    }


@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.public.tags.remove(w.red),
        lambda w: w.public.tags.clear(),
        lambda w: w.public.tags.set([]),
        lambda w: NoteTag.objects.filter(note=w.public).delete(),
    ],
)
def test_taking_a_tag_off_a_note_touches_both_sides(live_world, delivered, write):
    write(live_world)
    assert everything(delivered) == {
        f"tags-by-note:{live_world.public.pk}",
        f"notes-by-tag:{live_world.red.pk}",
    }


def test_update_touches_the_rows_before_and_after(live_world, delivered):
    Note.objects.filter(author=live_world.ann).update(author=live_world.bob)
    assert {
        f"note:{live_world.public.pk}",
        f"note:{live_world.private.pk}",
        f"notes-by-author:{live_world.ann.pk}",
        f"notes-by-author:{live_world.bob.pk}",
    } <= everything(delivered)
    assert f"note:{live_world.other.pk}" not in everything(delivered)


def test_update_through_a_related_manager_and_with_expressions(live_world, delivered):
    from django.db.models import F, Value
    from django.db.models.functions import Concat

    live_world.ann.notes.update(title=Concat(F("title"), Value("!")))
    assert f"note:{live_world.public.pk}" in everything(delivered)
    assert set(live_world.ann.notes.values_list("title", flat=True)) == {
        "public of ann!",
        "private of ann!",
    }


def test_bulk_create_bulk_update_and_update_or_create(live_world, delivered):
    made = Note.objects.bulk_create([Note(title="a", author=live_world.bob)])
    assert f"note:{made[0].pk}" in everything(delivered)
    delivered.clear()

    made[0].title = "b"
    Note.objects.bulk_update(made, ["title"])
    assert f"note:{made[0].pk}" in everything(delivered)
    delivered.clear()

    Tag.objects.update_or_create(name="red", defaults={"name": "crimson"})
    assert everything(delivered) == {
        f"tag:{live_world.red.pk}",
        "tag-name:red",
        "tag-name:crimson",
        "tags:",
    }


def test_users_and_tokens(live_world, delivered):
    token_for(live_world.ann)
    token = ApiToken.objects.get()
    ApiToken.objects.filter(pk=token.pk).update(revoked_at="2026-01-01T00:00:00Z")
    User.objects.filter(pk=live_world.bob.pk).update(is_active=False)
    assert everything(delivered) == {
        f"api-token:{token.pk}",
        f"user:{live_world.bob.pk}",
        "users:",
    }


def test_a_write_too_large_to_name_touches_kinds(live_world, delivered, monkeypatch):
    monkeypatch.setattr(invalidation, "LARGE_WRITE", 2)
    Note.objects.update(content="x")
    assert everything(delivered) == {"note!", "notes!", "notes-by-author!", "notes-by-tag!"}
    assert set(Note.objects.values_list("content", flat=True)) == {"x"}
    delivered.clear()

    Tag.objects.bulk_create([Tag(name=f"t{n}") for n in range(3)])
    assert everything(delivered) == {"tag!", "tag-name!", "tags!"}


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
        live_world.red.save()
        with pytest.raises(RuntimeError), transaction.atomic():
            live_world.blue.save()
            raise RuntimeError
        with transaction.atomic():
            live_world.ann.save()
        live_world.bob.save()
    touched = everything(delivered)
    assert f"tag:{live_world.blue.pk}" not in touched
    assert {
        f"tag:{live_world.red.pk}",
        f"user:{live_world.ann.pk}",
        f"user:{live_world.bob.pk}",
    } <= touched


def test_a_sliced_update_is_refused_as_django_refuses_it(live_world):
    with pytest.raises(TypeError, match="slice"):
        Note.objects.all()[:1].update(title="x")


def test_every_model_with_a_rule_has_the_manager_that_sees_bulk_writes(live_world):
    assert {model.__name__ for model in invalidation._rules} == {
        "Note",
        "NoteTag",
        "Tag",
        "User",
        "ApiToken",
    }
    for model in invalidation._rules:
        assert isinstance(model._default_manager.all(), TouchingQuerySet)


def test_loads_that_bypass_django_touch_kinds(live_world, delivered):
    touch_kinds(Tag, NoteTag)
    assert everything(delivered) == {"tag!", "tag-name!", "tags!", "tags-by-note!", "notes-by-tag!"}


def test_flushing_a_type_or_a_row(live_world, ask):
    one = f'{{ note(id: "{live_world.public.pk}") {{ title }} }}'
    tags = "{ tags { name } }"
    ask(one), ask(tags)

    assert flush_type("Tag", live_world.red.pk) == 1
    assert ask(one).cache_status == "pcf; hit"
    assert ask(tags).cache_status != "pcf; hit"
    assert flush_type("Note", live_world.public.pk) == 1
    assert ask(one).cache_status != "pcf; hit"
    assert flush_type("Note") == 1
    with pytest.raises(LookupError, match="ApiToken, Note, NoteTag, Tag, User"):
        flush_type("Nope")
    assert gate().flush() == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.bob.notes.add(w.public),
        lambda w: w.bob.notes.set([w.public, w.other]),
        lambda w: Note._base_manager.filter(pk=w.public.pk).update(author=w.bob),
    ],
)
def test_related_managers_that_move_rows(live_world, delivered, write):
    write(live_world)
    assert {
        f"notes-by-author:{live_world.ann.pk}",
        f"notes-by-author:{live_world.bob.pk}",
    } <= everything(delivered)


def test_deleting_an_instance_that_is_old_or_not_all_there(live_world, delivered):
    old = Note.objects.get(pk=live_world.public.pk)
    Note.objects.filter(pk=old.pk).update(author=live_world.bob)
    delivered.clear()
    old.delete()
    assert f"notes-by-author:{live_world.bob.pk}" in everything(delivered)


def test_bulk_creation_with_conflicts_is_coarse_where_keys_are_not_known(live_world, delivered):
    Tag.objects.bulk_create([Tag(name="new")], ignore_conflicts=True)
    assert "tag!" in everything(delivered)
    delivered.clear()
    Tag.objects.bulk_create(
        [Tag(pk=live_world.red.pk, name="crimson")], None, False, True, ["name"], ["id"]
    )
    assert everything(delivered) == {"tag!", "tag-name!", "tags!"}
