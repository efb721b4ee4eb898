"""What Django's signals of a request's start and end are for, with and without listeners."""

import pytest
from django.core import signals
from django.db import connections

from pcf.http import borders
from tests.conftest import token_for
from tests.server.test_application import post

BOTH = signals.request_started, signals.request_finished


@pytest.fixture
def sent(monkeypatch):
    """The signals that were sent."""
    told = []
    for signal in BOTH:
        monkeypatch.setattr(
            signal, "send", lambda signal=signal, **how: told.append((signal, how["sender"]))
        )
    return told


def cross():
    borders.begin("me", {})
    borders.end("me")


def test_where_nobody_listens_nothing_is_sent(sent):
    cross()
    assert sent == []


@pytest.mark.parametrize("which", [0, 1])
def test_who_listens_is_told_from_the_next_request_on_until_he_leaves(sent, which):
    def listen(**_):
        """Never called: sending is what is looked at."""

    for _ in range(2):
        cross()
        BOTH[which].connect(listen)
        cross()
        assert sent == [(BOTH[which], "me")]
        BOTH[which].disconnect(listen)
        cross()
        assert len(sent) == 1
        sent.clear()


def test_one_that_takes_the_place_of_djangos_is_seen(sent):
    receivers = signals.request_started.receivers
    own = receivers[0]
    cross()
    receivers[0] = (own[0], test_where_nobody_listens_nothing_is_sent, own[2])
    try:
        cross()
    finally:
        receivers[0] = own
    assert sent == [(signals.request_started, "me")]


def test_debugging_wants_all_of_them(sent, settings):
    settings.DEBUG = True
    cross()
    assert [signal for signal, _ in sent] == list(BOTH)


def test_connections_go_back_to_their_pool(service, live_world, monkeypatch):
    left = []
    end = borders.end

    def noted(sender):
        end(sender)
        left.extend(one for one in connections.all(initialized_only=True) if one.connection)

    monkeypatch.setattr("pcf.http.borders.end", noted)
    token = token_for(live_world.ann)
    answer = service.call(
        post("{ me { id } }", cache_control="no-store", authorization=f"Bearer {token}")
    )
    assert answer.status == "200 OK"
    assert left == []
