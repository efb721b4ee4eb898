"""Shortcuts to hits: when one tells, and when a look-up has to."""

from time import time

import pytest

from pcf.cache.shortcuts import Shortcut
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
