from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from users.models import ApiToken, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return User.objects.create(username="ann", name="Ann")


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("create_token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_only_the_text_goes_to_standard_output(ann: User) -> None:
    out, err = run("ann", "--name", "laptop")

    text = out.strip()
    token = ApiToken.objects.get(digest=ApiToken.digest_of(text))
    assert (token.user, token.name, token.expires_at) == (ann, "laptop", None)
    assert out == f"{text}\n"
    assert "'laptop' for 'ann'" in err
    assert text not in err


def test_a_token_expires_in_days(ann: User) -> None:
    before = timezone.now()
    _, err = run("ann", "--name", "laptop", "--expires-in", "30")

    expires_at = ann.api_tokens.get().expires_at
    assert before <= expires_at - timedelta(days=30) <= timezone.now()
    assert f"{expires_at:%Y-%m-%d}" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "--name", "x"], "there is no user 'nobody'"),
        (["ann", "--name", "x", "--expires-in", "0"], "1 to 36,500 days, got 0"),
        (["ann", "--name", "x", "--expires-in", "-1"], "1 to 36,500 days, got -1"),
        (["ann", "--name", "x", "--expires-in", "36501"], "1 to 36,500 days, got 36501"),
        (["ann", "--name", "x", "--expires-in", "soon"], "invalid int value: 'soon'"),
        (["ann", "--name", ""], "cannot be blank"),
        (["ann", "--name", "x" * 101], "at most 100 characters"),
        (["ann", "--name", "x", "--scope", "all"], "invalid choice: 'all'"),
        (["ann", "--name", "x", "--scope", "admin"], "Only staff have powers"),
        (["ann"], "the following arguments are required: --name"),
    ],
)
def test_a_wrong_argument_is_refused_and_creates_nothing(ann: User, arguments, message) -> None:
    with pytest.raises(CommandError, match=message):
        run(*arguments)
    assert not ApiToken.objects.exists()


def test_an_inactive_user_gets_no_token(ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(is_active=False)
    with pytest.raises(CommandError, match="'ann' is not active"):
        run("ann", "--name", "x")
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("scope", ["read", "write", "admin"])
def test_a_token_has_the_given_scope(ann: User, scope: str) -> None:
    User.objects.filter(pk=ann.pk).update(is_staff=True)
    _, err = run("ann", "--name", "laptop", "--scope", scope)
    assert ann.api_tokens.get().scope == scope
    assert f"scope {scope}" in err


def test_the_default_scope_is_write(ann: User) -> None:
    run("ann", "--name", "laptop")
    assert ann.api_tokens.get().scope == "write"
