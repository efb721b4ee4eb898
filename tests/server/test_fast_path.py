"""The fast path: its answers equal the server's, and it answers only what it may."""

import json
from dataclasses import replace
from unittest.mock import Mock

import pytest
from django.utils import timezone
from django_redis import get_redis_connection
from prometheus_client import REGISTRY

from notes.models import Note
from pcf.conf import config
from pcf.project.schema import graphql_service
from pcf.server import connection as module
from pcf.server.fast_path import request_bytes
from tests.conftest import make_note, token_for
from tests.server.wired import contents, wire, wired
from users.models import ApiToken

__all__ = ["wire", "wired"]

TAGS = "{ tags { id name } }"
NOTES = "{ notes { id title content author { name } } }"
ALLOWED, FOREIGN = "https://app.example.org", "https://other.example.org"


def post(query=TAGS, *lines, version="1.1"):
    body = json.dumps({"query": query})
    head = [f"POST /graphql HTTP/{version}", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", *lines, "", body]).encode()


def get(query=TAGS, *lines):
    target = query.replace(" ", "%20")
    return "\r\n".join(
        [f"GET /graphql?query={target} HTTP/1.1", "Host: localhost", *lines, "", ""]
    ).encode()


def bearer(user):
    return f"Authorization: Bearer {token_for(user)}"


def parsed(wired, request):
    """Return the server's answer to a request in two segments, which has no fast path."""
    before = wired.fast_path_answers
    answer = wired.ask(request[:-3], request[-3:])
    assert wired.fast_path_answers == before
    return answer


@pytest.fixture
def origins(settings, fresh_service):
    requests = replace(settings.PCF.requests, cors_origins=(ALLOWED,))
    settings.PCF = replace(settings.PCF, requests=requests)


HEADERS = [
    (),
    ("Accept-Encoding: gzip",),
    ("Accept-Encoding: identity",),
    ("Accept: application/graphql-response+json",),
    (f"Origin: {ALLOWED}",),
    (f"Origin: {FOREIGN}", "X-Forwarded-For: 192.0.2.7"),
    ("X-Forwarded-Proto: https", "Cache-Control: no-cache"),
]


@pytest.mark.parametrize("method", [post, get])
def test_the_fast_path_answers_as_the_server(origins, live_world, wire, method):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    wired = wire()
    for lines in HEADERS:
        for signed in ([], [bearer(live_world.ann)]):
            check_fast_path(wired, method(NOTES, *lines, *signed), lines, signed)


def check_fast_path(wired, request, lines, signed):
    wired.learn(request)
    first, second, expected = wired.ask(request), wired.ask(request), parsed(wired, request)
    assert contents(first) == contents(second) == contents(expected)
    assert (first.version, first.status, first.whole) == ("1.1", 200, True)
    assert first.get("server") == "gunicorn/asgi"
    assert len({each.get("x-request-id") for each in (first, second, expected)}) == 3
    coded = "Accept-Encoding: gzip" in lines
    assert (first.get("content-encoding") == "gzip") == coded
    allowed = ALLOWED if f"Origin: {ALLOWED}" in lines else None
    assert first.get("access-control-allow-origin") == allowed
    assert (b"private of ann" in first.body) == (bool(signed) and not coded)


def test_a_request_inside_a_body_is_a_part_of_the_body(wired):
    body = post()
    head = b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: %d"
    wired.learn(body)
    before = wired.fast_path_answers

    async def ask(client):
        await client.send(head % len(body) + b"\r\n\r\n", body)
        return await client.read(1)

    (answer,) = wired.run(ask)
    assert answer.status == 415
    assert wired.fast_path_answers == before


def test_the_server_answers_the_first_request_of_every_address_that_names_a_scheme(wired):
    wired.connections.scheme_headers = ("x-forwarded-proto",)
    wired.learn(post(), post(TAGS, "X-Forwarded-Proto: https"))

    def fast(request):
        before = wired.fast_path_answers
        assert wired.run(lambda client: client.ask(request), host="127.0.0.2").status == 200
        return wired.fast_path_answers - before

    assert fast(post()) == 1
    assert fast(post(TAGS, "X-Forwarded-Proto:")) == 0
    request = post(TAGS, "X-Forwarded-Proto: https")
    assert [fast(request), fast(request)] == [0, 1]


def test_a_header_that_comes_twice_teaches_nothing_about_its_joined_value(wired):
    wired.connections.scheme_headers = ("x-forwarded-proto",)
    twice = post(TAGS, "X-Forwarded-Proto: https", "X-Forwarded-Proto: https")
    assert wired.ask(twice).status == 200
    before = wired.fast_path_answers
    wired.ask(post(TAGS, "X-Forwarded-Proto: https,https"))
    assert wired.fast_path_answers == before


def test_the_server_answers_the_first_request_over_tls():
    keys = set()
    for tls in (False, True):
        connection = module.ClientConnection(Fake(), None)
        connection.connection_made(FakeTransport(tls))
        keys.add(connection._reader.template_key({}, ()))
    assert len(keys) == 2


class Fake:
    add = staticmethod(lambda connection: True)
    fast_path = None
    scheme_headers = ()


class FakeTransport:
    def __init__(self, tls):
        self._extra = {"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 443)}
        if tls:
            self._extra["ssl_object"] = self
        self.get_extra_info = self._extra.get
        self.write = None

    def selected_alpn_protocol(self):
        return None


@pytest.mark.parametrize("version", ["1.0", "2"])
def test_only_requests_of_http_1_1_have_a_known_size(version):
    scope = {"http_version": "1.1", "headers": [(b"content-length", b"3")]}
    data = b"PRI * HTTP/2.0\r\n\r\nabc"
    assert request_bytes(scope, data) == len(data)
    assert request_bytes({**scope, "http_version": version}, data) == -1


@pytest.mark.parametrize("given", ["access", "traces"])
def test_there_is_no_fast_path_with_an_access_log_or_traces(live_world, wire, settings, given):
    logs = replace(settings.PCF.logs, access=given == "access")
    traces = replace(settings.PCF.traces, enabled=given == "traces")
    settings.PCF = replace(settings.PCF, logs=logs, traces=traces)
    wired = wire()
    for _ in range(6):
        assert wired.ask(post()).status == 200
    assert wired.fast_path_answers == 0


@pytest.mark.parametrize("known_first", [True, False])
def test_there_is_no_fast_path_where_the_server_has_to_see_every_request(wired, known_first):
    if known_first:
        wired.learn(post())
        wired.connections.is_ending = True
    else:
        wired.connections.allows_fast_path = False
    before = wired.fast_path_answers
    answers = [wired.ask(post()) for _ in range(5)]
    assert wired.fast_path_answers == before
    assert (answers[-1].get("connection") == "close") == known_first


def test_without_keepalive_every_answer_announces_the_end(live_world, wire):
    wired = wire(keepalive=0)
    for _ in range(6):
        assert wired.ask(post()).get("connection") == "close"
    assert wired.fast_path_answers == 0


def test_the_server_gets_a_request_before_its_keepalive_timer_ends(wired, monkeypatch):
    wired.learn(post())
    clock = [1_000.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])

    async def ask(client):
        repeated = []
        for pause in (0, 0, 8, 1.4, 8, 8):
            clock[0] += pause
            before = wired.fast_path_answers
            assert (await client.ask(post())).status == 200
            repeated.append(wired.fast_path_answers - before)
        await client.ask(post()[:-3], post()[-3:])
        for pause in (0, 9.3, 0.1, 1, 8):
            clock[0] += pause
            before = wired.fast_path_answers
            assert (await client.ask(post())).status == 200
            repeated.append(wired.fast_path_answers - before)
        return repeated

    assert wired.run(ask) == [1] * 6 + [1, 1, 0, 1, 1]


def test_a_server_that_begins_after_an_unread_answer_must_pause():
    inner = Mock()
    connection = module.ClientConnection(Fake(), lambda: inner)
    connection.connection_made(FakeTransport(tls=False))
    connection.pause_writing()
    connection.data_received(b"a request")
    inner.pause_writing.assert_called_once_with()


# --- exactness


def test_a_write_invalidates_the_fast_paths_answer(live_world, wired):
    request = post(NOTES)
    wired.learn(request)
    make_note(live_world.ann, "new")
    assert b"new" in wired.ask(request).body
    Note.objects.get(title="new").delete()
    answer = wired.ask(request)
    assert b"new" not in answer.body
    assert answer.get("cache-status") == "pcf; fwd=miss; stored"
    wired.learn(request)


def test_each_viewer_gets_its_own_answer_and_a_revoked_token_is_refused(live_world, wired):
    requests = [post(NOTES, bearer(user)) for user in (live_world.ann, live_world.bob)]
    wired.learn(*requests, post(NOTES))
    before = wired.fast_path_answers
    ann, bob, nobody = (wired.ask(request).body for request in (*requests, post(NOTES)))
    assert wired.fast_path_answers == before + 3
    assert b"private of ann" in ann
    assert b"private of bob" not in ann
    assert b"private of bob" in bob
    assert b"private of ann" not in bob
    assert b"private" not in nobody
    ApiToken.objects.filter(user=live_world.ann).update(revoked_at=timezone.now())
    answer = wired.ask(requests[0])
    assert answer.status == 401
    assert b"private" not in answer.body
    assert wired.ask(requests[0]).status == 401


def test_a_thread_answers_after_an_eviction(wired):
    wired.learn(post(NOTES))
    client = get_redis_connection("default")
    prefix = config().cache.prefix
    evicted = list(client.scan_iter(match=f"{prefix}*:e:*", count=1_000))
    assert evicted
    client.unlink(*evicted)
    before = wired.fast_path_answers
    answer = wired.ask(post(NOTES))
    assert (answer.status, answer.get("cache-status")) == (200, "pcf; fwd=miss; stored")
    assert wired.fast_path_answers == before + 1
    wired.learn(post(NOTES))


@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_a_thread_answers_without_redis(live_world, redis_server, wire, how):
    wired = wire(alias=redis_server.alias)
    wired.learn(post(NOTES))
    before = wired.fast_path_answers
    getattr(redis_server, how)()
    for _ in range(3):
        answer = wired.ask(post(NOTES))
        assert answer.status == 200
        assert b"public of ann" in answer.body
    assert wired.fast_path_answers == before + 3
    if how == "freeze":
        redis_server.thaw()


@pytest.mark.parametrize("where", ["direct_read", "respond"])
def test_a_thread_answers_after_an_error_on_the_event_loop(wired, monkeypatch, caplog, where):
    wired.learn(post())
    before = wired.fast_path_answers
    hits = graphql_service().known_requests
    own, failures = getattr(hits, where), [ZeroDivisionError]

    def failing(*given):
        if failures:
            raise failures.pop()
        return own(*given)

    monkeypatch.setattr(hits, where, failing)
    assert contents(wired.ask(post())) == contents(parsed(wired, post()))
    assert (failures, wired.fast_path_answers) == ([], before + 1)
    assert "ZeroDivisionError" in caplog.text


def test_a_thread_answers_when_the_hit_statistics_are_due(wired, monkeypatch):
    wired.learn(post())
    statistics = graphql_service()._cache.hit_statistics
    monkeypatch.setattr(statistics, "_due", 0.0)
    assert wired.ask(post()).status == 200
    assert statistics._due > 0.0


def labels_of_duration():
    known = next(iter(graphql_service().known_requests._known._young.values()))
    return {"operation_type": "query", "complexity_bucket": known.complexity}


def test_the_fast_paths_answers_are_counted_as_others(wired):
    wired.learn(post())
    samples = [
        ("response_cache_hits_total", {}),
        ("graphql_http_responses_total", {"status": "200", "outcome": "ok"}),
        ("graphql_request_duration_seconds_count", labels_of_duration()),
    ]
    value = REGISTRY.get_sample_value
    before = [value(*each) for each in samples]
    for _ in range(3):
        wired.ask(post())
    assert [value(*each) - was for each, was in zip(samples, before, strict=True)] == [3, 3, 3]
