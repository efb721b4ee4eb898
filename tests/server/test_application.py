"""Answers of the application without Django: they equal Django's, and what they cost."""

import gzip
import json
from unittest.mock import Mock
from urllib.parse import urlencode

import brotli
import pytest
from django.core import signals
from django.utils import timezone
from django_redis import get_redis_connection

from pcf.database.query_log import count_queries
from pcf.http.known_requests import KnownRequests
from pcf.lru import LRUCache
from pcf.project.schema import graphql_service
from pcf.server.endpoint import GraphQLEndpoint
from tests.conftest import make_note, token_for
from tests.http.wsgi import CountingDjango, call, environ_of
from tests.server.asgi import CountingHandler
from users.models import ApiToken

NOTES = "{ notes { id title content createdAt author { id name } tags { id name } } }"
TAGS = "{ tags { id name } }"


@pytest.fixture
def django():
    """Django, as a server without ASGI calls it."""
    return CountingDjango()


def post(query, **headers):
    return environ_of(json.dumps({"query": query}).encode(), **headers)


def get(query, **headers):
    return environ_of(None, urlencode({"query": query}), **headers)


@pytest.mark.parametrize("query", [NOTES, TAGS])
@pytest.mark.parametrize(
    ("make", "headers"),
    [
        (post, {}),
        (post, {"accept": "application/graphql-response+json"}),
        (post, {"accept_encoding": "br, gzip"}),
        (post, {"origin": "https://app.example.org", "x_request_timeout": "5"}),
        (get, {}),
        (get, {"accept_encoding": "gzip", "accept": "*/*"}),
        (get, {"if_none_match": '"nothing that there is"'}),
        (get, {"if_none_match": "*", "accept_encoding": "gzip"}),
    ],
)
def test_django_the_event_loop_and_a_thread_answer_a_hit_alike(
    live_world, service, django_handler, django, make, headers, query, monkeypatch
):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    service.call(make(query, **headers))
    django_handler.reached.clear()
    of_django = call(django, make(query, **headers))
    asked = [service.call(make(query, **headers)) for _ in range(2)]
    with monkeypatch.context() as patched:
        patched.setattr(service.application._endpoint, "question", lambda *_: None)
        asked.append(service.call(make(query, **headers)))

    assert django_handler.reached == []
    assert all(reply.headers["Cache-Status"] == "pcf; hit" for reply in asked)
    ages = [int(reply.headers.pop("Age")) for reply in (of_django, *asked)]
    assert ages == sorted(ages)
    assert asked == [of_django] * 3
    assert {"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} <= set(
        of_django.headers
    )


def test_a_hit_is_one_round_trip_to_redis_and_no_sql(live_world, service, commands):
    token = token_for(live_world.ann)

    def ask():
        commands.clear()
        with count_queries() as queries:
            reply = service.call(post(NOTES, authorization=f"Bearer {token}"))
        return reply.headers["Cache-Status"], commands[:], queries.count

    ask()
    assert ask() == ("pcf; hit", ["EVALSHA"], 0)
    for _ in range(2):
        assert ask() == ("pcf; hit", ["read"], 0)
    graphql_service()._cache.hit_statistics._due = 0.0
    assert ask() == ("pcf; hit", ["EVALSHA"], 0), (
        "a look-up reports the hit statistics when they are due"
    )


def test_a_direct_read_of_a_removed_entry_or_another_viewer_is_no_hit(
    live_world, service, commands
):
    """The entry must exist, and the token must belong to the same viewer."""
    token = token_for(live_world.ann)
    bearer = {"authorization": f"Bearer {token}"}
    for _ in range(3):
        first = service.call(post(NOTES, **bearer))
    assert "private of ann" in first.body.decode()

    make_note(live_world.ann, "new")
    again = service.call(post(NOTES, **bearer))
    assert "new" in again.body.decode(), "the entry is gone"

    service.call(post(NOTES, **bearer))
    live_world.ann.is_active = False
    live_world.ann.save()
    assert service.call(post(NOTES, **bearer)).status == "401 Unauthorized"


@pytest.mark.parametrize("accepts", ["gzip", "identity"])
def test_a_direct_read_returns_the_coding_and_the_viewer_of_the_request(
    live_world, service, commands, accepts
):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    users = live_world.ann, live_world.bob
    bearers = [{"authorization": f"Bearer {token_for(user)}"} for user in users]
    for _ in range(3):
        replies = [
            service.call(post(NOTES, accept_encoding=coding, **bearer))
            for bearer in bearers
            for coding in (accepts, "identity")
        ]
    assert commands[-4:] == ["read"] * 4
    packed, plain, packed_of_bob, plain_of_bob = replies
    if accepts == "gzip":
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
    assert b"private of ann" in plain.body
    assert b"private of ann" not in plain_of_bob.body
    assert packed.body != packed_of_bob.body


def test_the_service_uses_the_early_lookup_of_a_miss(live_world, service, django_handler, commands):
    service.call(post(NOTES))
    make_note(live_world.ann, "new")
    hits = graphql_service().known_requests
    hits._known = LRUCache(10)  # forget the requests of earlier tests
    commands.clear()
    reply = service.call(post(NOTES))
    assert reply.headers["Cache-Status"] == "pcf; fwd=miss; stored"
    assert commands == ["EVALSHA", "EVALSHA"]  # one look-up, one store
    assert "new" in reply.body.decode()
    make_note(live_world.ann, "newer")
    commands.clear()
    service.call(post(NOTES))
    assert commands == ["read", "EVALSHA", "EVALSHA"]  # the direct read finds no entry


def test_django_answers_only_requests_that_it_refuses(live_world, service, django_handler):
    token = token_for(live_world.ann)
    bearer = {"authorization": f"Bearer {token}"}
    for _ in range(2):
        service.call(post(NOTES, **bearer))
    django_handler.reached.clear()
    assert service.call(post(NOTES, cache_control="no-store")).headers["Cache-Status"] == (
        "pcf; fwd=bypass"
    )
    assert service.call(post(NOTES, authorization="Basic x")).status == "401 Unauthorized"
    assert service.call(post(NOTES, accept="image/png")).status == "406 Not Acceptable"
    assert service.call(post("{ nope }")).headers["Cache-Status"] == "pcf; fwd=bypass"
    ApiToken.objects.update(revoked_at=timezone.now())
    assert service.call(post(NOTES, **bearer)).status == "401 Unauthorized"
    assert len(django_handler.reached) == 2


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {}),
        (b"[]", {}),
        (b'{"query": 1}', {}),
        (b'{"query": "{ me { id } }"}', {"content_encoding": "gzip"}),
        (b'{"query": "{ me { id } }"}', {"accept": "text/html"}),
        (b'{"query": "{ me { id } }", "variables": []}', {}),
        (b'{"query": "{ nope }"}', {}),
        (b'{"query": "{ me { id } }"}', {"authorization": "Bearer nobody"}),
        (b'{"query": "subscription { me { id } }"}', {}),
        (b'{"query": "mutation { deleteNote(input: {id: 0}) { userErrors { code } } }"}', {}),
        (b'{"query": "{ slowQuery(delay: 30) }"}', {"x_request_timeout": "0.5"}),
        (b'{"query": "{ __schema { types { name } } me { id } }"}', {"cache_control": "no-store"}),
    ],
)
def test_the_application_answers_other_requests_as_django_does(
    live_world, service, django, body, headers
):
    of_django = call(django, environ_of(body, **headers))
    answer = service.call(environ_of(body, **headers))
    assert answer == of_django


def test_an_execution_sends_djangos_signals(service, django_handler):
    service.call(post("{ me { id } }"))  # this also asks Django for the default headers
    told = []

    def listen(signal, sender, **_):
        told.append((sender, signal is signals.request_finished))

    for signal in (signals.request_started, signals.request_finished):
        signal.connect(listen)
    try:
        service.call(post("{ tags(first: 3) { id } }", cache_control="no-store"))
        assert told == [(GraphQLEndpoint, False), (GraphQLEndpoint, True)]
        assert django_handler.reached == []
        service.call(post("{ tags(first: 3) { id } }", content_encoding="none"))
        assert told[2:] == [(CountingHandler, False), (CountingHandler, True)]
    finally:
        for signal in (signals.request_started, signals.request_finished):
            signal.disconnect(listen)


def test_an_error_in_the_service_is_masked_and_logged(service, django_handler, monkeypatch, caplog):
    monkeypatch.setattr(graphql_service(), "answer", Mock(side_effect=KeyError("secret")))
    check_masked(service.call(post("{ tags(first: 4) { id } }", cache_control="no-store")), caplog)
    assert django_handler.reached == []


@pytest.mark.parametrize("error", [KeyError, SystemExit, StopIteration])
def test_an_error_in_a_thread_is_masked_and_logged_and_the_next_request_is_answered(
    service, monkeypatch, caplog, error
):
    with monkeypatch.context() as patched:
        patched.setattr(service.application._endpoint, "_answer", Mock(side_effect=error("secret")))
        check_masked(service.call(post(TAGS)), caplog, error.__name__)
    assert service.call(post(TAGS)).status == "200 OK"


def check_masked(reply, caplog, name="KeyError"):
    assert reply.status == "500 Internal Server Error"
    assert json.loads(reply.body)["errors"][0]["extensions"] == {
        "code": "INTERNAL_SERVER_ERROR",
        "requestId": "same",
    }
    assert reply.headers["X-Request-ID"] == "same"
    assert name in caplog.text
    assert b"secret" not in reply.body


@pytest.mark.parametrize("where", ["direct_read", "respond"])
def test_a_thread_answers_a_hit_after_an_error_on_the_event_loop(
    live_world, service, monkeypatch, caplog, where
):
    for _ in range(2):
        service.call(post(NOTES))
    calls = []
    whole = getattr(KnownRequests, where)

    def fail_first(*arguments):
        calls.append(where)
        if len(calls) == 1:
            raise ZeroDivisionError
        return whole(*arguments)

    monkeypatch.setattr(KnownRequests, where, fail_first)
    reply = service.call(post(NOTES))
    assert (reply.status, reply.headers["Cache-Status"]) == ("200 OK", "pcf; hit")
    assert "ZeroDivisionError" in caplog.text


def test_a_request_that_djangos_middleware_refuses_is_no_hit(live_world, settings, serving):
    settings.ALLOWED_HOSTS = ["ours.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_SCHEME", "https")
    settings.SECURE_HSTS_SECONDS = 60
    service = serving()

    def ask(**headers):
        return service.call(post(NOTES, **headers))

    ours = {"host": "ours.example.org", "x_scheme": "https"}
    ask(**ours)
    hit = ask(**ours)
    assert hit.headers["Cache-Status"] == "pcf; hit"
    assert hit.headers["Strict-Transport-Security"] == "max-age=60"
    assert ask(**{**ours, "host": "evil.example.org"}).status == "400 Bad Request"
    assert ask(**{**ours, "x_scheme": "http"}).status == "301 Moved Permanently"


def test_a_flight_ends_when_django_fails_before_the_view(
    live_world, settings, service, django_handler, monkeypatch
):
    service.call(get(NOTES))
    make_note(live_world.ann, "new")
    client, prefix = get_redis_connection("default"), settings.PCF.cache.prefix
    flights = []

    def fail(*_):
        flights.extend(client.scan_iter(match=f"{prefix}:f:*"))
        raise RuntimeError("before the view")

    monkeypatch.setattr(django_handler, "respond", fail)
    assert service.call(get(NOTES)).status == "500 Internal Server Error"
    assert flights
    assert list(client.scan_iter(match=f"{prefix}:f:*")) == []


def test_a_compressed_answer_has_the_same_content(live_world, service):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    plain = service.call(post(NOTES))
    packed = service.call(post(NOTES, accept_encoding="gzip"))
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 2
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert service.call(post(NOTES, accept_encoding="gzip;q=0")).body == plain.body


def test_the_first_hit_of_a_stored_response_is_a_direct_read(live_world, service, commands):
    service.call(post(TAGS))  # Redis knows the scripts from now on
    for status, asked in (("pcf; fwd=miss; stored", ["EVALSHA"] * 2), ("pcf; hit", ["read"])):
        commands.clear()
        reply = service.call(post("{ notes { id title isPublic author { id } } }"))
        assert (reply.headers["Cache-Status"], commands) == (status, asked)


@pytest.mark.parametrize("partly", ["", "slowQuery(delay: -1)"])
def test_a_response_that_is_not_stored_has_the_coding_that_the_client_prefers(
    live_world, service, partly
):
    for number in range(40):
        make_note(live_world.ann, f"a long text that compresses well {number}")
    query = f"{{ notes(first: 40) {{ title content }} {partly} }}"
    packed = service.call(post(query, cache_control="no-store", accept_encoding="gzip, br"))
    assert packed.headers["Content-Encoding"] == "br"
    assert packed.headers["Content-Length"] == str(len(packed.body))
    assert len(json.loads(brotli.decompress(packed.body))["data"]["notes"]) == 40
