"""A form that was opened before somebody else changed the row reverts nothing and loses nothing."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from notes.models import Note
from tags.models import Tag
from tests.admin.pages import form_of, opened, send
from users.models import ApiToken, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", "root@example.org", "x", name="Root")


@pytest.fixture
def client(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture
def note(root: User) -> Note:
    note = Note.objects.create(author=root, title="title", content="line 1\nline 2")
    note.tags.add(Tag.objects.create(name="red"))
    return note


def url(row: Any) -> str:
    opts = row._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk])


def fresh(note: Note) -> tuple[str, str, bool, list[str]]:
    note.refresh_from_db()
    return note.title, note.content, note.is_public, sorted(tag.name for tag in note.tags.all())


def test_nothing_is_saved_and_both_versions_are_shown(client: Client, note: Note) -> None:
    form = opened(client, url(note))
    Note.objects.filter(pk=note.pk).update(content="theirs <b>\n  more")
    response = send(client, url(note), form, content="mine\n & more", is_public="on")

    assert response.status_code == 409
    assert fresh(note) == ("title", "theirs <b>\n  more", False, ["red"])
    (difference,) = response.context["differences"]
    assert (difference.stored, difference.typed) == ("theirs <b>\n  more", "mine\n & more")
    html = response.content.decode()
    assert "theirs &lt;b&gt;\n  more</textarea>" in html
    assert "Somebody else has changed this note" in html
    assert form_of(response)["content"] == ["mine\n & more"]


def test_a_second_press_of_save_saves_the_page_as_it_is(client: Client, note: Note) -> None:
    form = opened(client, url(note))
    Note.objects.filter(pk=note.pk).update(content="theirs", title="their title")
    response = send(client, url(note), form, content="mine")

    merged = form_of(response)
    assert (merged["content"], merged["title"]) == (["mine"], ["their title"])
    assert send(client, url(note), merged).status_code == 302
    assert fresh(note) == ("their title", "mine", False, ["red"])


def test_a_change_after_the_page_of_the_conflict_is_a_conflict_again(
    client: Client, note: Note
) -> None:
    form = opened(client, url(note))
    Note.objects.filter(pk=note.pk).update(content="theirs")
    merged = form_of(send(client, url(note), form, content="mine"))
    Note.objects.filter(pk=note.pk).update(content="theirs again")
    assert send(client, url(note), merged).status_code == 409
    assert fresh(note)[1] == "theirs again"


def test_every_kind_of_field_takes_over_what_nobody_edited(
    client: Client, note: Note, root: User
) -> None:
    ann = User.objects.create(username="ann", name="Ann")
    form = opened(client, url(note))
    Note.objects.filter(pk=note.pk).update(author=ann, is_public=True)
    note.tags.set([Tag.objects.create(name="blue"), Tag.objects.create(name="green")])

    response = send(client, url(note), form, title="mine")
    assert response.status_code == 409
    shown = {one.name: (one.stored, one.edited) for one in response.context["differences"]}
    assert shown == {
        "author": (f"Ann (ann, id {ann.pk})", False),
        "is_public": ("Yes", False),
        "tag_names": ("blue, green", False),
    }
    assert send(client, url(note), form_of(response)).status_code == 302
    note.refresh_from_db()
    assert note.author == ann
    assert fresh(note) == ("mine", "line 1\nline 2", True, ["blue", "green"])


def test_an_unticked_box_is_taken_over(client: Client, note: Note) -> None:
    Note.objects.filter(pk=note.pk).update(is_public=True)
    form = opened(client, url(note))
    Note.objects.filter(pk=note.pk).update(is_public=False)
    merged = form_of(send(client, url(note), form, title="mine"))
    assert send(client, url(note), merged).status_code == 302
    assert fresh(note)[::2] == ("mine", False)


def test_the_same_change_twice_is_no_conflict(client: Client, note: Note) -> None:
    form = opened(client, url(note))
    assert send(client, url(note), form, content="same").status_code == 302
    assert send(client, url(note), form, content="same").status_code == 302  # a double click
    assert fresh(note)[1] == "same"


def test_a_change_of_what_the_form_does_not_show_is_no_conflict(client: Client, note: Note) -> None:
    form = opened(client, url(note))
    Note.objects.filter(pk=note.pk).update(updated_at=timezone.now())
    assert send(client, url(note), form, content="mine").status_code == 302


def test_errors_of_other_fields_lose_neither_version(client: Client, note: Note) -> None:
    form = opened(client, url(note))
    Note.objects.filter(pk=note.pk).update(content="theirs")
    response = send(client, url(note), form, content="mine", title="")
    assert response.status_code == 409
    assert set(response.context["adminform"].form.errors) == {"title", "__all__"}
    assert form_of(response)["content"] == ["mine"]


def test_users_tags_and_tokens_have_conflicts_too(client: Client, root: User) -> None:
    ann = User.objects.create(username="ann", name="Ann")
    form = opened(client, url(ann))
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert send(client, url(ann), form, name="Anna").status_code == 409

    tag = Tag.objects.create(name="red")
    form = opened(client, url(tag))
    Tag.objects.filter(pk=tag.pk).update(name="crimson")
    assert send(client, url(tag), form, name="ruby").status_code == 409

    token, _ = ApiToken.issue(ann, "token")
    form = opened(client, url(token))
    expiry = timezone.now() + timedelta(days=1)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=expiry)
    response = send(client, url(token), form, name="renamed")
    assert response.status_code == 409
    assert send(client, url(token), form_of(response)).status_code == 302
    token.refresh_from_db()
    assert (token.name, token.expires_at) == ("renamed", expiry)


def test_a_time_that_nobody_edits_keeps_its_microseconds(client: Client, root: User) -> None:
    expiry = timezone.now() + timedelta(days=1)
    token, _ = ApiToken.issue(root, "token", expires_at=expiry)
    assert send(client, url(token), opened(client, url(token)), name="new").status_code == 302
    token.refresh_from_db()
    assert (token.name, token.expires_at) == ("new", expiry)


@pytest.mark.parametrize("shown", ["", "x", "[]", "1", '{"title": 1}', '{"author": null}'])
def test_fingerprints_of_another_form_are_no_error(client: Client, note: Note, shown: str) -> None:
    form = opened(client, url(note))
    assert send(client, url(note), form, _shown=shown).status_code in {302, 409}


def test_what_was_typed_for_a_deleted_row_is_shown(client: Client, note: Note) -> None:
    form = opened(client, url(note))
    where = url(note)
    note.delete()
    response = send(client, where, form, content="  mine <b>\n")
    assert response.status_code == 404
    html = response.content.decode()
    assert "Somebody else has deleted this note" in html
    assert "  mine &lt;b&gt;\n</textarea>" in html.replace("\r\n", "\n")
    assert not Note.objects.exists()


def test_the_page_of_a_deleted_row_is_for_those_who_may_see_it(root: User) -> None:
    client = Client()
    client.force_login(User.objects.create(username="ann", name="Ann"))
    where = reverse("admin:notes_note_change", args=[1])
    assert client.post(where, {"title": "x"}).status_code == 302  # the log-in page
