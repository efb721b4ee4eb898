"""Django's request signals, with and without listeners."""

from time import monotonic, sleep

import pytest
from django.core import signals
from django.db import connections

from pcf.http import middleware
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


def send_both():
    middleware.send_request_started("me", {})
    middleware.send_request_finished("me")


def test_no_signal_is_sent_without_listeners(sent):
    send_both()
    assert sent == []


@pytest.mark.parametrize("which", [0, 1])
def test_a_listener_gets_signals_until_it_disconnects(sent, which):
    def listen(**_):
        """The test replaces ``send``, so the signal never calls this receiver."""

    for _ in range(2):
        send_both()
        BOTH[which].connect(listen)
        send_both()
        assert sent == [(BOTH[which], "me")]
        BOTH[which].disconnect(listen)
        send_both()
        assert len(sent) == 1
        sent.clear()


def test_a_receiver_in_the_place_of_one_of_djangos_is_noticed(sent):
    receivers = signals.request_started.receivers
    own = receivers[0]
    send_both()
    receivers[0] = (own[0], test_no_signal_is_sent_without_listeners, own[2])
    try:
        send_both()
    finally:
        receivers[0] = own
    assert sent == [(signals.request_started, "me")]


def test_all_signals_are_sent_when_debugging(sent, settings):
    settings.DEBUG = True
    send_both()
    assert [signal for signal, _ in sent] == list(BOTH)


def test_connections_go_back_to_their_pool(service, live_world, monkeypatch):
    left = []
    end = middleware.send_request_finished

    def noted(sender):
        end(sender)
        left.extend(connections.all(initialized_only=True))

    monkeypatch.setattr("pcf.http.middleware.send_request_finished", noted)
    token = token_for(live_world.ann)
    answer = service.call(
        post("{ me { id } }", cache_control="no-store", authorization=f"Bearer {token}")
    )
    assert answer.status == "200 OK"
    deadline = monotonic() + 20
    while not left or any(each.connection for each in left):
        assert monotonic() < deadline
        sleep(0.01)
