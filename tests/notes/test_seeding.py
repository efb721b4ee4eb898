"""Made-up data: repeatable, loaded in one transaction, in bounded memory."""

import tracemalloc
from collections import Counter
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from notes import seed_text, seeding
from notes.management.commands.seed_load import progress_bar
from notes.models import Note, NoteTag
from notes.seeding import SeedingError, Volume
from pcf.cache import outbox
from tags.models import Tag
from users.models import ApiToken, User


def volume(**changes: Any) -> Volume:
    counts = {"users": 5, "notes_per_user": 10, "tags": 8, "tags_per_note": 3, "batch_size": 7}
    return Volume(**{**counts, **changes})


def world() -> dict[str, Any]:
    """All loaded rows, without ids and passwords."""
    notes = Note.objects.order_by("id").prefetch_related("tags")
    return {
        "users": list(
            User.objects.order_by("id").values_list("username", "name", "email", "created_at")
        ),
        "notes": [
            (
                note.author.username, note.title, note.content, note.is_public,
                note.created_at, note.updated_at, sorted(tag.name for tag in note.tags.all()),
            )
            for note in notes.select_related("author")
        ],
        "tags": list(Tag.objects.order_by("id").values_list("name", flat=True)),
    }  # fmt: skip


def test_a_load_has_the_wanted_counts(db: None) -> None:
    seeding.load(volume())

    assert User.objects.count() == 5
    assert Tag.objects.count() == 8
    assert NoteTag.objects.count() == 150
    for user in User.objects.all():
        assert user.notes.count() == 10
        assert user.notes.filter(is_public=False).count() == 2
    assert set(Counter(NoteTag.objects.values_list("note", flat=True)).values()) == {3}


@pytest.mark.parametrize(("share", "private"), [(0, 0), (0.25, 2), (0.5, 5), (1, 10)])
def test_the_private_share_is_the_same_for_every_user(db: None, share, private) -> None:
    seeding.load(volume(private_share=share))
    counts = [user.notes.filter(is_public=False).count() for user in User.objects.all()]
    assert counts == [private] * 5


@pytest.mark.parametrize("batch_size", [1, 3, 10, 1_000])
def test_the_same_seed_gives_the_same_rows_for_every_batch_size(db: None, batch_size) -> None:
    seeding.load(volume())
    first = world()
    seeding.load(volume(batch_size=batch_size), replace=True)
    assert world() == first


def test_another_seed_gives_other_rows(db: None) -> None:
    seeding.load(volume(seed=1))
    first = world()
    seeding.load(volume(seed=2), replace=True)
    assert world()["notes"] != first["notes"]
    assert world()["tags"] == first["tags"]


def test_a_second_load_adds_users_and_shares_tags(db: None) -> None:
    seeding.load(volume())
    seeding.load(volume(tags=10))

    assert User.objects.count() == len(set(User.objects.values_list("username", flat=True))) == 10
    assert Note.objects.count() == 100
    assert Tag.objects.count() == 10
    assert NoteTag.objects.count() == 300


def test_a_load_uses_a_tag_whose_name_differs_in_case(db: None) -> None:
    seeding.load(volume())
    tag = Tag.objects.earliest("pk")
    Tag.objects.filter(pk=tag.pk).update(name=tag.name.upper())
    links = NoteTag.objects.filter(tag=tag).count()
    seeding.load(volume())
    assert NoteTag.objects.filter(tag=tag).count() == 2 * links > 0


def test_rows_of_other_sessions_do_not_collide(db: None) -> None:
    ann = User.objects.create(username="ann", name="Ann")

    def insert(done: int) -> None:
        Note.objects.create(author=ann, title=f"after {done}")

    seeding.load(volume(), progress=insert)
    assert ann.notes.count() == 8  # one for each batch of 7 of the 50 notes
    assert Note.objects.count() == 58
    User.objects.create(username="bob", name="Bob")


def test_an_interrupted_load_leaves_nothing(db: None) -> None:
    def stop(done: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seeding.load(volume(), progress=stop)
    assert not any(model.objects.exists() for model in (User, Note, Tag, NoteTag))


def test_replace_keeps_staff_and_no_other_data(db: None) -> None:
    staff = User.objects.create(username="sue", name="Sue", is_staff=True)
    root = User.objects.create(username="root", name="Root", is_superuser=True)
    ann = User.objects.create(username="ann", name="Ann")
    for user in (staff, ann):
        ApiToken.issue(user, "token")
        Note.objects.create(author=user, title="mine")

    seeding.load(volume(users=1), replace=True)

    assert {staff, root} < set(User.objects.all())
    assert User.objects.count() == 3
    assert list(ApiToken.objects.values_list("user", flat=True)) == [staff.pk]
    assert Note.objects.count() == 10
    assert not Note.objects.filter(title="mine").exists()


def test_an_interrupted_replacement_changes_nothing(db: None) -> None:
    ann = User.objects.create(username="ann", name="Ann")
    note = Note.objects.create(author=ann, title="mine")

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seeding.load(volume(), replace=True, progress=stop)
    assert list(Note.objects.all()) == [note]


def test_the_cache_is_told_by_kinds_when_the_load_is_large(db: None) -> None:
    seeding.load(volume(users=20, notes_per_user=51, tags=3, tags_per_note=1), replace=True)
    taken = outbox.find(connection.connection).take(connection.connection)
    assert taken is not None
    kinds = {name for name in taken.names if name.endswith("!")}
    assert kinds >= {
        "note!", "notes!", "notes-by-author!", "notes-by-tag!", "tags-by-note!",
        "tag!", "tag-name!", "tags!",
    }  # fmt: skip
    assert "users:" in taken.names


def test_times_are_in_order_and_in_the_past(db: None) -> None:
    seeding.load(volume())
    for note in Note.objects.select_related("author"):
        assert seeding.FIRST_DAY <= note.author.created_at <= note.created_at
        assert note.created_at <= note.updated_at <= seeding.LAST_DAY


def test_loaded_users_cannot_log_in(db: None) -> None:
    seeding.load(volume())
    assert not any(user.has_usable_password() for user in User.objects.all())


def test_the_planner_knows_the_new_rows(db: None) -> None:
    seeding.load(volume())
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'notes_note'::regclass")
        assert cursor.fetchone() == (50,)


@pytest.mark.parametrize("empty", ["users", "notes_per_user", "tags_per_note"])
def test_nothing_of_a_kind_is_a_volume_too(db: None, empty: str) -> None:
    asked = volume(**{empty: 0})
    seeding.load(asked)
    assert (Note.objects.count(), NoteTag.objects.count()) == (asked.notes, asked.note_tags)


def test_memory_does_not_grow_with_the_rows(db: None) -> None:
    def peak(notes_per_user: int) -> int:
        tracemalloc.start()
        seeding.load(volume(users=10, notes_per_user=notes_per_user, batch_size=100))
        _, bytes_used = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return bytes_used

    peak(20)  # objects that are made once a process are made now
    assert peak(400) < 1.5 * peak(20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": -1}, "users must not be negative, got -1"),
        ({"notes_per_user": -1}, "notes_per_user must not be negative"),
        ({"tags": -1, "tags_per_note": -2}, "tags must not be negative"),
        ({"tags_per_note": -1}, "tags_per_note must not be negative"),
        ({"tags_per_note": 9}, r"tags_per_note \(9\) is more than tags \(8\)"),
        ({"batch_size": 0}, "batch_size must be at least 1 row"),
        ({"private_share": 1.1}, "private_share must lie between 0 and 1, got 1.1"),
        ({"private_share": -0.1}, "private_share must lie between 0 and 1"),
        ({"private_share": float("nan")}, "private_share must lie between 0 and 1"),
    ],
)
def test_counts_that_make_no_sense_are_refused(changes, message) -> None:
    with pytest.raises(SeedingError, match=message):
        volume(**changes)


def test_every_tag_has_a_name_of_its_own_that_fits() -> None:
    names = [seed_text.tag(index) for index in range(10_000)]
    assert len(set(names)) == 10_000
    assert max(map(len, names)) <= 50
    assert names[:2] == ["work", "home"]
    assert names[50] == "work 2"


# seed_load


def without_demo_data(settings: Any) -> str:
    """Use the feature of production; return the name of the database."""
    settings.PCF = replace(settings.PCF, features=replace(settings.PCF.features, demo_data=False))
    return str(connection.settings_dict["NAME"])


@pytest.mark.parametrize("arguments", [[], ["--replace"], ["--replace", "--no-input"]])
def test_production_settings_need_the_name_of_the_database(
    db: None, settings: Any, arguments: list[str]
) -> None:
    name = without_demo_data(settings)
    seeded = User.objects.create(username="ann", name="Ann")
    with pytest.raises(CommandError, match=f"--into {name}"):
        seed_load(*arguments)
    with pytest.raises(CommandError, match=f"the database is {name}, not other"):
        seed_load("--into=other", *arguments)
    assert list(User.objects.all()) == [seeded]
    assert not Note.objects.exists()


def test_the_name_of_the_database_allows_a_load(transactional_db: None, settings: Any) -> None:
    assert "3 users" in seed_load(f"--into={without_demo_data(settings)}")
    assert Note.objects.count() == 12


def test_a_wrong_name_is_refused_under_all_settings(db: None) -> None:
    with pytest.raises(CommandError, match="not other"):
        seed_load("--into=other")


def seed_load(*arguments: str) -> str:
    out = StringIO()
    call_command(
        "seed_load", "--users=3", "--notes-per-user=4", "--tags=2", "--tags-per-note=1",
        *arguments, stdout=out,
    )  # fmt: skip
    return out.getvalue()


def test_the_command_loads_and_says_how_much(transactional_db: None) -> None:
    out = seed_load()
    assert "3 users, 12 notes and 12 tags on them" in out
    assert "notes/s" in out
    assert (User.objects.count(), Note.objects.count()) == (3, 12)


def test_the_command_names_wrong_arguments(db: None) -> None:
    with pytest.raises(CommandError, match="is more than tags"):
        seed_load("--tags-per-note=3")
    assert not User.objects.exists()


def test_the_beginning_of_an_option_is_no_option(db: None) -> None:
    with pytest.raises(CommandError, match="unrecognized arguments: --notes=3"):
        seed_load("--notes=3")
    assert not User.objects.exists()


def test_without_a_terminal_replace_needs_no_input(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    User.objects.create(username="ann", name="Ann")
    monkeypatch.setattr("sys.stdin", StringIO("yes\n"))
    with pytest.raises(CommandError, match="needs --no-input"):
        seed_load("--replace")
    assert User.objects.count() == 1

    seed_load("--replace", "--no-input")
    assert User.objects.count() == 3
    assert not User.objects.filter(username="ann").exists()


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "users"), [("yes", 3), ("no", 1), ("", 1)])
def test_on_a_terminal_replace_asks(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, answer: str, users: int
) -> None:
    User.objects.create(username="ann", name="Ann")
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    if answer == "yes":
        seed_load("--replace")
    else:
        with pytest.raises(CommandError, match="nothing was changed"):
            seed_load("--replace")
    assert User.objects.count() == users


def test_an_interrupted_command_says_that_nothing_was_changed(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(seed_text, "note", interrupted)
    with pytest.raises(CommandError, match="interrupted; nothing was changed"):
        seed_load()
    assert not User.objects.exists()


def test_the_bar_is_for_terminals() -> None:
    assert progress_bar(StringIO(), 100) is None
    assert progress_bar(Terminal(), 0) is None


def test_the_bar_ends_full() -> None:
    terminal = Terminal()
    draw = progress_bar(terminal, 200)
    assert draw is not None
    draw(50)
    draw(200)
    last = terminal.getvalue().rpartition("\r")[2]
    assert last.startswith("[" + "#" * 30 + "] 100% 200 notes, ")
    assert last.endswith("/s\n")
