"""The constraints in PostgreSQL, which hold for every writer."""

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import DateField, Model
from django.utils import timezone

from notes.models import Note, NoteTag
from tests.conftest import make_note
from users import sessions
from users.models import ApiToken, User

pytestmark = pytest.mark.django_db


def make(**fields: Any) -> User:
    return User.objects.create(**{"username": "ann", "name": "Ann", **fields})


def refused(constraint: str) -> Any:
    return pytest.raises(IntegrityError, match=constraint)


def test_a_users_name_is_not_empty() -> None:
    with refused("users_user_name_not_empty"):
        make(name="")


def test_a_username_is_unique() -> None:
    make()
    with refused("users_user_username"):
        make()


def test_a_users_text_is_the_name_else_the_username() -> None:
    assert str(User(username="ann", name="Ann Lee")) == "Ann Lee"
    assert str(User(username="ann")) == "ann"


def test_a_tokens_name_is_not_empty() -> None:
    user = make()
    with refused("users_apitoken_name_not_empty"):
        ApiToken.objects.create(user=user, name="", digest=ApiToken.digest_of("x"))


def test_two_tokens_cannot_have_one_digest() -> None:
    user = make()
    ApiToken.objects.create(user=user, name="one", digest=ApiToken.digest_of("x"))
    with refused("users_apitoken_digest_key"):
        ApiToken.objects.create(user=user, name="two", digest=ApiToken.digest_of("x"))


@pytest.mark.parametrize("digest", [b"", b"short", b"x" * 31, b"x" * 33])
def test_a_digest_is_whole(digest: bytes) -> None:
    user = make()
    with refused("users_apitoken_digest_length"):
        ApiToken.objects.create(user=user, name="token", digest=digest)


def test_a_token_needs_its_user() -> None:
    token = ApiToken(user_id=123_456_789, name="token", digest=ApiToken.digest_of("x"))
    with refused("users_apitoken_user_id"), transaction.atomic():
        token.save()
        connection.check_constraints()


OUT_OF_RANGE = (
    "infinity",
    "-infinity",
    "4713-01-01 BC",
    "0001-01-01",
    "9999-12-31",
    "294276-01-01",
)


@pytest.mark.parametrize("value", OUT_OF_RANGE)
@pytest.mark.parametrize(
    ("model", "field"),
    [
        (model, field.name)
        for model in apps.get_models()
        if model._meta.app_label in {"users", "notes", "tags"}
        for field in model._meta.concrete_fields
        if isinstance(field, DateField) and model is not NoteTag  # a trigger writes this column
    ],
)
def test_a_time_that_python_cannot_read_is_refused(
    model: type[Model], field: str, value: str
) -> None:
    """Every column with a date or a time, for writers that bypass Django as well."""
    user = make()
    ApiToken.issue(user, "token")
    sessions.begin(user, device="", scope="write", has_cookie=False)
    make_note(user, "A title")
    table = model._meta.db_table
    with refused(f"{table}_{field}_range"), connection.cursor() as cursor:
        cursor.execute(f'UPDATE "{table}" SET "{field}" = %s::timestamptz', [value])  # noqa: S608


@pytest.mark.django_db(transaction=True)
def test_the_migration_brings_times_into_the_range() -> None:
    executor = MigrationExecutor(connection)
    targets = [("users", "0002_token_scopes"), ("notes", "0002_initial")]
    executor.migrate(targets)
    try:
        old = executor.loader.project_state(targets).apps
        user = old.get_model("users", "User").objects.create(username="ann", name="Ann")
        for name in ("for ever", "never"):
            old.get_model("users", "ApiToken").objects.create(
                user=user, name=name, digest=ApiToken.digest_of(name)
            )
        old.get_model("notes", "Note").objects.create(author=user, title="A title")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE users_user SET created_at = 'infinity'")
            cursor.execute("UPDATE notes_note SET updated_at = '-infinity'")
            cursor.execute("UPDATE users_apitoken SET last_used_at = '294276-01-01'")
            cursor.execute(
                "UPDATE users_apitoken SET expires_at = CASE name"
                " WHEN 'never' THEN '-infinity' ELSE 'infinity' END::timestamptz"
            )
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    assert User.objects.get().created_at.year == 9999
    assert Note.objects.get().updated_at.year == 1
    expiries = dict(ApiToken.objects.values_list("name", "expires_at"))
    assert expiries["for ever"] is None
    assert expiries["never"].year == 1
    assert all(each.last_used_at.year == 9999 for each in ApiToken.objects.all())


def test_deleting_a_user_deletes_the_tokens() -> None:
    user = make()
    ApiToken.issue(user, "token")
    user.delete()
    assert not ApiToken.objects.exists()


def test_an_issued_token_stores_the_digest_of_its_text_alone() -> None:
    later = timezone.now() + timedelta(days=1)
    token, text = ApiToken.issue(make(), "laptop", expires_at=later)

    stored = ApiToken.objects.get(pk=token.pk)
    assert bytes(stored.digest) == ApiToken.digest_of(text)
    assert stored.expires_at == later
    assert stored.plain_text is None
    assert text not in repr(ApiToken.objects.values_list().get(pk=token.pk))


def test_issued_texts_differ() -> None:
    user = make()
    texts = {ApiToken.issue(user, "token")[1] for _ in range(20)}
    assert len(texts) == 20
    assert min(map(len, texts)) >= 43  # 256 bits in base64
