"""What the database itself refuses, whoever writes."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

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


def test_tokens_go_with_their_user() -> None:
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


def test_every_issued_text_is_another() -> None:
    user = make()
    texts = {ApiToken.issue(user, "token")[1] for _ in range(20)}
    assert len(texts) == 20
    assert min(map(len, texts)) >= 43  # 256 bits in base64
