"""Deletion in the admin: numbers instead of lists, bounded steps, progress."""

from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from notes.models import Note, NoteTag
from pcf.admin import deletion as pages
from pcf.database import deletion
from tags.models import Tag
from tests.admin.pages import form_of
from users.models import ApiToken, User

pytestmark = [pytest.mark.django_db, pytest.mark.repeats]

NOTES = reverse("admin:notes_note_changelist")
TRASH = f"{NOTES}?trash=yes"
USERS = reverse("admin:users_user_changelist")


@pytest.fixture
def client() -> Client:
    root = User.objects.create_superuser("root", "root@example.org", "x", name="Root")
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture
def ann() -> User:
    """A user with 25 notes, each with two tags, and a token."""
    ann = User.objects.create(username="ann", name="Ann")
    red, blue = Tag.objects.create(name="red"), Tag.objects.create(name="blue")
    for number in range(25):
        Note.objects.create(author=ann, title=f"note {number}").tags.set([red, blue])
    ApiToken.issue(ann, "a token")
    return ann


@pytest.fixture
def one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request carries out one step, of 10 rows at most."""
    monkeypatch.setattr(pages, "SECONDS", 0.0)
    monkeypatch.setattr(deletion.delete_in_steps, "__kwdefaults__", {"size": 10, "watch": None})


def delete_url(row: Any) -> str:
    opts = row._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_delete", args=[row.pk])


def finished(client: Client, url: str, response: Any) -> list[tuple[int, int]]:
    """Send the pages of progress as the browser does; return deleted and total of each."""
    seen = []
    while response.status_code == 200:
        seen.append((response.context["done"], response.context["total"]))
        assert len(seen) < 100
        response = client.post(url, form_of(response))
    assert response.status_code == 302
    return seen


# confirmation


def test_the_page_of_confirmation_has_numbers_and_no_lists(client: Client, ann: User) -> None:
    html = client.get(delete_url(ann)).content.decode()
    for line in ("Users: 1", "Notes: 25", "Note tags: 50", "API tokens: 1"):
        assert f"<li>{line}</li>" in html
    assert "note 7" not in html


def test_the_page_for_many_rows_names_a_few(client: Client, ann: User) -> None:
    keys = [note.pk for note in Note.objects.all()]
    data = {"action": "delete_selected", "_selected_action": keys}
    Note.objects.update(deleted_at=timezone.now())
    html = client.post(TRASH, data).content.decode()
    assert "<li>Notes: 25</li>" in html
    assert "and 15 more" in html
    assert Note.objects.count() == 25


@pytest.mark.parametrize("notes", [25, 200])
def test_the_page_of_confirmation_fetches_no_rows_of_others(
    client: Client, ann: User, notes: int
) -> None:
    Note.objects.bulk_create(Note(author=ann, title="more") for _ in range(notes - 25))
    with CaptureQueriesContext(connection) as queries:
        client.get(delete_url(ann))
    rows = [query["sql"] for query in queries if '"notes_note"."title"' in query["sql"]]
    assert rows == []


# steps


def test_a_user_goes_in_bounded_steps_with_progress(
    client: Client, ann: User, one_step: None
) -> None:
    other = Note.objects.create(author=User.objects.get(username="root"), title="stays")
    url = delete_url(ann)
    response = client.post(url, {"post": "yes"})
    ann.refresh_from_db()
    assert not ann.is_active  # so that nobody writes meanwhile
    assert Note.objects.filter(author=ann).count() == 15

    seen = finished(client, url, response)
    total = 1 + 25 + 50 + 1
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {shown for _, shown in seen} == {total}
    assert not User.objects.filter(pk=ann.pk).exists()
    assert list(Note.objects.all()) == [other]
    assert not NoteTag.objects.exists()
    assert Tag.objects.count() == 2


def test_a_deletion_that_was_left_continues(client: Client, ann: User, one_step: None) -> None:
    url = delete_url(ann)
    client.post(url, {"post": "yes"})
    assert Note.objects.filter(author=ann).exists()
    finished(client, url, client.post(url, {"post": "yes"}))
    assert not User.objects.filter(pk=ann.pk).exists()


def test_the_page_of_progress_continues_by_itself(
    client: Client, ann: User, one_step: None
) -> None:
    html = client.post(delete_url(ann), {"post": "yes"}).content.decode()
    assert "pcf/admin/continue.js" in html
    assert '<form method="post" id="continue">' in html
    assert '<input type="submit" value="Continue">' in html  # without scripts
    assert "Deleted 30 of 77 rows." in html


def test_no_step_deletes_more_rows_than_its_size(ann: User, one_step: None) -> None:
    steps = list(deletion.delete_in_steps(User.objects.filter(pk=ann.pk)))
    assert sum(steps) == 77
    assert max(steps) <= 10 * 3  # notes with their two tags


def test_dependent_rows_beyond_the_bound_are_deleted_first(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "DEPENDENT_ROWS", 5)
    red = Tag.objects.get(name="red")
    steps = list(deletion.delete_in_steps(Tag.objects.filter(pk=red.pk), size=10))
    assert steps == [10, 10, 5, 1]
    assert not Tag.objects.filter(pk=red.pk).exists()
    assert Note.objects.count() == 25


def test_steps_fetch_no_texts(ann: User) -> None:
    with CaptureQueriesContext(connection) as queries:
        list(deletion.delete_in_steps(User.objects.filter(pk=ann.pk)))
    fetched = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert not any('"content"' in sql or '"title"' in sql for sql in fetched)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_steps_delete_what_django_deletes(ann: User, size: int) -> None:
    assert deletion.count_rows(User.objects.filter(pk=ann.pk)) == {
        User: 1, Note: 25, NoteTag: 50, ApiToken: 1
    }  # fmt: skip
    assert sum(deletion.delete_in_steps(User.objects.filter(pk=ann.pk), size=size)) == 77


def test_an_interrupted_step_leaves_complete_rows(ann: User, one_step: None) -> None:
    steps = deletion.delete_in_steps(User.objects.filter(pk=ann.pk))
    next(steps)
    steps.close()
    assert Note.objects.count() == 15
    assert NoteTag.objects.count() == 30


# lists


def test_selected_notes_go_in_steps_and_are_logged(
    client: Client, ann: User, one_step: None
) -> None:
    keys = [note.pk for note in Note.objects.order_by("pk")]
    Note.objects.update(deleted_at=timezone.now())
    data = {"action": "delete_selected", "_selected_action": keys[:21]}
    confirmation = client.post(TRASH, data)
    seen = finished(client, TRASH, client.post(TRASH, form_of(confirmation)))
    assert [done for done, _ in seen] == [30, 60]
    assert sorted(Note.objects.values_list("pk", flat=True)) == keys[21:]
    logged = LogEntry.objects.filter(action_flag=DELETION)
    assert sorted(int(entry.object_id) for entry in logged) == keys[:21]
    assert "Successfully deleted 21 notes." in client.get(NOTES).content.decode()


def test_all_rows_of_a_list_go_but_none_that_came_later(
    client: Client, ann: User, one_step: None
) -> None:
    root = User.objects.get(username="root")
    stays = Note.objects.create(author=root, title="of another author")
    Note.objects.update(deleted_at=timezone.now())
    url = f"{TRASH}&author={ann.pk}"
    first = Note.objects.earliest("pk").pk
    data = {"action": "delete_selected", "_selected_action": [first], "select_across": "1"}
    confirmation = client.post(url, data)
    assert "<li>Notes: 25</li>" in confirmation.content.decode()
    later = Note.objects.create(author=ann, title="later", deleted_at=timezone.now())
    finished(client, url, client.post(url, form_of(confirmation)))
    assert set(Note.objects.all()) == {stays, later}


def test_selected_users_go_with_their_notes(client: Client, ann: User, one_step: None) -> None:
    data = {"action": "delete_selected", "_selected_action": [ann.pk], "post": "yes"}
    finished(client, USERS, client.post(USERS, data))
    assert not Note.objects.exists()
    assert list(User.objects.values_list("username", flat=True)) == ["root"]


def test_all_notes_of_a_list_move_to_the_trash_in_steps(
    client: Client, ann: User, one_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(deletion.change_in_steps.__kwdefaults__, "size", 10)
    url = f"{NOTES}?author={ann.pk}"
    first = Note.objects.earliest("pk").pk
    data = {"action": "move_to_trash", "_selected_action": [first], "select_across": "1"}
    confirmation = client.post(url, data)
    later = Note.objects.create(author=ann, title="later")
    with CaptureQueriesContext(connection) as queries:
        response = client.post(url, form_of(confirmation))
    assert not any('"content"' in query["sql"] for query in queries)
    assert Note.objects.filter(deleted_at__isnull=False).count() == 10
    seen = finished(client, url, response)
    assert seen == [(10, 25), (20, 25)]
    assert list(Note.objects.filter(deleted_at=None)) == [later]
    assert LogEntry.objects.filter(action_flag=DELETION).count() == 25
    assert "Moved to the trash: 25 notes." in client.get(NOTES).content.decode()


# permissions


def staff(*permissions: str) -> Client:
    sue = User.objects.create(username="sue", name="Sue", is_staff=True)
    sue.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(sue)
    return client


def test_the_rows_of_other_models_need_permissions(ann: User) -> None:
    client = staff("delete_user")  # but not delete_apitoken
    url = delete_url(ann)
    assert "API token" in client.get(url).content.decode()
    assert client.post(url, {"post": "yes"}).status_code == 403
    forged = {"post": "yes", "total": "77", "done": "30", "rows": "1"}
    assert client.post(url, forged).status_code == 403
    ApiToken.objects.all().delete()
    assert client.post(url, {"post": "yes"}).status_code == 302


def test_only_superusers_delete_superusers_of_a_list(ann: User) -> None:
    root = User.objects.create_superuser("root2", "root@example.org", "x", name="Root")
    client = staff("delete_user", "delete_apitoken")
    data = {"action": "delete_selected", "_selected_action": [ann.pk, root.pk], "post": "yes"}
    assert client.post(USERS, data).status_code == 403
    assert client.post(USERS, {**data, "select_across": "1"}).status_code == 403
    assert User.objects.filter(pk__in=[ann.pk, root.pk]).count() == 2
