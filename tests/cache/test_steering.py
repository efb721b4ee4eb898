"""Looking at the cache and steering it: commands, the admin, figures."""

import json

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.urls import reverse

from pcf.apps import find_service
from pcf.cache import tally
from pcf.cache.gate import gate
from pcf.cache.tally import overview
from tests.conftest import make_user, token_for
from users.models import ApiToken

NOTES = "{ notes { title } }"
TAGS = "{ tags { name } }"
PAGE = "admin:pcf_responsecache_changelist"
FLUSH = "admin:pcf_responsecache_flush"


def run(capsys, *arguments):
    call_command(*arguments)
    return capsys.readouterr().out


@pytest.fixture
def reports_at_once(monkeypatch):
    monkeypatch.setattr(tally, "INTERVAL", 0.0)
    monkeypatch.setattr(find_service()._cache.tally, "_due", 0.0)


def test_hits_and_misses_are_counted_over_all_processes(live_world, ask, reports_at_once):
    bypassing = "{ slowQuery(delay: 0) }"
    token = token_for(live_world.ann)
    ask(bypassing, token)  # reports what earlier tests have counted, under this test's prefix
    before = overview(gate()).last_hour
    for _ in range(4):
        ask(NOTES)
    ask(bypassing, token)
    after = overview(gate()).last_hour
    assert (after.hits - before.hits, after.misses - before.misses) == (3, 1)
    assert overview(gate()).last_day.hits == after.hits


def test_cache_stats_tells_what_there_is(live_world, ask, capsys):
    ask(NOTES), ask(TAGS), ask(NOTES, token_for(live_world.ann))
    told = " ".join(run(capsys, "cache_stats").split())
    for line in (
        "responses, anonymous 1 ",
        "responses, shared 1 ",
        "responses, one viewer's 1 ",
        "credentials 1 ",
        "hit rate, 24 hours",
        "Redis uses",
    ):
        assert line in told


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


def test_flush_cache_of_a_user_and_of_nobody(live_world, ask, capsys):
    token = token_for(live_world.ann)
    ask(NOTES, token), ask(NOTES)
    told = run(capsys, "flush_cache", "--user", str(live_world.ann.pk))
    assert told == f"1 cached entry of viewer {live_world.ann.pk} removed\n"
    assert ask(NOTES).cache_status == "pcf; hit"
    with pytest.raises(CommandError, match="A viewer is a user's id, anonymous or shared"):
        call_command("flush_cache", "--viewer", "nobody")


def test_warm_cache_asks_in_the_viewers_names(live_world, ask, capsys, tmp_path):
    token = token_for(live_world.ann)
    scope = ApiToken.objects.get().scope
    ann, by_id = live_world.ann.pk, "query N($id: ID!) { note(id: $id) { title } }"
    private = {"query": by_id, "variables": {"id": str(live_world.private.pk)}}
    file = tmp_path / "warm.json"
    file.write_text(json.dumps([{"query": TAGS}, {**private, "viewers": [ann, "anonymous"]}]))
    assert run(capsys, "warm_cache", str(file)).splitlines() == [
        "1 for anonymous: pcf; fwd=miss; stored",
        f"2 for {ann}.{scope}: pcf; fwd=miss; stored",
        "2 for anonymous: pcf; fwd=miss; stored",
    ]
    warm = ask(by_id, token, private["variables"])
    assert warm.cache_status == "pcf; hit"
    assert warm.data == {"note": {"title": "private of ann"}}
    assert ask(by_id, None, private["variables"]).data == {"note": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "list of objects"),
        ('[{"query": 1}]', "'query' must be"),
        ('[{"query": "{ me { id } }", "viewers": ["x"]}]', "viewers of 1"),
        ('[{"query": "{ nope }"}]', "1 could not be answered"),
        ('[{"query": "{ me { id } }", "viewers": [999999999]}]', "1 could not be answered"),
        ("[", "warm.json"),
    ],
)
def test_warm_cache_says_what_is_wrong(live_world, tmp_path, content, message):
    file = tmp_path / "warm.json"
    file.write_text(content)
    with pytest.raises(CommandError, match=message):
        call_command("warm_cache", str(file))


@pytest.fixture
def staff(live_world, client):
    """Logs a member of staff in who has these permissions of the cache."""

    def log_in(*permissions):
        user = make_user("Max", is_staff=True)
        wanted = [f"{name}_responsecache" for name in permissions]
        user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
        client.force_login(user)
        return client

    return log_in


def test_the_admin_shows_rate_and_size_to_whom_it_may(staff):
    page = staff("view").get(reverse(PAGE)).content.decode()
    assert "Hit rate" in page
    assert "Memory of Redis" in page
    assert "Flush" not in page


def test_the_admin_keeps_everybody_else_out(staff, client, live_world):
    assert client.get(reverse(PAGE)).status_code == 302
    member = staff()
    assert member.get(reverse(PAGE)).status_code == 403
    assert member.post(reverse(FLUSH), {"scope": "all", "confirmed": "yes"}).status_code == 403


def test_the_admin_flushes_when_it_is_asked_twice(staff, ask, live_world):
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
def test_the_admin_flushes_nothing_that_is_not_said_clearly(staff, ask, live_world, given):
    ask(NOTES)
    answer = staff("view", "flush").post(reverse(FLUSH), {**given, "confirmed": "yes"})
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert ask(NOTES).cache_status == "pcf; hit"
