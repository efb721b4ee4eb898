"""Flushing the cache: by a function, by ``flush_cache``, in the admin."""

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.urls import reverse

from pcf.cache.invalidation import flush_type
from pcf.cache.redis_gateway import redis_gateway
from tests.conftest import make_user, token_for

NOTES = "{ notes { title } }"
TAGS = "{ tags { name } }"
PAGE = "admin:pcf_responsecache_changelist"
FLUSH = "admin:pcf_responsecache_flush"


def test_flushing_a_type_or_a_row(live_world, ask):
    one = f'{{ note(id: "{live_world.public.pk}") {{ title }} }}'
    tags = "{ tags { name } }"
    ask(one), ask(tags)

    assert flush_type("Tag", live_world.red.pk) == 1
    assert ask(one).cache_status == "pcf; hit"
    assert ask(tags).cache_status != "pcf; hit"
    assert flush_type("Note", live_world.public.pk) == 1
    assert ask(one).cache_status != "pcf; hit"
    assert flush_type("Note") == 1
    with pytest.raises(LookupError, match="ApiToken, Note, NoteTag,"):
        flush_type("Nope")
    assert redis_gateway().flush_entries() == 1


def run(capsys, *arguments):
    call_command(*arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (["--viewer", "anonymous"], {"anonymous"}),
        (["--viewer", "shared"], {"shared"}),
        (["--type", "Tag"], {"shared"}),
        (["--type", "Note"], {"anonymous", "ann"}),
        (["--all"], {"anonymous", "ann", "shared"}),
    ],
)
def test_flush_cache_removes_what_is_named_and_nothing_else(
    live_world, ask, capsys, arguments, gone
):
    token = token_for(live_world.ann)
    asked = {"anonymous": (NOTES, None), "ann": (NOTES, token), "shared": (TAGS, None)}
    for query, whose in asked.values():
        ask(query, whose)
    run(capsys, "flush_cache", *arguments)
    missing = {name for name, how in asked.items() if ask(*how).cache_status != "pcf; hit"}
    assert missing == gone


def test_flush_cache_of_a_user_and_of_an_unknown_viewer(live_world, ask, capsys):
    token = token_for(live_world.ann)
    ask(NOTES, token), ask(NOTES)
    told = run(capsys, "flush_cache", "--user", str(live_world.ann.pk))
    assert told == f"1 cached entry of viewer {live_world.ann.pk} removed\n"
    assert ask(NOTES).cache_status == "pcf; hit"
    with pytest.raises(CommandError, match="A viewer is a user's id, anonymous or shared"):
        call_command("flush_cache", "--viewer", "nobody")


def test_flush_cache_of_a_row_that_does_not_exist_says_what_it_removed(live_world, ask, capsys):
    ask(TAGS)
    told = run(capsys, "flush_cache", "--type", "Tag", "--id", "99999")
    assert told == "there is no such row: 1 cached entry of type Tag removed\n"


# --- the admin


@pytest.fixture
def staff(live_world, client):
    """``staff(*permissions)`` logs a member of staff in with these permissions of the cache."""

    def log_in(*permissions):
        user = make_user("Max", is_staff=True)
        wanted = [f"{name}_responsecache" for name in permissions]
        user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
        client.force_login(user)
        return client

    return log_in


def test_the_admin_shows_rate_and_size_with_the_permission(staff):
    page = staff("view").get(reverse(PAGE)).content.decode()
    assert "Hit rate" in page
    assert "Memory of Redis" in page
    assert "Flush" not in page


def test_the_admin_refuses_users_without_the_permission(staff, client, live_world):
    assert client.get(reverse(PAGE)).status_code == 302
    member = staff()
    assert member.get(reverse(PAGE)).status_code == 403
    assert member.post(reverse(FLUSH), {"scope": "all", "confirmed": "yes"}).status_code == 403


def test_the_admin_flushes_after_a_confirmation(staff, ask, live_world):
    ask(NOTES), ask(TAGS)
    member = staff("view", "flush")
    assert reverse(FLUSH) in member.get(reverse(PAGE)).content.decode()
    asked = {"scope": "type", "type": "Tag"}
    assert "type Tag" in member.post(reverse(FLUSH), asked).content.decode()
    assert ask(TAGS).cache_status == "pcf; hit"
    assert member.get(reverse(FLUSH), {**asked, "confirmed": "yes"}).status_code == 200
    assert ask(TAGS).cache_status == "pcf; hit"
    done = member.post(reverse(FLUSH), {**asked, "confirmed": "yes"}, follow=True)
    assert "1 cached entry of type Tag removed" in done.content.decode()
    assert ask(TAGS).cache_status != "pcf; hit"
    assert ask(NOTES).cache_status == "pcf; hit"


@pytest.mark.parametrize(
    "given",
    [{"scope": "viewer"}, {"scope": "viewer", "viewer": "x"}, {"scope": "type"}, {"scope": "y"}],
)
def test_the_admin_flushes_nothing_for_an_invalid_form(staff, ask, live_world, given):
    ask(NOTES)
    answer = staff("view", "flush").post(reverse(FLUSH), {**given, "confirmed": "yes"})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert ask(NOTES).cache_status == "pcf; hit"
