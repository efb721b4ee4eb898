"""Forms keep the texts that they show."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from notes.models import MAX_CONTENT, MAX_TITLE, Note
from tags.models import Tag
from tags.names import normalized
from tests.admin.pages import opened, send
from users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.repeats]

# PostgreSQL's texts hold neither NUL nor surrogates
LETTERS = st.one_of(
    st.sampled_from(" \t\n\r\f\v\u00a0\u2028\u200b\ufeff\u202e\"'<>&;\\"),
    st.characters(codec="utf-8", exclude_characters="\x00"),
)
# of names of tags
VISIBLE = st.characters(
    exclude_categories=("Cc", "Cn", "Zl", "Zp", "Cs"),
    exclude_characters="\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
)
BOUNDED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def texts(at_most: int, at_least: int = 1) -> st.SearchStrategy[str]:
    return st.text(LETTERS, min_size=at_least, max_size=at_most)


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", "root@example.org", "x", name="Root")


@pytest.fixture
def client(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


def url(row: Any) -> str:
    opts = row._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk])


def saved(client: Client, row: Any, **edits: Any) -> None:
    response = send(client, url(row), opened(client, url(row)), **edits)
    assert response.status_code == 302, response.context["errors"]
    row.refresh_from_db()


@BOUNDED
@given(title=texts(30), content=texts(100, 0))
@example(title="Line one\nline two", content="    code\n\ttab\nend  \n")
@example(title=" ", content="\n\n")
@example(title="\r\n", content="a\r\nb\rc\nd")
@example(title="x", content="\n")
def test_a_note_keeps_the_texts_that_nobody_edits(
    client: Client, root: User, title: str, content: str
) -> None:
    note = Note.objects.create(author=root, title=title, content=content)
    saved(client, note, is_public="on")
    assert (note.title, note.content, note.is_public) == (title, content, True)


@BOUNDED
@given(name=texts(30), first=texts(30, 0), username=texts(20))
@example(name="A\nB", first=" x ", username="ﬁ")
def test_a_user_keeps_the_texts_that_nobody_edits(
    client: Client, name: str, first: str, username: str
) -> None:
    User.objects.exclude(username="root").delete()
    user = User.objects.create(username=username, name=name, first_name=first)
    response = send(client, url(user), opened(client, url(user)), is_staff="on")
    user.refresh_from_db()
    if response.status_code == 200:  # Django's rule for the characters of user names
        assert set(response.context["adminform"].form.errors) == {"username"}
    assert (user.username, user.name, user.first_name) == (username, name, first)


@BOUNDED
@given(name=st.text(VISIBLE, min_size=1, max_size=30).map(normalized).filter(bool))
def test_a_tag_keeps_its_name(client: Client, name: str) -> None:
    Tag.objects.all().delete()
    tag = Tag.objects.create(name=name)
    saved(client, tag)
    assert tag.name == name


@BOUNDED
@given(content=texts(100, 0))
@example(content="  two\r\nlines\n ")
def test_a_text_that_is_edited_is_stored_as_it_was_typed(
    client: Client, root: User, content: str
) -> None:
    note = Note.objects.create(author=root, title="a", content="another text")
    saved(client, note, content=content, title="  b ")
    assert note.content == content.replace("\r\n", "\n").replace("\r", "\n")
    assert note.title == "  b "


def test_line_breaks_count_as_one_character(client: Client, root: User) -> None:
    content = "x\n" * (MAX_CONTENT // 2)
    note = Note.objects.create(author=root, title="\n" * MAX_TITLE, content=content)
    saved(client, note, is_public="on")
    assert note.content == content
    saved(client, note, content="y\n" * (MAX_CONTENT // 2))
    assert note.content == "y\n" * (MAX_CONTENT // 2)
    response = send(client, url(note), opened(client, url(note)), content="z" * (MAX_CONTENT + 1))
    assert set(response.context["adminform"].form.errors) == {"content"}


def test_the_history_names_edited_fields_alone(client: Client, root: User) -> None:
    note = Note.objects.create(author=root, title=" a\r\nb ", content="c\r\nd\n")
    saved(client, note, is_public="on")
    history = client.get(reverse("admin:notes_note_history", args=[note.pk])).content.decode()
    assert "Changed Is public." in history


@pytest.mark.parametrize("title", ["", " ", "\n", "\t "])
def test_a_blank_title_is_refused(client: Client, root: User, title: str) -> None:
    note = Note.objects.create(author=root, title="a")
    response = send(client, url(note), opened(client, url(note)), title=title)
    assert set(response.context["adminform"].form.errors) == {"title"}
