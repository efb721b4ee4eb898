"""The admin of notes: constant numbers of statements, long tables, the policy."""

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from notes.admin import NoteAdmin
from notes.models import Note
from pcf.admin import model_admin
from tags.admin import TagAdmin
from tags.models import Tag
from tests.admin.pages import form_of, send
from users.models import User

pytestmark = pytest.mark.django_db

NOTES = reverse("admin:notes_note_changelist")


@pytest.fixture
def staff() -> User:
    return User.objects.create(username="sue", name="Sue", is_staff=True)


@pytest.fixture
def ann() -> User:
    return User.objects.create(username="ann", name="Ann")


@pytest.fixture
def client(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def note(ann: User) -> Note:
    """A private note of another user."""
    note = Note.objects.create(author=ann, title="private of ann", content="the whole text")
    note.tags.set([Tag.objects.create(name="red"), Tag.objects.create(name="blue")])
    return note


def statements(client: Client, url: str) -> list[str]:
    client.get(url)  # Django looks content types up once a process; this does it before the counts
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    # statements that set a deadline do not count
    return [query["sql"] for query in queries if " FROM " in query["sql"]]


def listed(client: Client, **data: str) -> list[str]:
    response = client.get(NOTES, data)
    assert response.status_code == 200
    return [note.title for note in response.context["cl"].result_list]


def change_url(note: Note) -> str:
    return reverse("admin:notes_note_change", args=[note.pk])


def form(note: Note, **changes: object) -> dict[str, object]:
    return {"title": note.title, "content": note.content, "author": note.author_id, **changes}


@pytest.mark.parametrize("query", ["", "?q=note", "?is_public__exact=0"])
def test_the_list_takes_the_same_statements_for_1_note_and_for_30(
    client: Client, query: str
) -> None:
    def add(number: int) -> None:
        author = User.objects.create(username=f"user{number}", name="A User")
        note = Note.objects.create(author=author, title=f"note {number}")
        note.tags.set([Tag.objects.create(name=f"tag {number}")])

    add(0)
    one = len(statements(client, NOTES + query))
    for number in range(1, 30):
        add(number)
    # session, user, two for permissions, estimate, count, rows, their tags, tags of the filter
    assert len(statements(client, NOTES + query)) == one <= 9
    assert len(listed(client)) == 30


def test_the_list_does_not_fetch_texts_or_passwords(client: Client, note: Note) -> None:
    rows = [sql for sql in statements(client, NOTES) if '"notes_note"."title"' in sql]
    assert len(rows) == 1
    assert '"content"' not in rows[0]
    assert '"password"' not in rows[0]


def test_the_list_shows_author_and_tags(client: Client, note: Note) -> None:
    html = client.get(NOTES).content.decode()
    assert "Ann" in html
    assert "blue, red" in html or "red, blue" in html


@pytest.mark.parametrize("words", ["private", "OF ANN", "ann"])
def test_notes_are_found_by_title_and_author(
    client: Client, staff: User, note: Note, words
) -> None:
    Note.objects.create(author=staff, title="something else")
    assert listed(client, q=words) == ["private of ann"]


def test_notes_are_filtered_by_author_tag_and_visibility(
    client: Client, ann: User, staff: User, note: Note
) -> None:
    Note.objects.create(author=staff, title="public of sue", is_public=True)
    red = note.tags.get(name="red")
    assert listed(client, author=str(ann.pk)) == ["private of ann"]
    assert listed(client, author=str(staff.pk)) == ["public of sue"]
    assert listed(client, tag=str(red.pk)) == ["private of ann"]
    assert listed(client, is_public__exact="1") == ["public of sue"]


@pytest.mark.parametrize("key", ["x", "-1", "²", "9" * 30, "0"])
def test_a_filter_without_a_valid_key_finds_nothing(client: Client, note: Note, key: str) -> None:
    assert listed(client, author=key) == []
    assert listed(client, tag=key) == []


def test_staff_edit_any_note_and_its_tags(client: Client, note: Note) -> None:
    blue, green = Tag.objects.get(name="blue"), Tag.objects.create(name="green")
    data = form(note, title="changed", is_public="on", tag_names=[blue.pk, green.pk])
    assert client.post(change_url(note), data).status_code == 302

    note.refresh_from_db()
    assert (note.title, note.is_public) == ("changed", True)
    assert set(note.tags.all()) == {blue, green}


def test_staff_add_notes(client: Client, ann: User) -> None:
    red = Tag.objects.create(name="red")
    data = {"title": "new", "content": "", "author": ann.pk, "tag_names": [red.pk]}
    assert client.post(reverse("admin:notes_note_add"), data).status_code == 302
    note = Note.objects.get()
    assert (note.author, note.is_public, list(note.tags.all())) == (ann, False, [red])


def test_a_notes_page_shows_its_tags_chosen(client: Client, note: Note) -> None:
    html = client.get(change_url(note)).content.decode()
    for tag in note.tags.all():
        assert f'<option value="{tag.pk}" selected>{tag.name}</option>' in html


def test_a_notes_page_takes_the_same_statements_for_1_tag_and_for_30(
    client: Client, note: Note
) -> None:
    one = len(statements(client, change_url(note)))
    note.tags.set([Tag.objects.create(name=f"tag {number}") for number in range(30)])
    assert len(statements(client, change_url(note))) == one


# the trash


def trashed(note: Note) -> bool:
    note.refresh_from_db()
    return note.deleted_at is not None


def test_a_deleted_note_lies_in_the_trash_until_it_is_deleted_again(
    client: Client, note: Note
) -> None:
    url = reverse("admin:notes_note_delete", args=[note.pk])
    assert "It can be restored there" in client.get(url).content.decode()
    assert not trashed(note)
    assert client.post(url, {"post": "yes"}).status_code == 302
    assert trashed(note)

    html = client.get(url).content.decode()
    assert "<li>Notes: 1</li><li>Note tags: 2</li>" in html
    assert client.post(url, {"post": "yes"}).status_code == 302
    assert not Note.objects.exists()
    assert Tag.objects.count() == 2


def test_the_list_shows_the_trash_or_the_rest(client: Client, ann: User, note: Note) -> None:
    Note.objects.create(author=ann, title="in the trash", deleted_at=timezone.now())
    assert listed(client) == ["private of ann"]
    assert listed(client, trash="yes") == ["in the trash"]
    assert listed(client, trash="x") == ["private of ann"]
    html = client.get(NOTES).content.decode()
    assert "Not in the trash" in html


def acted(client: Client, url: str, action: str, note: Note) -> str:
    """Confirm an action; return the next list."""
    data = {"action": action, "_selected_action": [note.pk]}
    page = client.post(url, data)
    assert page.status_code == 200
    assert client.post(url, form_of(page)).status_code == 302
    return client.get(url).content.decode()


def test_notes_go_to_the_trash_and_come_back_by_actions(client: Client, note: Note) -> None:
    trash = f"{NOTES}?trash=yes"
    assert "Moved to the trash: 1 note." in acted(client, NOTES, "move_to_trash", note)
    assert trashed(note)
    assert "Restored 1 note." in acted(client, trash, "restore", note)
    assert not trashed(note)
    assert note.tags.count() == 2
    messages = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert messages == ["Moved to the trash.", "Restored."]


def test_actions_of_the_trash_change_no_other_notes(client: Client, note: Note) -> None:
    trash = f"{NOTES}?trash=yes"
    for action in ("restore", "delete_selected"):
        for url in (NOTES, trash):
            data = {"action": action, "_selected_action": [note.pk], "post": "yes"}
            client.post(url, data)
    assert not trashed(note)


def test_each_list_has_its_actions(client: Client, note: Note) -> None:
    def offered(url: str) -> set[str]:
        form = client.get(url).context["action_form"]
        return {name for name, _ in form.fields["action"].choices if name}

    assert offered(NOTES) == {"move_to_trash"}
    note.deleted_at = timezone.now()
    note.save()
    assert offered(f"{NOTES}?trash=yes") == {"restore", "delete_selected"}


def test_a_note_in_the_trash_is_shown_and_not_edited(client: Client, note: Note) -> None:
    page = form_of(client.get(change_url(note)))
    Note.objects.filter(pk=note.pk).update(deleted_at=timezone.now())
    html = client.get(change_url(note)).content.decode()
    assert "the whole text" in html
    assert "red, blue" in html or "blue, red" in html
    assert 'name="_save"' not in html

    response = send(client, change_url(note), page, content="typed")
    assert response.status_code == 404
    assert "typed" in response.content.decode()
    note.refresh_from_db()
    assert note.content == "the whole text"


# completions


@pytest.mark.parametrize(("field", "words"), [("author", "ann"), ("tags", "re")])
def test_authors_and_tags_are_completed(client: Client, note: Note, field: str, words: str) -> None:
    query = {"app_label": "notes", "model_name": "note", "field_name": field, "term": words}
    results = client.get(reverse("admin:autocomplete"), query).json()["results"]
    ann = note.author
    expected = {"author": f"Ann (ann, id {ann.pk})", "tags": "red"}
    assert [result["text"] for result in results] == [expected[field]]


def test_two_users_of_one_name_are_told_apart(client: Client, note: Note, ann: User) -> None:
    other = User.objects.create(username="ann2", name="Ann", email="ann2@example.org")
    query = {"app_label": "notes", "model_name": "note", "field_name": "author", "term": "ann"}
    results = client.get(reverse("admin:autocomplete"), query).json()["results"]
    assert [result["text"] for result in results] == [
        f"Ann (ann, id {ann.pk})",
        f"Ann (ann2, ann2@example.org, id {other.pk})",
    ]
    # the chosen author of a form and the filter of a list have the same text
    assert f"Ann (ann, id {ann.pk})" in client.get(change_url(note)).content.decode()
    assert f"Ann (ann, id {ann.pk})" in client.get(NOTES, {"author": ann.pk}).content.decode()


def test_a_tag_is_made_from_the_form_of_a_note(client: Client, note: Note) -> None:
    html = client.get(change_url(note)).content.decode()
    url = reverse("admin:tags_tag_add")
    assert 'id="add_id_tag_names"' in html
    assert f'href="{url}?_to_field=id&amp;_popup=1"' in html

    response = client.post(url, {"name": "green", "_popup": "1"})
    assert response.status_code == 200  # the page that hands the tag to the form
    green = Tag.objects.get(name="green")
    assert f"&quot;value&quot;: &quot;{green.pk}&quot;" in response.content.decode()


def test_the_form_of_a_note_offers_no_new_tags_without_the_right(
    client: Client, note: Note, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TagAdmin, "has_add_permission", lambda *_: False)
    assert "add_id_tag_names" not in client.get(change_url(note)).content.decode()


def test_the_pages_link_to_the_notes_application(client: Client) -> None:
    assert '<a href="/">View site</a>' in client.get(reverse("admin:index")).content.decode()
    assert client.get("/").status_code == 200


def test_other_users_are_sent_to_the_login(ann: User, note: Note) -> None:
    client = Client()
    client.force_login(ann)
    assert client.get(change_url(note)).status_code == 302


# long tables


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_admin, "EXACT_COUNT", 10)


def analyse() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE notes_note")


def make_notes(author: User, number: int) -> None:
    Note.objects.bulk_create(Note(author=author, title=f"note {n}") for n in range(number))


def test_a_long_table_is_estimated(client: Client, ann: User, short_limit: None) -> None:
    make_notes(ann, 25)
    analyse()
    make_notes(ann, 5)  # the planner has no estimate yet
    response = client.get(NOTES)
    assert response.context["cl"].result_count == 25
    assert "about 25 notes" in response.content.decode()
    assert not any(sql.startswith("SELECT COUNT") for sql in statements(client, NOTES))


def test_a_short_table_is_counted(client: Client, ann: User, short_limit: None) -> None:
    make_notes(ann, 5)
    analyse()
    make_notes(ann, 3)
    assert client.get(NOTES).context["cl"].result_count == 8


def test_a_filtered_list_is_counted_up_to_the_limit(
    client: Client, ann: User, staff: User, short_limit: None
) -> None:
    make_notes(ann, 25)
    make_notes(staff, 4)
    analyse()

    def count(author: User) -> int:
        return client.get(NOTES, {"author": author.pk}).context["cl"].result_count

    assert (count(ann), count(staff)) == (10, 4)

    html = client.get(NOTES, {"author": ann.pk, "q": "note"}).content.decode()
    assert "more than 10 results" in html
    assert "more than 10 notes" in html
    html = client.get(NOTES, {"author": staff.pk, "q": "note"}).content.decode()
    assert "4 results" in html


def test_a_filtered_list_with_as_many_rows_as_the_limit_is_exact(
    client: Client, ann: User, short_limit: None
) -> None:
    make_notes(ann, 10)
    html = client.get(NOTES, {"author": ann.pk}).content.decode()
    assert "10 notes" in html
    assert "more than" not in html


def test_the_whole_of_a_list_is_said_honestly(
    client: Client, ann: User, short_limit: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_notes(ann, 25)
    monkeypatch.setattr(NoteAdmin, "list_per_page", 5)
    html = client.get(NOTES, {"author": ann.pk}).content.decode()
    assert "Select all more than 10 notes" in html
