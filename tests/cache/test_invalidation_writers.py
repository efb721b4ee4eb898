"""Every writer invalidates the cached answers that show its write, before its own answer.

No writer invalidates others: the last tests count the answers that are still hits.
"""

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from notes.models import Note
from tags.models import Tag
from tests.conftest import make_note, make_user, token_for
from users.models import ApiToken, User

HIT = "pcf; hit"
NOTES = "{ notes(first: 100) { title } }"
USERS = "{ users(first: 100) { name } }"
TAGS = "{ tags(first: 100) { name } }"
ME = "{ me { name } }"
AUTHORS = 12


@pytest.fixture
def admin(live_world):
    """A client of the admin, logged in as a superuser."""
    client = Client()
    client.force_login(make_user("Root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def cached(ask):
    """``cached(query, token)`` returns the data of an answer that is a hit from now on."""

    def fill(query, token=None):
        ask(query, token)
        answer = ask(query, token)
        assert answer.cache_status == HIT
        return answer.data

    return fill


def tags_of(note):
    return f'{{ note(id: "{note.pk}") {{ title tags {{ name }} }} }}'


def by_author(user):
    return f'{{ notes(authorId: "{user.pk}") {{ title }} }}'


def saved(response):
    assert response.status_code == 302, response.context["errors"]


def note_form(note, **changes):
    return {
        "title": note.title, "content": note.content, "author": note.author_id,
        "is_public": "on" if note.is_public else "",
        "tag_names": [tag.pk for tag in note.tags.all()], **changes,
    }  # fmt: skip


def save_note(admin, note, **changes):
    url = reverse("admin:notes_note_change", args=[note.pk])
    saved(admin.post(url, note_form(note, **changes)))


def run_action(admin, model, action, *rows, **more):
    url = reverse(f"admin:{model}_changelist")
    chosen = [row.pk for row in rows]
    saved(admin.post(url, {"action": action, "_selected_action": chosen, **more}))


# --- the admin


def test_a_token_is_refused_after_an_admin_action_revokes_it(live_world, ask, cached, admin):
    token, other = token_for(live_world.ann), token_for(live_world.bob)
    cached(ME, token), cached(ME, other)
    run_action(admin, "users_apitoken", "revoke", live_world.ann.api_tokens.get())
    refused = ask(ME, token)
    assert (refused.status, refused.codes) == (401, ["UNAUTHENTICATED"])
    assert ask(ME, other).cache_status == HIT


def test_no_answer_shows_notes_that_an_admin_action_deleted(live_world, ask, cached, admin):
    note = live_world.public
    cached(NOTES), cached(tags_of(note)), cached(by_author(live_world.ann))
    run_action(admin, "notes_note", "move_to_trash", note, post="yes")
    assert ask(NOTES).data == {"notes": []}
    assert ask(tags_of(note)).data == {"note": None}
    assert ask(by_author(live_world.ann)).data == {"notes": []}


def test_answers_show_the_tags_that_the_form_of_a_note_saved(live_world, ask, cached, admin):
    note, blue = live_world.public, live_world.blue
    by_tag = '{{ notes(tag: "{}") {{ title }} }}'.format
    assert cached(tags_of(note))["note"]["tags"] == [{"name": "red"}]
    cached(by_tag("red")), cached(by_tag("blue"))
    save_note(admin, note, tag_names=[blue.pk])
    after = ask(tags_of(note))
    assert after.cache_status == "pcf; fwd=miss; stored"
    assert after.data["note"]["tags"] == [{"name": "blue"}]
    assert ask(by_tag("red")).data == {"notes": []}
    assert ask(by_tag("blue")).data == {"notes": [{"title": note.title}]}


def test_the_form_of_another_note_leaves_unrelated_answers_cached(live_world, ask, cached, admin):
    query = tags_of(live_world.public)
    cached(TAGS), cached(query)
    save_note(admin, live_world.other, tag_names=[live_world.red.pk])
    assert ask(TAGS).cache_status == HIT
    assert ask(query).cache_status == HIT


def test_answers_follow_a_note_that_its_form_publishes_and_hides(live_world, ask, cached, admin):
    note = live_world.private
    assert len(cached(NOTES)["notes"]) == 1
    save_note(admin, note, is_public="on")
    assert len(cached(NOTES)["notes"]) == 2
    save_note(admin, note, is_public="")
    assert len(ask(NOTES).data["notes"]) == 1


def test_answers_show_a_note_and_a_tag_that_the_admin_added(live_world, ask, cached, admin):
    cached(NOTES), cached(TAGS)
    saved(admin.post(reverse("admin:tags_tag_add"), {"name": "green"}))
    green = Tag.objects.get(name="green")
    form = {"title": "added", "author": live_world.bob.pk, "is_public": "on", "content": "x"}
    saved(admin.post(reverse("admin:notes_note_add"), {**form, "tag_names": [green.pk]}))
    assert {"name": "green"} in ask(TAGS).data["tags"]
    assert {"title": "added"} in ask(NOTES).data["notes"]


def test_answers_show_a_tag_that_its_form_renamed(live_world, ask, cached, admin):
    query = tags_of(live_world.public)
    cached(TAGS), cached(query)
    url = reverse("admin:tags_tag_change", args=[live_world.red.pk])
    saved(admin.post(url, {"name": "crimson"}))
    assert {"name": "crimson"} in ask(TAGS).data["tags"]
    assert ask(query).data["note"]["tags"] == [{"name": "crimson"}]


def test_a_token_is_refused_after_the_form_deactivates_its_user(live_world, ask, cached, admin):
    """The form shows the user's tokens inline and saves none of them."""
    ann = live_world.ann
    token = token_for(ann)
    cached(ME, token)
    url = reverse("admin:users_user_change", args=[ann.pk])
    form = {
        "username": ann.username, "name": "Ann", "email": ann.email,
        "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00",
        "api_tokens-TOTAL_FORMS": 0, "api_tokens-INITIAL_FORMS": 0,
    }  # fmt: skip
    saved(admin.post(url, form))
    assert not User.objects.get(pk=ann.pk).is_active
    assert ask(ME, token).status == 401


# --- commands and cascades


def seed_load(*arguments):
    call_command(
        "seed_load", "--users=2", "--notes-per-user=3", "--tags=2", "--tags-per-note=1",
        "--private-share=0", *arguments, verbosity=0,
    )  # fmt: skip


def test_answers_show_rows_that_seed_load_made(live_world, ask, cached):
    assert [len(cached(query)[name]) for query, name in LISTS] == [1, 3, 2]
    seed_load()
    assert [len(ask(query).data[name]) for query, name in LISTS] == [7, 5, 4]


def test_no_answer_shows_rows_that_seed_load_replaced(live_world, ask, cached):
    token = token_for(live_world.ann)
    cached(NOTES), cached(USERS), cached(ME, token)
    seed_load("--replace", "--no-input")
    assert {"title": "public of ann"} not in ask(NOTES).data["notes"]
    names = {user["name"] for user in ask(USERS).data["users"]}
    assert len(names) == 3
    assert "Ann" not in names
    assert ask(ME, token).status == 401


LISTS = [(NOTES, "notes"), (USERS, "users"), (TAGS, "tags")]


def test_no_answer_shows_what_was_deleted_with_a_user(live_world, ask, cached):
    ann, note, red = live_world.ann, live_world.public, live_world.red
    token = token_for(ann)
    of_tag = f'{{ tag(id: "{red.pk}") {{ notes {{ title }} }} }}'
    of_user = f'{{ user(id: "{ann.pk}") {{ name notes {{ title }} }} }}'
    queries = [NOTES, USERS, by_author(ann), tags_of(note), of_tag, of_user]
    for query in queries:
        cached(query)
    cached(ME, token), cached(TAGS)
    ann.delete()
    answers = [ask(query).data for query in queries]
    assert answers == [
        {"notes": []},
        {"users": [{"name": "Bob"}, {"name": "Sue"}]},
        {"notes": []},
        {"note": None},
        {"tag": {"notes": []}},
        {"user": None},
    ]
    assert ask(ME, token).status == 401
    assert not ApiToken.objects.exists()
    assert ask(TAGS).cache_status == HIT


# --- no other answers


def rename(note):
    note.title = "new"
    note.save()


def hide(note):
    Note.objects.filter(pk=note.pk).update(is_public=False)


def add(note):
    make_note(note.author, "another")


@pytest.mark.parametrize("write", [rename, hide, add, Note.delete])
def test_a_write_to_a_note_of_one_author_leaves_the_lists_of_all_others(
    live_world, ask, cached, write
):
    authors = [make_user(f"Author{number}") for number in range(AUTHORS)]
    notes = [make_note(author, f"of {author.name}", live_world.red) for author in authors]
    for author in authors:
        cached(by_author(author))
    write(notes[4])
    hits = [ask(by_author(author)).cache_status == HIT for author in authors]
    assert hits.count(True) == AUTHORS - 1
    assert not hits[4]
