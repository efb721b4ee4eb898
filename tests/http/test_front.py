"""Hits answered in front of Django: the same answers, without Django, SQL or a second look."""

import gzip
import json
from unittest.mock import Mock
from urllib.parse import urlencode

import brotli
import pytest
from django.core import signals
from django.utils import timezone
from django_redis import get_redis_connection

from pcf.cache.entries import Entry
from pcf.cache.responses import ResponseCache, token_digest
from pcf.database.statements import count_queries
from pcf.execution.hints import NO_HINT
from pcf.execution.recent import Recent
from pcf.http.front import Front
from pcf.http.hits import LIGHT, Hits, Known, light_coding
from pcf.http.protocol import GraphQLRequest
from pcf.schema import graphql_service
from tests.conftest import make_note, token_for
from tests.http.wsgi import CountingDjango, call, environ_of
from users.models import ApiToken

NOTES = "{ notes { id title content createdAt author { id name } tags { id name } } }"
TAGS = "{ tags { id name } }"


@pytest.fixture
def django():
    return CountingDjango()


@pytest.fixture
def front(django):
    return Front(django, graphql_service)


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
def test_the_front_answers_as_django_does(live_world, front, django, make, headers, query):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    call(front, make(query, **headers))
    of_django = call(django, make(query, **headers))
    django.reached.clear()
    of_front = call(front, make(query, **headers))

    assert django.reached == []
    assert of_front.headers["Cache-Status"] == "pcf; hit"
    ages = [int(reply.headers.pop("Age")) for reply in (of_django, of_front)]
    assert ages[0] <= ages[1]
    assert of_front == of_django
    assert {"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} <= set(of_front.headers)


def test_a_hit_is_one_round_trip_to_redis_and_no_sql(live_world, front, commands):
    token = token_for(live_world.ann)

    def ask():
        commands.clear()
        with count_queries() as queries:
            reply = call(front, post(NOTES, authorization=f"Bearer {token}"))
        return reply.headers["Cache-Status"], commands[:], queries.count

    ask()
    assert ask() == ("pcf; hit", ["EVALSHA"], 0)
    for _ in range(2):
        assert ask() == ("pcf; hit", ["read"], 0)
    graphql_service()._cache.tally._due = 0.0
    assert ask() == ("pcf; hit", ["EVALSHA"], 0), "what was counted is told with a look-up"


def test_a_shortcut_is_left_as_soon_as_it_leads_elsewhere(live_world, front, commands):
    """What it reads has to be what it was: the entry there, the same viewer behind the token."""
    token = token_for(live_world.ann)
    bearer = {"authorization": f"Bearer {token}"}
    for _ in range(3):
        first = call(front, post(NOTES, **bearer))
    assert "private of ann" in first.body.decode()

    make_note(live_world.ann, "new")
    again = call(front, post(NOTES, **bearer))
    assert "new" in again.body.decode(), "the entry is gone"

    call(front, post(NOTES, **bearer))
    live_world.ann.is_active = False
    live_world.ann.save()
    assert call(front, post(NOTES, **bearer)).status == "401 Unauthorized"


@pytest.mark.parametrize("accepts", ["gzip", "identity"])
def test_a_shortcut_keeps_to_the_coding_and_the_viewer(live_world, front, commands, accepts):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    users = live_world.ann, live_world.bob
    bearers = [{"authorization": f"Bearer {token_for(user)}"} for user in users]
    for _ in range(3):
        replies = [
            call(front, post(NOTES, accept_encoding=coding, **bearer))
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


def test_a_miss_takes_over_what_the_front_found_out(live_world, front, django, commands):
    call(front, post(NOTES))
    make_note(live_world.ann, "new")
    hits = graphql_service().hits
    hits._known = Recent(10)  # what tests before this one have left
    commands.clear()
    reply = call(front, post(NOTES))
    assert reply.headers["Cache-Status"] == "pcf; fwd=miss; stored"
    assert commands == ["EVALSHA", "EVALSHA"]  # one look-up, one store
    assert "new" in reply.body.decode()
    make_note(live_world.ann, "newer")
    commands.clear()
    call(front, post(NOTES))
    assert commands == ["read", "EVALSHA", "EVALSHA"]  # the shortcut led nowhere


def test_what_is_refused_unseen_is_djangos_and_the_rest_is_not(live_world, front, django):
    token = token_for(live_world.ann)
    bearer = {"authorization": f"Bearer {token}"}
    for _ in range(2):
        call(front, post(NOTES, **bearer))
    django.reached.clear()
    assert call(front, post(NOTES, cache_control="no-store")).headers["Cache-Status"] == (
        "pcf; fwd=bypass"
    )
    assert call(front, post(NOTES, authorization="Basic x")).status == "401 Unauthorized"
    assert call(front, post(NOTES, accept="image/png")).status == "406 Not Acceptable"
    assert call(front, post("{ nope }")).headers["Cache-Status"] == "pcf; fwd=bypass"
    ApiToken.objects.update(revoked_at=timezone.now())
    assert call(front, post(NOTES, **bearer)).status == "401 Unauthorized"
    assert len(django.reached) == 2


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
def test_what_is_no_hit_is_answered_as_django_does(live_world, front, django, body, headers):
    of_django = call(django, environ_of(body, **headers))
    of_front = call(front, environ_of(body, **headers))
    assert of_front == of_django


def test_connections_go_back_and_djangos_signals_are_sent(live_world, front, django):
    call(front, post("{ me { id } }"))  # which asks Django for its headers, too
    told = []

    def listen(signal, sender, **_):
        told.append((sender, signal is signals.request_finished))

    for signal in (signals.request_started, signals.request_finished):
        signal.connect(listen)
    try:
        call(front, post("{ tags(first: 3) { id } }", cache_control="no-store"))
    finally:
        for signal in (signals.request_started, signals.request_finished):
            signal.disconnect(listen)
    assert told == [(Front, False), (Front, True)]
    assert django.reached == []


def test_what_fails_in_the_service_itself_is_masked_and_logged(
    live_world, front, django, monkeypatch, caplog
):
    def fail(*_):
        raise KeyError("secret")

    monkeypatch.setattr(graphql_service(), "answer", fail)
    reply = call(front, post("{ tags(first: 4) { id } }", cache_control="no-store"))
    assert reply.status == "500 Internal Server Error"
    assert json.loads(reply.body)["errors"][0]["extensions"] == {
        "code": "INTERNAL_SERVER_ERROR",
        "requestId": "same",
    }
    assert "KeyError" in caplog.text
    assert b"secret" not in reply.body
    assert django.reached == []


def test_a_request_that_djangos_middleware_refuses_is_no_hit(live_world, settings, django):
    settings.ALLOWED_HOSTS = ["ours.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_SCHEME", "https")
    settings.SECURE_HSTS_SECONDS = 60
    front = Front(CountingDjango(), graphql_service)

    def ask(**headers):
        return call(front, post(NOTES, **headers))

    ours = {"host": "ours.example.org", "x_scheme": "https"}
    ask(**ours)
    hit = ask(**ours)
    assert hit.headers["Cache-Status"] == "pcf; hit"
    assert hit.headers["Strict-Transport-Security"] == "max-age=60"
    assert ask(**{**ours, "host": "evil.example.org"}).status == "400 Bad Request"
    assert ask(**{**ours, "x_scheme": "http"}).status == "301 Moved Permanently"


class Hanging:
    """A body whose sender went silent."""

    def read(self, *_):
        raise TimeoutError


def test_a_body_that_does_not_come_is_told_by_django(live_world, front):
    call(front, post(NOTES))
    silent = post(NOTES) | {"wsgi.input": Hanging()}
    assert call(front, silent).status == "408 Request Timeout"
    short = post(NOTES)
    short["CONTENT_LENGTH"] = str(int(short["CONTENT_LENGTH"]) + 1)
    assert call(front, short).status == "400 Bad Request"
    assert call(front, post(NOTES) | {"CONTENT_LENGTH": "x"}).status == "411 Length Required"


def test_a_flight_that_django_never_took_over_is_ended(live_world, settings):
    def broken(environ, start):
        if "pcf.frame" in environ:
            return healthy(environ, start)
        raise RuntimeError("before the view")

    healthy = CountingDjango()
    call(Front(healthy, graphql_service), get(NOTES))
    make_note(live_world.ann, "new")
    with pytest.raises(RuntimeError):
        call(Front(broken, graphql_service), get(NOTES))
    client, prefix = get_redis_connection("default"), settings.PCF.cache.prefix
    assert list(client.scan_iter(match=f"{prefix}:f:*")) == []


def test_compressed_bytes_are_the_same_content(live_world, front):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    plain = call(front, post(NOTES))
    packed = call(front, post(NOTES, accept_encoding="gzip"))
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 2
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert call(front, post(NOTES, accept_encoding="gzip;q=0")).body == plain.body


@pytest.mark.parametrize(
    ("entry", "coding"),
    [
        (Entry(b"x", "t", "gzip"), "gzip"),
        (Entry(b"x", "t"), ""),
        (Entry(b"x" * LIGHT, "t"), ""),
        (Entry(b"x" * (LIGHT + 1), "t"), None),
        (Entry(b"x", "t", stale=60), None),  # a look-up has to tell who renews it
    ],
)
def test_what_is_light_enough_for_the_short_way(entry, coding):
    assert light_coding(entry) == coding


@pytest.mark.parametrize("token", [None, "a-token"])
@pytest.mark.parametrize("gzip_", [True, False])
def test_a_hit_teaches_its_own_clients_the_short_way(live_world, token, gzip_):
    cache = ResponseCache(Mock())
    hits = Hits(cache, Mock(), 10)
    hits.remember(b"r", Known("d", NO_HINT, 1))
    if token:
        hits._credentials.add(token_digest(token), b"1.read")
    request = GraphQLRequest("", token=token, accepts_gzip=gzip_)

    def short(asked):
        found = hits.short(asked, Mock(known_as=b"r", tried=False))
        return found and found[1].coding

    assert short(request) is None
    hits.learn(b"r", request, Entry(None, "t"))  # the client had it
    assert short(request) is None
    hits.learn(b"r", request, Entry(b"x", "t", "gzip" if gzip_ else ""))
    assert short(request) == (b"gzip" if gzip_ else b"")
    for other in ({"accepts_gzip": not gzip_}, {"token": "another" if token else "a-token"}):
        assert short(request._replace(**other)) is None
    hits.learn(b"r", request, Entry(b"x" * (LIGHT + 1), "t"))
    assert short(request) is None


def test_what_is_known_of_a_request_survives_that_it_is_executed_again():
    hits = Hits(Mock(), Mock(), 10)
    known, request = Known("d", NO_HINT, 1), GraphQLRequest("", accepts_gzip=True)
    hits.remember(b"r", known)
    hits.learn(b"r", request, Entry(b"x", "t", "gzip"))
    hits.remember(b"r", known)
    assert hits._known.find(b"r").for_gzip == "gzip"
    hits.remember(b"r", Known("other", NO_HINT, 1))  # under another schema, say
    assert hits._known.find(b"r").for_gzip is None
    hits.learn(b"not known", request, Entry(b"x", "t"))
    assert hits._known.find(b"not known") is None


def test_the_first_hit_of_a_stored_response_takes_the_short_way(live_world, front, commands):
    for status, asked in (("pcf; fwd=miss; stored", ["EVALSHA"] * 2), ("pcf; hit", ["read"])):
        commands.clear()
        reply = call(front, post("{ notes { id title isPublic author { id } } }"))
        assert (reply.headers["Cache-Status"], commands) == (status, asked)


@pytest.mark.parametrize("partly", ["", "slowQuery(delay: -1)"])
def test_what_is_not_stored_is_compressed_as_the_client_prefers(live_world, front, partly):
    for number in range(40):
        make_note(live_world.ann, f"a long text that compresses well {number}")
    query = f"{{ notes(first: 40) {{ title content }} {partly} }}"
    packed = call(front, post(query, cache_control="no-store", accept_encoding="gzip, br"))
    assert packed.headers["Content-Encoding"] == "br"
    assert packed.headers["Content-Length"] == str(len(packed.body))
    assert len(json.loads(brotli.decompress(packed.body))["data"]["notes"]) == 40
