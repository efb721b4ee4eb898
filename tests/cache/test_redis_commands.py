"""What the cache asks of Redis, counted by Redis itself: no walk through its keys, and a write
costs what it touches, however much else is stored.
"""

import pytest
from django.db import transaction

from notes.models import Note
from pcf.cache.gate import gate
from pcf.cache.responses import Question, ResponseCache
from pcf.viewer import ANONYMOUS
from tests.cache.test_responses import ask as look_up
from tests.cache.test_responses import depends_on, store, stored_body
from tests.conftest import token_for

NOTES = "{ notes { title tags { name } } }"


@pytest.fixture
def cache(redis_server):
    return ResponseCache(gate())


@pytest.fixture
def counted(redis_server):
    """``counted(action)``: how often Redis ran each command meanwhile, those of scripts too."""

    def count(action):
        with redis_server.client() as client:
            client.config_resetstat()
            action()
            stats = client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}
        calls.pop("config|resetstat", None)
        return calls

    return count


def walks(calls):
    return {name for name in calls if name == "keys" or name.endswith("scan")}


def put(cache, digest, *names):
    found = look_up(cache, None, digest)
    assert store(cache, found, ANONYMOUS, digest, b"x", depends_on(*names))


def fill(cache, count, kind="note"):
    """Entries that depend on other keys of the kind that is written, and of another."""
    for number in range(count):
        put(cache, f"other-{number}", f"{kind}:{number + 1_000}", "tags")


def test_walks_are_seen(redis_server, counted):
    with redis_server.client() as client:
        assert walks(counted(lambda: [*client.scan_iter()])) == {"scan"}
    gate().flush()  # an operator's
    assert walks(counted(gate().flush)) == {"scan"}


def test_no_command_of_the_cache_walks_through_the_keys(cache, counted):
    lookup = look_up(cache, None, "d")
    leading = look_up(cache, None, "f", join=True)

    def read():
        assert cache.look_up(Question(digest="d")).entry is not None

    steps = {
        "store": lambda: store(cache, lookup, ANONYMOUS, "d", b"x", depends_on("note:1", "notes")),
        "hit": read,
        "miss": lambda: look_up(cache, None, "e", join=True),
        "landing": lambda: cache.land("anonymous:f", leading.flight),
        "mark": lambda: gate().mark("1", ["note!", "note:*", "note:1"]),
        "clear": lambda: gate().clear("1"),
        "invalidation": lambda: gate().invalidate(depends_on("note:1", "tags")),
        "marked": lambda: gate().marked(0),
    }
    for name, step in steps.items():
        calls = counted(step)
        assert calls, name
        assert walks(calls) == set(), name


def test_no_request_walks_through_the_keys(live_world, counted, cache, ask):
    token = token_for(live_world.ann)
    title = f'updateNote(input: {{id: "{live_world.public.pk}", title: "new"}}) {{ note {{ id }} }}'

    def requests():
        answers = [ask(NOTES, token), ask(NOTES, token), ask(NOTES)]
        assert [answer.cache_status for answer in answers][1] == "pcf; hit"
        ask(f"mutation {{ {title} }}", token)
        assert ask(NOTES, token).cache_status == "pcf; fwd=miss; stored"

    assert walks(counted(requests)) == set()


@pytest.mark.parametrize("kind", ["note", "tag"])
def test_a_write_takes_as_many_commands_however_much_is_stored(live_world, cache, counted, kind):
    """Others that depend on the kind that is written, and others that do not."""
    note = live_world.public

    def write():
        with transaction.atomic():
            Note.objects.filter(pk=note.pk).update(title="one")
            Note.objects.filter(pk=note.pk).update(title="two")

    write()  # from now on Redis knows the scripts
    costs = []
    for others in (10, 2_000):
        fill(cache, others, kind)
        put(cache, "own", f"note:{note.pk}", "notes")
        costs.append(counted(write))
        assert stored_body(cache, "own") is None
        assert stored_body(cache, f"other-{others - 1}") == b"x"
    assert costs[0] == costs[1]
    assert costs[0]["evalsha"] == 2  # the mark, and its end
