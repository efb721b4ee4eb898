"""Users whose primary key is a UUID."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from odd.models import Member
from oddities.schema import token_for

pytestmark = pytest.mark.django_db(transaction=True)
ME = "{ me { id name } }"


@pytest.fixture
def ann():
    return Member.objects.create(name="Ann")


def test_a_request_is_answered_again_and_again(ask, ann):
    bob = Member.objects.create(name="Bob")
    for member in (ann, bob, ann, bob):
        for _ in range(3):
            answer = ask(ME, token=token_for(member))
            assert answer.status == 200
            assert answer.data == {"me": {"id": str(member.pk), "name": member.name}}
        assert answer.is_hit
    assert ask(ME).data == {"me": None}


def test_a_write_removes_the_answer_and_the_credentials(ask, ann):
    token = token_for(ann)
    for _ in range(2):
        ask(ME, token=token)
    Member.objects.filter(pk=ann.pk).update(name="Anna")
    assert ask(ME, token=token).data["me"]["name"] == "Anna"
    assert ask(ME, token=token).is_hit
    Member.objects.filter(pk=ann.pk).update(is_active=False)
    assert ask(ME, token=token).status == 401


def test_operators_flush_by_a_users_id(ask, ann):
    token = token_for(ann)
    for _ in range(2):
        ask(ME, token=token)

    def flush(*arguments):
        out = StringIO()
        call_command("flush_cache", *arguments, stdout=out)
        return out.getvalue()

    assert "1 cached entry of viewer" in flush("--viewer", str(ann.pk))
    assert not ask(ME, token=token).is_hit
    assert ask(ME, token=token).is_hit
    flush("--type", "Member", "--id", ann.pk.hex.upper())
    assert not ask(ME, token=token).is_hit
    for wrong in (("--viewer", "7"), ("--type", "Member", "--id", "7")):
        with pytest.raises(CommandError):
            flush(*wrong)


def test_the_cache_is_warmed_for_a_user(ask, ann, tmp_path):
    file = tmp_path / "warm.json"
    file.write_text(json.dumps([{"query": ME, "viewers": [str(ann.pk)]}]))
    call_command("warm_cache", str(file), stdout=StringIO())
    assert ask(ME, token=token_for(ann)).is_hit
    file.write_text(json.dumps([{"query": ME, "viewers": ["x"]}]))
    with pytest.raises(CommandError, match="user ids"):
        call_command("warm_cache", str(file), stdout=StringIO())
