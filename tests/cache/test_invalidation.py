"""Writes of every kind, and the names that they touch."""

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat

from notes.models import Note, NoteTag
from pcf.cache.invalidation import touch
from pcf.cache.redis_gateway import RedisGateway
from pcf.execution.dependencies import Dependencies
from tags.models import Tag
from tests.cache.names import everything, list_of, name_of
from tests.conftest import token_for
from users.models import ApiToken, User


def sql(statement, *rows):
    with connection.cursor() as cursor:
        cursor.execute(statement, [row.pk for row in rows])


def sides(world):
    return world.public, world.blue


def of_rows(grown):
    """Leave out the invalidations of columns of lists."""
    return {name: value for name, value in grown.items() if "." not in name}


def test_a_save_without_a_visible_change_touches_nothing(live_world, delivered):
    live_world.red.save()
    live_world.ann.password = "new"
    live_world.ann.last_login = "2026-01-01T00:00:00Z"
    live_world.ann.save()
    token_for(live_world.ann)
    delivered.clear()
    ApiToken.objects.update(last_used_at="2026-01-01T00:00:00Z", name="other")
    assert delivered == []


def test_renaming_a_note_touches_nothing_else(live_world, delivered, grown):
    note = live_world.private
    note.title = "new"
    note.save()
    assert everything(delivered) == {f"note:{note.pk}"}
    assert of_rows(grown()) == {"invalidations note": 1}


def test_publishing_a_note_touches_its_author_and_its_tags(live_world, delivered, grown):
    note = live_world.private
    note.is_public = True
    note.save()
    assert everything(delivered) == {
        f"note:{note.pk}",
        *list_of("notes", note),
        f"notes-by-author:{live_world.ann.pk}",
        f"notes-by-tag:{live_world.red.pk}",
        f"notes-by-tag:{live_world.blue.pk}",
    }
    kinds = {name.partition(":")[0] for name in everything(delivered)}
    assert of_rows(grown()) == {f"invalidations {kind}": 1 for kind in kinds}


def test_moving_a_note_touches_both_authors_and_only_after_the_write(live_world, delivered):
    note = live_world.public
    note.author = live_world.bob
    note.save()
    assert len(delivered) == 1
    assert f"notes-by-author:{live_world.ann.pk}" in delivered[0]
    assert f"notes-by-author:{live_world.bob.pk}" in delivered[0]


def test_an_instance_with_another_author_touches_the_stored_author_too(live_world, delivered):
    Note(pk=live_world.public.pk, title="t", author=live_world.bob).save()
    assert f"notes-by-author:{live_world.ann.pk}" in everything(delivered)


def test_deleting_a_user_touches_all_rows_that_cascade(live_world, delivered):
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
        lambda w: sql(
            "INSERT INTO notes_notetag (note_id, tag_id) SELECT %s, %s", w.public, w.blue
        ),
    ],
)
def test_putting_a_tag_on_a_note_touches_both_sides(live_world, delivered, write):
    write(live_world)
    assert everything(delivered) == {
        f"note:{live_world.public.pk}",  # its version
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
        lambda w: NoteTag.objects.filter(note=w.public)._raw_delete("default"),
        lambda w: sql("DELETE FROM notes_notetag WHERE note_id = %s", w.public),
    ],
)
def test_taking_a_tag_off_a_note_touches_both_sides(live_world, delivered, write):
    write(live_world)
    assert everything(delivered) == {
        f"note:{live_world.public.pk}",  # its version
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
        name_of("red"),
        name_of("crimson"),
    }


def test_users_and_tokens(live_world, delivered):
    token_for(live_world.ann)
    token = ApiToken.objects.get()
    ApiToken.objects.filter(pk=token.pk).update(revoked_at="2026-01-01T00:00:00Z")
    User.objects.filter(pk=live_world.bob.pk).update(is_active=False)
    assert everything(delivered) == {
        f"api-token:{token.pk}", f"tokens-by-user:{live_world.ann.pk}",
        f"account:{live_world.bob.pk}",
    }  # fmt: skip
    delivered.clear()

    User.objects.filter(pk=live_world.bob.pk).update(name="Bo")
    assert everything(delivered) == {f"user:{live_world.bob.pk}"}
    delivered.clear()

    new = User.objects.create(name="Eve", email="eve@example.org")
    assert everything(delivered) == {f"user:{new.pk}", f"account:{new.pk}"} | list_of("users", new)


def test_a_write_too_large_to_name_touches_kinds(live_world, delivered):
    Tag.objects.bulk_create([Tag(name=f"t{n}") for n in range(1_001)])
    assert everything(delivered) == {"tag!", "tag-name!", "tags!"}
    delivered.clear()

    Tag.objects.filter(name__startswith="t").update(name=Concat(F("name"), Value("!")))
    assert everything(delivered) == {"tag!", "tag-name!", "tags!"}
    delivered.clear()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE notes_notetag")
    assert everything(delivered) == {"tags-by-note!", "notes-by-tag!"}


def test_copy_touches_the_rows(live_world, delivered):
    with connection.cursor() as cursor, cursor.copy("COPY tags_tag (name) FROM STDIN") as copy:
        copy.write_row(["copied"])
    assert name_of("copied") in everything(delivered)


def test_django_refuses_a_sliced_update(live_world):
    with pytest.raises(TypeError, match="slice"):
        Note.objects.all()[:1].update(title="x")


def test_touch_invalidates_what_triggers_cannot_see(live_world, delivered):
    dependencies = Dependencies()
    dependencies.add("weather", (7,))
    dependencies.add_kind("season")
    with pytest.raises(RuntimeError), transaction.atomic():
        touch(dependencies)
        raise RuntimeError
    touch(Dependencies())
    assert delivered == []
    touch(dependencies)
    assert everything(delivered) == {"weather:7", "season!"}


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


def test_deleting_a_stale_instance_touches_the_stored_row(live_world, delivered):
    old = Note.objects.get(pk=live_world.public.pk)
    Note.objects.filter(pk=old.pk).update(author=live_world.bob)
    delivered.clear()
    old.delete()
    assert f"notes-by-author:{live_world.bob.pk}" in everything(delivered)


def test_bulk_creation_with_conflicts(live_world, delivered):
    Tag.objects.bulk_create([Tag(name="new"), Tag(name="red")], ignore_conflicts=True)
    made = Tag.objects.get(name="new")
    assert everything(delivered) == {f"tag:{made.pk}", name_of("new")} | list_of("tags", made)
    delivered.clear()
    Tag.objects.bulk_create(
        [Tag(pk=live_world.red.pk, name="crimson")], None, False, True, ["name"], ["id"]
    )
    assert everything(delivered) == {
        f"tag:{live_world.red.pk}", name_of("red"), name_of("crimson"),
    }  # fmt: skip


def test_a_proxy_model_touches_what_its_model_touches(live_world, delivered):
    proxy = type(
        "Hue", (Tag,), {"__module__": "tags.models", "Meta": type("Meta", (), {"proxy": True})}
    )
    try:
        found = proxy.objects.get(pk=live_world.red.pk)
        found.name += "!"
        found.save()
    finally:
        del apps.all_models["tags"]["hue"]
        apps.clear_cache()
    assert f"tag:{live_world.red.pk}" in everything(delivered)


def test_columns_of_lists(live_world, monkeypatch):
    """A write touches the columns by which lists are sorted and filtered, where it changes them."""
    touched = []
    block = RedisGateway.block

    def spy(self, transaction, marked):
        touched.append({name for name in marked if "." in name and not name.endswith(":*")})
        return block(self, transaction, marked)

    monkeypatch.setattr(RedisGateway, "block", spy)
    note, ann, red, blue = live_world.private, live_world.ann, live_world.red, live_world.blue

    def lists(*columns):
        keys = ["notes.{}:", f"notes-by-author.{{}}:{ann.pk}"]
        keys += [f"notes-by-tag.{{}}:{tag.pk}" for tag in (red, blue)]
        return {key.format(column) for column in columns for key in keys}

    Note.objects.filter(pk=note.pk).update(title="Other")
    assert touched.pop() == lists("title_folded", "search_vector")
    Note.objects.filter(pk=note.pk).update(title="OTHER")  # the same words, the same order
    assert touched.pop() == set()
    Note.objects.filter(pk=note.pk).update(content="words")
    assert touched.pop() == lists("search_vector")
    Note.objects.filter(pk=note.pk).update(created_at="2020-01-01T00:00:00Z")
    assert touched.pop() == lists("created_at")
    note.tags.remove(blue)
    assert touched.pop() == {"notes.tags:", f"notes-by-author.tags:{ann.pk}", "tags.note_count:"}
    Tag.objects.filter(pk=red.pk).update(name="crimson")
    assert touched.pop() == {"tags.name_folded:"}
    User.objects.filter(pk=ann.pk).update(name="Anna")
    assert touched.pop() == {"users.name_folded:"}
