"""Contracts with Django 5.2: what ``pcf._compat.django`` uses beyond the documentation."""

from io import BytesIO

from django.core import signals
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpResponse

from pcf._compat.django import (
    DJANGO_RECEIVERS,
    ASGIRequest,
    BaseHandler,
    SignalReceivers,
    count_unapplied_migrations,
    release_body,
    set_sender,
)


def listen(**_):
    """A receiver of the tests."""


def test_django_keeps_receivers_in_a_list_of_tuples_with_the_receiver_second():
    for signal in (signals.request_started, signals.request_finished):
        assert isinstance(signal.receivers, list), "Django changed Signal.receivers"
        signal.connect(listen)
        try:
            entry = signal.receivers[-1]
            assert entry[1]() is listen, "Django changed the entries of Signal.receivers"
            assert not SignalReceivers(signal).only_django
        finally:
            signal.disconnect(listen)


def test_django_connects_the_receivers_that_pcf_replaces_and_no_others():
    connected = {
        entry[1]()
        for signal in (signals.request_started, signals.request_finished)
        for entry in signal.receivers
    }
    assert connected == DJANGO_RECEIVERS, "Django changed the receivers of its request signals"
    assert SignalReceivers(signals.request_started).only_django
    assert SignalReceivers(signals.request_finished).only_django


def test_django_tells_the_migrations_that_are_not_applied(db):
    changed = "Django changed MigrationExecutor"
    assert count_unapplied_migrations() == 0, changed
    recorder = MigrationRecorder.Migration.objects
    recorder.filter(app="sessions").delete()
    assert count_unapplied_migrations() == 1, changed


def test_django_closes_a_response_with_the_sender_that_pcf_sets():
    senders = []

    def note(sender, **_):
        senders.append(sender)

    response = HttpResponse()
    set_sender(response, BaseHandler)
    signals.request_finished.connect(note)
    try:
        response.close()
    finally:
        signals.request_finished.disconnect(note)
    assert senders == [BaseHandler], "Django changed HttpResponse._handler_class"


def test_djangos_handler_answers_a_request_made_of_a_scope_with_a_query_as_text(live_world):
    handler = BaseHandler()
    handler.load_middleware()
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": "/livez",
        "query_string": "a=\xe4", "headers": [(b"host", b"localhost")], "scheme": "http",
    }  # fmt: skip
    request = ASGIRequest(scope, BytesIO(b""))
    assert request.META["QUERY_STRING"] == "a=\xe4", "Django changed ASGIRequest"
    response = handler.get_response(request)
    assert (response.status_code, response.content) == (200, b"ok\n"), "Django changed BaseHandler"


def test_a_request_keeps_its_body_in_the_attributes_that_pcf_releases():
    """The stream is read once, and the bytes stay in the request until they are released."""
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": "", "headers": []}
    request = ASGIRequest(scope, BytesIO(b"x" * 100))
    assert request._stream.read() == b"x" * 100
    request = ASGIRequest(scope, BytesIO(b"x" * 100))
    assert request.body == request._body == b"x" * 100
    release_body(request)
    assert request.body == b""
    assert request._stream.read() == b""
