"""The commands that the cache sends, counted by Redis.

No command walks through the keys. The commands of a write do not grow with the cache.
"""

import pytest
from django.db import transaction

from notes.models import Note
from pcf.cache.redis_gateway import redis_gateway
from pcf.cache.response_cache import CachedResponses, LookupRequest
from pcf.viewer import ANONYMOUS
from tests.cache.responses import depends_on, look_up, store, stored_body
from tests.conftest import token_for

NOTES = "{ notes { title tags { name } } }"


@pytest.fixture
def cache(redis_server):
    return CachedResponses(redis_gateway())


@pytest.fixture
def counted(redis_server):
    """``counted(action)`` returns how often Redis ran each command, also within scripts."""

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
    """Store entries that depend on other keys of the written kind, and on another kind."""
    for number in range(count):
        put(cache, f"other-{number}", f"{kind}:{number + 1_000}", "tags")


def test_the_counter_sees_walks_through_the_keys(redis_server, counted):
    with redis_server.client() as client:
        assert walks(counted(lambda: [*client.scan_iter()])) == {"scan"}
    redis_gateway().flush_entries()  # operators flush
    assert walks(counted(redis_gateway().flush_entries)) == {"scan"}


def test_no_command_of_the_cache_walks_through_the_keys(cache, counted):
    lookup = look_up(cache, None, "d")
    leading = look_up(cache, None, "f", join=True)

    def read():
        assert cache.look_up(LookupRequest(digest="d")).entry is not None

    steps = {
        "store": lambda: store(cache, lookup, ANONYMOUS, "d", b"x", depends_on("note:1", "notes")),
        "hit": read,
        "miss": lambda: look_up(cache, None, "e", join=True),
        "completion": lambda: cache.complete("anonymous:f", leading.flight),
        "block": lambda: redis_gateway().block("1", ["note!", "note:*", "note:1"]),
        "release": lambda: redis_gateway().release("1"),
        "invalidation": lambda: redis_gateway().invalidate(depends_on("note:1", "tags")),
        "blocking transactions": lambda: redis_gateway().blocking_transactions(0),
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
def test_the_commands_of_a_write_do_not_grow_with_the_cache(live_world, cache, counted, kind):
    """The cache has entries that depend on the written kind, and entries that do not."""
    note = live_world.public

    def write():
        with transaction.atomic():
            Note.objects.filter(pk=note.pk).update(title="one")
            Note.objects.filter(pk=note.pk).update(title="two")

    write()  # Redis has loaded the scripts now
    costs = []
    for others in (10, 2_000):
        fill(cache, others, kind)
        put(cache, "own", f"note:{note.pk}", "notes")
        costs.append(counted(write))
        assert stored_body(cache, "own") is None
        assert stored_body(cache, f"other-{others - 1}") == b"x"
    assert costs[0] == costs[1]
    assert costs[0]["evalsha"] == 2  # block and release
