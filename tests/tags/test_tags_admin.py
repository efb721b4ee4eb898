"""The admin of tags."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from notes.models import Note
from tags.models import Tag
from users.models import User

pytestmark = pytest.mark.django_db

TAGS = reverse("admin:tags_tag_changelist")


@pytest.fixture
def staff() -> User:
    return User.objects.create(username="sue", name="Sue", is_staff=True)


@pytest.fixture
def client(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def tagged(name: str, author: User, notes: int) -> Tag:
    tag = Tag.objects.create(name=name)
    for number in range(notes):
        Note.objects.create(author=author, title=f"{name} {number}").tags.add(tag)
    return tag


def test_the_list_takes_the_same_statements_for_1_tag_and_for_30(
    client: Client, staff: User
) -> None:
    def statements() -> int:
        client.get(
            TAGS
        )  # Django looks content types up once a process; this does it before the counts
        with CaptureQueriesContext(connection) as queries:
            assert client.get(TAGS).status_code == 200
        # statements that set a deadline do not count
        return sum(" FROM " in query["sql"] for query in queries)

    tagged("tag 0", staff, 2)
    one = statements()
    for number in range(1, 30):
        tagged(f"tag {number}", staff, 2)
    assert statements() == one <= 7  # session, user, two for permissions, estimate, count, rows


def test_tags_show_how_many_notes_carry_them_and_link_to_them(client: Client, staff: User) -> None:
    red, blue = tagged("red", staff, 3), tagged("blue", staff, 0)
    html = client.get(TAGS).content.decode()
    assert f'<a href="/admin/notes/note/?tag={red.pk}">3</a>' in html
    assert f'<a href="/admin/notes/note/?tag={blue.pk}">0</a>' in html


def test_tags_are_found_by_name(client: Client, staff: User) -> None:
    tagged("red", staff, 0)
    tagged("blue", staff, 0)
    found = client.get(TAGS, {"q": "RE"}).context["cl"].result_list
    assert [tag.name for tag in found] == ["red"]


def test_staff_add_and_change_tags_because_the_policy_says_so(client: Client) -> None:
    assert client.post(reverse("admin:tags_tag_add"), {"name": "red"}).status_code == 302
    tag = Tag.objects.get()
    url = reverse("admin:tags_tag_change", args=[tag.pk])
    assert client.post(url, {"name": "crimson"}).status_code == 302
    tag.refresh_from_db()
    assert tag.name == "crimson"


def test_deleting_a_tag_says_how_many_notes_lose_it(client: Client, staff: User) -> None:
    red = tagged("red", staff, 3)
    url = reverse("admin:tags_tag_delete", args=[red.pk])

    html = client.get(url).content.decode()
    assert "red (removed from 3 notes)" in html
    assert "red 0" not in html  # the page does not list the notes

    assert client.post(url, {"post": "yes"}).status_code == 302
    assert not Tag.objects.exists()
    assert Note.objects.count() == 3


def test_several_tags_are_deleted_at_once(client: Client, staff: User) -> None:
    red, blue = tagged("red", staff, 2), tagged("blue", staff, 1)
    data = {"action": "delete_selected", "_selected_action": [red.pk, blue.pk]}
    assert "removed from notes 3 times" in client.post(TAGS, data).content.decode()
    client.post(TAGS, {**data, "post": "yes"})
    assert not Tag.objects.exists()


def test_others_are_sent_to_the_login(staff: User) -> None:
    User.objects.filter(pk=staff.pk).update(is_staff=False)
    client = Client()
    client.force_login(staff)
    assert client.get(TAGS).status_code == 302
