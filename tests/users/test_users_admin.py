"""The admin of users and tokens: numbers of statements, powers of superusers, texts."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from notes.models import Note
from tests.conftest import make_user
from users import sessions
from users.models import ApiToken, User

pytestmark = pytest.mark.django_db

USERS = reverse("admin:users_user_changelist")
TOKENS = reverse("admin:users_apitoken_changelist")
ADD_TOKEN = reverse("admin:users_apitoken_add")


def make(username: str, *permissions: str, **fields: Any) -> User:
    user = User.objects.create(
        username=username, name=username.title(), email=f"{username}@example.org", **fields
    )
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root() -> User:
    return make("root", is_staff=True, is_superuser=True)


@pytest.fixture
def client(root: User) -> Client:
    return logged_in(root)


@pytest.fixture
def ann() -> User:
    return make("ann")


def statements(client: Client, url: str) -> int:
    client.get(url)  # Django looks content types up once a process; this does it before the counts
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    # statements that set a deadline do not count
    return sum(" FROM " in query["sql"] for query in queries)


def page(client: Client, url: str, **data: str) -> str:
    response = client.get(url, data)
    assert response.status_code == 200
    return response.content.decode()


def change_url(user: User) -> str:
    return reverse("admin:users_user_change", args=[user.pk])


# lists


@pytest.mark.parametrize("url", [USERS, TOKENS, USERS + "?q=user", TOKENS + "?q=user"])
def test_a_list_takes_the_same_statements_for_1_row_and_for_30(client: Client, url: str) -> None:
    def add(number: int) -> None:
        user = make(f"user{number}")
        Note.objects.create(author=user, title="note")
        ApiToken.issue(user, f"token of user {number}")

    add(0)
    one = statements(client, url)
    for number in range(1, 30):
        add(number)
    assert statements(client, url) == one
    assert one <= 5  # session, user, estimate, count, rows


def test_users_show_how_many_notes_they_have_and_link_to_them(client: Client, ann: User) -> None:
    for number in range(3):
        Note.objects.create(author=ann, title=f"note {number}")
    html = page(client, USERS)
    assert f'<a href="/admin/notes/note/?author={ann.pk}">3</a>' in html


@pytest.mark.parametrize("words", ["ann", "Ann", "ann@example"])
def test_users_are_found_by_username_name_and_email(client: Client, ann: User, words: str) -> None:
    make("bob")
    html = page(client, USERS, q=words)
    assert "ann@example.org" in html
    assert "bob@example.org" not in html


def test_tokens_are_filtered_by_state(client: Client, ann: User) -> None:
    now = timezone.now()
    ApiToken.issue(ann, "working")
    ApiToken.issue(ann, "limited", expires_at=now + timedelta(days=1))
    ApiToken.issue(ann, "expired", expires_at=now - timedelta(days=1))
    ApiToken.issue(ann, "withdrawn", revoked_at=now)

    def listed(state: str) -> set[str]:
        response = client.get(TOKENS, {"state": state})
        return {token.name for token in response.context["cl"].result_list}

    assert listed("valid") == {"working", "limited"}
    assert listed("expired") == {"expired"}
    assert listed("revoked") == {"withdrawn"}


# users


def test_a_user_is_added_with_a_name(client: Client) -> None:
    response = client.post(
        reverse("admin:users_user_add"),
        {
            "username": "bob", "name": "Bob", "email": "", "usable_password": "true",
            "password1": "correct horse", "password2": "correct horse",
        },
    )  # fmt: skip
    assert response.status_code == 302
    assert User.objects.get(username="bob").check_password("correct horse")


def test_a_users_page_shows_tokens_but_no_digest(client: Client, ann: User) -> None:
    token, text = ApiToken.issue(ann, "laptop")
    html = page(client, change_url(ann))
    assert "laptop" in html
    assert text not in html
    assert token.digest.hex() not in html
    assert reverse("admin:users_apitoken_change", args=[token.pk]) in html


def test_a_users_page_takes_the_same_statements_for_1_token_and_for_30(
    client: Client, ann: User
) -> None:
    ApiToken.issue(ann, "token")
    one = statements(client, change_url(ann))
    for _ in range(29):
        ApiToken.issue(ann, "token")
    assert statements(client, change_url(ann)) == one


def test_staff_edit_profiles_and_nothing_else(ann: User) -> None:
    client = logged_in(make("sue", is_staff=True))
    response = client.post(
        change_url(ann),
        {"name": "Ann Lee", "email": "lee@example.org", "username": "x", "is_staff": "on"},
    )
    assert response.status_code == 302
    ann.refresh_from_db()
    assert (ann.name, ann.email) == ("Ann Lee", "lee@example.org")
    assert (ann.username, ann.is_staff, ann.is_active) == ("ann", False, True)


def test_managers_of_users_cannot_give_powers(ann: User) -> None:
    client = logged_in(make("sue", "change_user", "add_user", is_staff=True))
    data = {"username": "anna", "name": "Ann", "email": "", "is_active": "on"}
    powers = {"is_staff": "on", "is_superuser": "on"}
    assert client.post(change_url(ann), {**data, **powers}).status_code == 302
    ann.refresh_from_db()
    assert ann.username == "anna"
    assert not ann.is_staff
    assert not ann.is_superuser


@pytest.mark.parametrize(
    ("permissions", "target", "status"),
    [
        ((), "ann", 403),
        (("change_user",), "ann", 200),
        (("change_user",), "root", 403),
    ],
)
def test_permissions_to_set_a_password(root: User, ann: User, permissions, target, status) -> None:
    client = logged_in(make("sue", *permissions, is_staff=True))
    url = reverse("admin:auth_user_password_change", args=[User.objects.get(username=target).pk])
    assert client.get(url).status_code == status


def test_only_superusers_delete_superusers(root: User, ann: User) -> None:
    client = logged_in(make("sue", "delete_user", is_staff=True))
    assert client.get(reverse("admin:users_user_delete", args=[root.pk])).status_code == 403
    assert client.get(reverse("admin:users_user_delete", args=[ann.pk])).status_code == 200
    data = {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"}
    assert client.post(USERS, data).status_code == 403
    assert User.objects.filter(pk=root.pk).exists()


# tokens


def issue(client: Client, user: User, **data: str) -> Any:
    values = {"user": user.pk, "name": "laptop", "scope": "write", **data}
    return client.post(ADD_TOKEN, values)


def test_only_the_page_after_saving_has_the_text_of_a_token(
    client: Client, root: User, ann: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with CaptureQueriesContext(connection) as queries:
        response = issue(client, ann)

    # the page shows the text once, selected, and no cache stores the page
    assert response.status_code == 200
    text = response.context["token"].plain_text
    assert response.content.decode().count(text) == 1
    assert 'id="copy-token"' in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]

    # the table has its SHA-256
    token = ApiToken.objects.get()
    assert bytes(token.digest) == ApiToken.digest_of(text)
    assert (token.user, token.name) == (ann, "laptop")

    # the text is not in statements, log, session, cookies, the admin's log or later pages
    assert not any(text in query["sql"] for query in queries)
    assert text not in caplog.text
    assert not any(text in str(session.get_decoded()) for session in Session.objects.all())
    assert not any(text in morsel.value for morsel in client.cookies.values())
    entry = LogEntry.objects.get()
    assert text not in f"{entry.object_repr}{entry.change_message}"
    later = [
        TOKENS, ADD_TOKEN, reverse("admin:index"), change_url(ann),
        reverse("admin:users_apitoken_change", args=[token.pk]),
        reverse("admin:users_apitoken_history", args=[token.pk]),
    ]  # fmt: skip
    for url in later:
        html = page(client, url)
        assert text not in html
        assert token.digest.hex() not in html


def test_the_form_of_a_new_token_asks_for_user_name_and_expiry(client: Client) -> None:
    response = client.get(ADD_TOKEN)
    fields = list(response.context["adminform"].form.fields)
    assert fields == ["user", "name", "scope", "expires_at"]
    assert b"_addanother" not in response.content
    assert b'name="_continue"' not in response.content


def test_a_form_with_an_error_issues_nothing(client: Client, ann: User) -> None:
    response = issue(client, ann, name="")
    assert response.context["errors"]
    assert not ApiToken.objects.exists()


def test_a_tokens_text_and_user_cannot_be_changed(client: Client, root: User, ann: User) -> None:
    token, text = ApiToken.issue(ann, "laptop")
    url = reverse("admin:users_apitoken_change", args=[token.pk])
    data = {"name": "phone", "user": root.pk, "digest": "x", "plain_text": "y", "revoked_at": ""}
    assert client.post(url, {**data, "scope": "admin"}).status_code == 302

    token.refresh_from_db()
    assert (token.name, token.user, token.scope) == ("phone", ann, "write")
    assert bytes(token.digest) == ApiToken.digest_of(text)


def test_revoking_stops_selected_tokens_and_keeps_the_time_of_older_ones(
    client: Client, ann: User
) -> None:
    long_ago = timezone.now() - timedelta(days=9)
    old, _ = ApiToken.issue(ann, "old", revoked_at=long_ago)
    new, _ = ApiToken.issue(ann, "new")
    other, _ = ApiToken.issue(ann, "other")

    data = {"action": "revoke", "_selected_action": [old.pk, new.pk]}
    response = client.post(TOKENS, data, follow=True)

    assert "Revoked 1 token(s)." in response.content.decode()
    for token in (old, new, other):
        token.refresh_from_db()
    assert old.revoked_at == long_ago
    assert new.revoked_at is not None
    assert other.revoked_at is None
    assert LogEntry.objects.get().object_id == str(new.pk)


def test_the_scope_admin_is_for_tokens_of_staff(client: Client, root: User, ann: User) -> None:
    assert "Only staff have powers" in issue(client, ann, scope="admin").content.decode()
    assert not ApiToken.objects.exists()
    issue(client, root, scope="admin")
    assert ApiToken.objects.get().scope == "admin"
    assert "admin: everything" in page(client, TOKENS)


def test_staff_without_permission_see_no_tokens(ann: User) -> None:
    client = logged_in(make("sue", is_staff=True))
    assert client.get(TOKENS).status_code == 403
    assert client.get(ADD_TOKEN).status_code == 403
    ApiToken.issue(ann, "secret of ann")
    assert "secret of ann" not in page(client, change_url(ann))


def test_only_superusers_issue_tokens_for_superusers(root: User, ann: User) -> None:
    client = logged_in(make("sue", "add_apitoken", is_staff=True))
    assert "Only superusers" in issue(client, root).content.decode()
    assert not ApiToken.objects.exists()
    assert "token" in issue(client, ann).context


@pytest.mark.parametrize("url", [USERS, TOKENS, ADD_TOKEN])
def test_other_users_are_sent_to_the_login(ann: User, url: str) -> None:
    response = logged_in(ann).get(url)
    assert response.status_code == 302
    assert response.headers["Location"].startswith(reverse("admin:login"))


def test_sessions_are_shown_and_ended_and_their_tokens_are_not_listed(client):
    access = sessions.begin(make_user("Nora"), device="phone", scope="write", has_cookie=False)
    tokens = client.get(reverse("admin:users_apitoken_changelist"))
    assert tokens.context["cl"].result_count == 0
    listed = client.get(reverse("admin:users_session_changelist"))
    assert "phone" in listed.content.decode()
    assert client.get(reverse("admin:users_session_add")).status_code == 403
    path = reverse("admin:users_session_delete", args=[access.session.pk])
    assert client.post(path, {"post": "yes"}).status_code == 302
    assert not sessions.Session.objects.exists()
    assert not ApiToken.objects.exists()


def attempt(username: str, **age: float) -> int:
    made = AccessAttempt.objects.create(username=username, failures_since_start=1)
    AccessAttempt.objects.filter(pk=made.pk).update(attempt_time=timezone.now() - timedelta(**age))
    return made.pk


def test_expired_attempts_are_deleted_and_the_others_count_on(client):
    expired, recent = attempt("ann", minutes=16), attempt("bob", minutes=14)
    where = reverse("admin:axes_accessattempt_changelist")
    data = {"action": "cleanup_expired_attempts", "_selected_action": [recent, expired]}
    response = client.post(where, data, follow=True)
    assert "Cleaned up 1 expired attempt(s)." in response.content.decode()
    assert list(AccessAttempt.objects.values_list("pk", flat=True)) == [recent]


def test_staff_without_the_permission_to_delete_keep_attempts():
    staff = logged_in(make("staff", "view_accessattempt", is_staff=True))
    one = attempt("ann", minutes=16)  # a log-in would delete it
    where = reverse("admin:axes_accessattempt_changelist")
    staff.post(where, {"action": "cleanup_expired_attempts", "_selected_action": [one]})
    assert AccessAttempt.objects.filter(pk=one).exists()
