"""Direct reads: when one finds an entry, and when only a look-up can tell."""

from time import time

import pytest

from pcf.cache.entries import DirectRead
from pcf.viewer import Scope, Viewer

ANN = Viewer(1, scope=Scope.READ)
CREDENTIALS = ANN.name.encode()
META, TAG, BODY, RUN = b"300 0", b"tag", b"body", b"12345678"
FOUND = [[CREDENTIALS, RUN], [META, TAG, b"0", RUN, BODY], 200_000]


def shortcut(credentials=CREDENTIALS, token="t"):
    return DirectRead.to("p", token, credentials, "1.read:d", "")


def test_a_direct_read_finds_an_entry():
    entry = shortcut().entry(RUN, FOUND)
    assert (entry.body, entry.tag, entry.age, entry.max_age) == (b"body", "tag", 100, 300)
    assert shortcut(b"", None).entry(RUN, FOUND[1:]).body == b"body"


@pytest.mark.parametrize(
    "replies",
    [
        [[b"2.read", RUN], *FOUND[1:]],  # the token is another viewer's
        [[None, None], *FOUND[1:]],  # the token was revoked
        [
            [CREDENTIALS, b"87654321"],
            *FOUND[1:],
        ],  # stored by another run of the server
        [FOUND[0], [META, TAG, b"0", b"87654321", BODY], 200_000],
        [FOUND[0], [None] * 5, -2],  # the entry is gone
        [FOUND[0], FOUND[1], -2],  # the entry expired between the two commands
        [FOUND[0], [META, TAG, b"60000", RUN, BODY], 200_000],  # the entry may be stale
        [
            FOUND[0],
            [META, TAG, b"0", RUN, b""],
            200_000,
        ],  # no longer stored in this coding
    ],
)
def test_a_direct_read_finds_no_entry_that_has_changed(replies):
    assert shortcut().entry(RUN, replies) is None


def test_a_direct_read_finds_nothing_for_expired_credentials():
    later, now = (f"1.read {time() + seconds}".encode() for seconds in (60, -1))
    assert shortcut(later).entry(RUN, [[later, RUN], *FOUND[1:]]) is not None
    assert shortcut(now).entry(RUN, [[now, RUN], *FOUND[1:]]) is None


def test_the_representation_shows_no_credentials():
    text = repr(shortcut(b"1.read", "the-token"))
    assert "1.read" not in text
    assert "the-token" not in text
