"""Requests that are answered without the server's parser: as all others, and only what may be."""

import json
from dataclasses import replace
from unittest.mock import Mock

import pytest
from django.utils import timezone
from django_redis import get_redis_connection
from prometheus_client import REGISTRY

from notes.models import Note
from pcf.apps import config
from pcf.schema import graphql_service
from pcf.server import connection as module
from pcf.server.repeats import MOST
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
    """The answer to a request that is sent so that it is not repeated."""
    before = wired.repeated
    answer = wired.ask(request[:-3], request[-3:])
    assert wired.repeated == before
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
def test_a_repeated_answer_is_that_of_the_server(origins, live_world, wire, method):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    wired = wire()
    for lines in HEADERS:
        for signed in ([], [bearer(live_world.ann)]):
            check_repetition(wired, method(NOTES, *lines, *signed), lines, signed)


def check_repetition(wired, request, lines, signed):
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


NEVER = {
    "closed": post(TAGS, "Connection: close"),
    "kept": post(TAGS, "Connection: keep-alive"),
    "of the old version": post(version="1.0"),
    "of the old version and kept": post(TAGS, "Connection: keep-alive", version="1.0"),
    "expecting": post(TAGS, "Expect: 100-continue"),
    "upgrading": post(TAGS, "Upgrade: websocket"),
    "named": post(TAGS, "X-Request-ID: a"),
    "in a hurry": post(TAGS, "X-Request-Timeout: 5"),
    "with a tag": get(TAGS, 'If-None-Match: "a"'),
    "not to be stored": post(TAGS, "Cache-Control: no-store"),
    "a mutation": post("mutation { __typename }"),
    "not to be cached": post("{ me { id } }", "Authorization: Bearer unknown"),
    "too large": post(TAGS + " " * MOST),
    "chunked": post().replace(b"Content-Length: 32", b"Transfer-Encoding: chunked")[:-32]
    + b"20\r\n" + json.dumps({"query": TAGS}).encode() + b"\r\n0\r\n\r\n",
}  # fmt: skip


def test_what_is_unlike_its_repetition_is_the_servers(wired):
    wired.learn(post(), get())
    before = wired.repeated
    for name, request in NEVER.items():
        answers = [wired.ask(request) for _ in range(4)]
        assert wired.repeated == before, name
        assert len({each.status for each in answers}) == 1
        expected = "1.0" if "old version" in name else "1.1"
        assert {each.version for each in answers} == {expected}


def test_the_largest_request_is_repeated(wired):
    request = post(TAGS + " " * (MOST - len(post()) - 2))
    assert len(request) == MOST
    wired.learn(request)


@pytest.mark.parametrize("more", [post(NOTES), post(NOTES)[:50], b"\r\n"])
def test_what_comes_with_more_is_never_repeated(wired, more):
    async def ask(client):
        await client.send(post() + more)
        return await client.read(2 if more == post(NOTES) else 1)

    for _ in range(5):
        answers = wired.run(ask)
    assert wired.repeated == 0
    assert contents(answers[0]) == contents(parsed(wired, post()))
    assert wired.ask(post()).status == 200
    assert wired.repeated == 0, "nothing was learnt"


def test_a_request_in_two_segments_is_never_learnt(wired):
    request = post()
    for place in (1, len(request) - 40, len(request) - 3):
        for _ in range(5):
            wired.ask(request[:place], request[place:])
    wired.ask(request)
    assert wired.repeated == 0


def test_a_known_request_behind_half_of_another_is_a_part_of_that(wired):
    body = post()
    head = b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: %d"
    wired.learn(body)
    before = wired.repeated

    async def ask(client):
        await client.send(head % len(body) + b"\r\n\r\n", body)
        return await client.read(1)

    (answer,) = wired.run(ask)
    assert answer.status == 415
    assert wired.repeated == before


def test_the_same_bytes_from_another_address_are_learnt_apart(wired):
    wired.learn(post())
    before = wired.repeated
    wired.run(lambda client: client.ask(post()), host="127.0.0.2")
    assert wired.repeated == before
    wired.run(lambda client: client.ask(post()), host="127.0.0.2")
    assert wired.repeated == before + 1


def test_what_is_said_of_a_way_over_tls_is_not_said_of_another():
    ways = set()
    for tls in (False, True):
        connection = module.Connection(Fake(), None)
        connection.connection_made(FakeTransport(tls))
        ways.add(connection._key(b"same"))
    assert len(ways) == 2


class Fake:
    add = staticmethod(lambda connection: True)
    repeats = None


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
def test_only_requests_of_one_version_have_a_known_size(version):
    scope = {"http_version": "1.1", "headers": [(b"content-length", b"3")]}
    data = b"PRI * HTTP/2.0\r\n\r\nabc"
    assert module._size_of(scope, data) == len(data)
    assert module._size_of({**scope, "http_version": version}, data) == -1


@pytest.mark.parametrize("given", ["access", "traces"])
def test_a_service_that_logs_or_traces_every_request_repeats_none(
    live_world, wire, settings, given
):
    logs = replace(settings.PCF.logs, access=given == "access")
    traces = replace(settings.PCF.traces, enabled=given == "traces")
    settings.PCF = replace(settings.PCF, logs=logs, traces=traces)
    wired = wire()
    for _ in range(6):
        assert wired.ask(post()).status == 200
    assert wired.repeated == 0


@pytest.mark.parametrize("known_first", [True, False])
def test_where_the_server_sees_every_request_none_is_repeated(wired, known_first):
    if known_first:
        wired.learn(post())
        wired.connections.is_ending = True
    else:
        wired.connections.may_repeat = False
    before = wired.repeated
    answers = [wired.ask(post()) for _ in range(5)]
    assert wired.repeated == before
    assert (answers[-1].get("connection") == "close") == known_first


def test_without_keepalive_every_answer_announces_the_end(live_world, wire):
    wired = wire(keepalive=0)
    for _ in range(6):
        assert wired.ask(post()).get("connection") == "close"
    assert wired.repeated == 0


def test_the_server_gets_a_request_before_it_takes_a_connection_for_idle(wired, monkeypatch):
    wired.learn(post())
    clock = [1_000.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])

    async def ask(client):
        repeated = []
        for pause in (0, 0, 8, 1.4, 8, 8):
            clock[0] += pause
            before = wired.repeated
            assert (await client.ask(post())).status == 200
            repeated.append(wired.repeated - before)
        await client.ask(get("{ tags { name } }"))
        for pause in (0, 9.3, 0.1, 1, 8):
            clock[0] += pause
            before = wired.repeated
            assert (await client.ask(post())).status == 200
            repeated.append(wired.repeated - before)
        return repeated

    assert wired.run(ask) == [1] * 6 + [1, 1, 0, 1, 1]


def test_a_server_that_begins_behind_unread_answers_is_told():
    inner = Mock()
    connection = module.Connection(Fake(), lambda: inner)
    connection.connection_made(FakeTransport(tls=False))
    connection.pause_writing()
    connection.data_received(b"a request")
    inner.pause_writing.assert_called_once_with()


# --- exactness


def test_a_write_between_two_repetitions_is_seen(live_world, wired):
    request = post(NOTES)
    wired.learn(request)
    make_note(live_world.ann, "new")
    before = wired.repeated
    assert b"new" in wired.ask(request).body
    Note.objects.get(title="new").delete()
    assert b"new" not in wired.ask(request).body
    assert wired.repeated == before
    wired.learn(request)


def test_a_revoked_token_is_refused_and_viewers_get_each_their_own(live_world, wired):
    requests = [post(NOTES, bearer(user)) for user in (live_world.ann, live_world.bob)]
    wired.learn(*requests, post(NOTES))
    before = wired.repeated
    ann, bob, nobody = (wired.ask(request).body for request in (*requests, post(NOTES)))
    assert wired.repeated == before + 3
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
    assert wired.repeated == before + 3


def test_what_was_evicted_is_made_anew(wired):
    wired.learn(post(NOTES))
    client = get_redis_connection("default")
    prefix = config().cache.prefix
    evicted = list(client.scan_iter(match=f"{prefix}*:e:*", count=1_000))
    assert evicted
    client.unlink(*evicted)
    before = wired.repeated
    answer = wired.ask(post(NOTES))
    assert (answer.status, answer.get("cache-status")) == (200, "pcf; fwd=miss; stored")
    assert wired.repeated == before
    wired.learn(post(NOTES))


@pytest.mark.parametrize("how", ["freeze", "kill"])
def test_without_redis_the_server_answers(live_world, redis_server, wire, how):
    wired = wire(alias=redis_server.alias)
    wired.learn(post(NOTES))
    before = wired.repeated
    getattr(redis_server, how)()
    for _ in range(3):
        answer = wired.ask(post(NOTES))
        assert answer.status == 200
        assert b"public of ann" in answer.body
    assert wired.repeated == before
    if how == "freeze":
        redis_server.thaw()


@pytest.mark.parametrize("where", ["short_of", "response"])
def test_what_fails_in_a_repetition_is_answered_by_the_server(wired, monkeypatch, caplog, where):
    wired.learn(post())
    before = wired.repeated
    hits = graphql_service().hits
    own, failures = getattr(hits, where), [ZeroDivisionError]

    def failing(*given):
        if failures:
            raise failures.pop()
        return own(*given)

    monkeypatch.setattr(hits, where, failing)
    assert contents(wired.ask(post())) == contents(parsed(wired, post()))
    assert (failures, wired.repeated) == ([], before)
    assert "ZeroDivisionError" in caplog.text
    wired.ask(post())
    assert wired.repeated == before + 1


def test_what_was_counted_is_told_when_it_is_due(wired, monkeypatch):
    wired.learn(post())
    tally = graphql_service()._cache.tally
    monkeypatch.setattr(tally, "_due", 0.0)
    before = wired.repeated
    assert wired.ask(post()).status == 200
    assert wired.repeated == before


def labels_of_duration():
    known = next(iter(graphql_service().hits._known._young.values()))
    return {"operation_type": "query", "complexity_bucket": known.bucket}


def test_repeated_answers_are_counted_as_others(wired):
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
