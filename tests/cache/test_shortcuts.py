"""Shortcuts to hits: when one tells, and when a look-up has to."""

from time import time
from unittest.mock import Mock

import pytest
from django_redis import get_redis_connection

from pcf.apps import config
from pcf.cache.entries import Content
from pcf.cache.gate import gate
from pcf.cache.responses import Question, ResponseCache, entry_name
from pcf.cache.shortcuts import Shortcut
from pcf.cache.wire import Wire, wire
from pcf.execution.dependencies import Dependencies
from pcf.viewer import Scope, Viewer

ANN = Viewer(1, scope=Scope.READ)
CREDENTIALS = ANN.name.encode()
META, TAG, BODY, RUN = b"300 0", b"tag", b"body", b"12345678"
FOUND = [[CREDENTIALS, RUN], [META, TAG, b"0", RUN, BODY], 200_000]


def shortcut(credentials=CREDENTIALS, token="t"):
    return Shortcut.to("p", token, credentials, "1.read:d", "")


def test_it_tells_what_was_found_when_all_is_as_it_was():
    entry = shortcut().entry(RUN, FOUND)
    assert (entry.body, entry.tag, entry.age, entry.max_age) == (b"body", "tag", 100, 300)
    assert shortcut(b"", None).entry(RUN, FOUND[1:]).body == b"body"


@pytest.mark.parametrize(
    "replies",
    [
        [[b"2.read", RUN], *FOUND[1:]],  # the token is somebody else's
        [[None, None], *FOUND[1:]],  # it was revoked
        [[CREDENTIALS, b"87654321"], *FOUND[1:]],  # remembered by another run of the server
        [FOUND[0], [META, TAG, b"0", b"87654321", BODY], 200_000],
        [FOUND[0], [None] * 5, -2],  # the entry is gone
        [FOUND[0], FOUND[1], -2],  # it went between the two commands
        [FOUND[0], [META, TAG, b"60000", RUN, BODY], 200_000],  # it may be stale
        [FOUND[0], [META, TAG, b"0", RUN, b""], 200_000],  # no longer in this coding
    ],
)
def test_whatever_is_not_as_it_was_is_left_to_a_look_up(replies):
    assert shortcut().entry(RUN, replies) is None


def test_credentials_end_when_they_expire():
    later, now = (f"1.read {time() + seconds}".encode() for seconds in (60, -1))
    assert shortcut(later).entry(RUN, [[later, RUN], *FOUND[1:]]) is not None
    assert shortcut(now).entry(RUN, [[now, RUN], *FOUND[1:]]) is None


def test_what_is_private_is_not_shown():
    text = repr(shortcut(b"1.read", "the-token"))
    assert "1.read" not in text
    assert "the-token" not in text


@pytest.fixture
def stored(live_world):
    """``stored(digest)`` stores a response, whose body is the digest, and returns its shortcut."""
    cache = ResponseCache(gate())
    cache.tally.report()

    def store(digest):
        dependencies = Dependencies()
        dependencies.add("note", (1,))
        lookup = cache.look_up(Question(digest=digest))
        name = entry_name(Viewer(), digest, shared=False)
        assert cache.store(lookup, name, Content.of(digest.encode()), 300, dependencies)
        return cache.shortcut(None, b"", digest, "", shared=False)

    store.cache = cache
    return store


def test_many_are_taken_together_and_each_gets_its_own(stored, monkeypatch):
    ways = [stored(digest) for digest in "abc"]
    key = f"{config().cache.prefix}:e:{entry_name(Viewer(), 'b', shared=False)}"
    get_redis_connection("default").delete(key)
    read = Mock(wraps=wire("default").read)
    monkeypatch.setattr(Wire, "read", lambda _, *how: read(*how))
    first, gone, last = stored.cache.take(ways)
    assert (first.body, gone, last.body) == (b"a", None, b"c")
    assert read.call_count == 1


def test_nothing_is_taken_while_something_is_owed_and_nothing_is_settled(stored, monkeypatch):
    """That takes SQL, for which whoever takes shortcuts does not wait."""
    way = stored("d")
    monkeypatch.setattr(gate(), "_debts", 1)
    monkeypatch.setattr(gate(), "settle", Mock(side_effect=AssertionError))
    assert stored.cache.take([way]) == [None]
    monkeypatch.undo()
    assert stored.cache.take([way])[0].body == b"d"


def test_an_error_among_the_replies_leaves_the_connection_in_step(stored):
    """What it still had to say would be taken for other answers."""
    way = stored("d")
    assert stored.cache.take([way])[0].body == b"d"

    client = get_redis_connection("default")
    key = f"{config().cache.prefix}:e:{entry_name(Viewer(), 'd', shared=False)}"
    client.delete(key)
    client.set(key, "no hash")
    assert stored.cache.take([way]) == [None]
    assert wire("default").command("ECHO", "in step") == b"in step"
