"""Probes: for any Host, bounded in time, and shared by simultaneous clients."""

import asyncio
import json
from dataclasses import replace
from threading import Event

import pytest

from pcf.cache.redis_gateway import CacheUnavailable
from pcf.server import probes
from pcf.server import probes as module
from pcf.server.probes import Probes
from tests.http.wsgi import environ_of
from tests.server.asgi import PATIENCE, Exchange, scope_of

ALL = ["/livez", "/readyz", "/health", "/metrics"]


def probe(path, method="GET", **headers):
    return {**scope_of(environ_of(None, **headers)), "path": path, "method": method}


@pytest.fixture
def hanging(settings, monkeypatch):
    """``hanging(name)`` makes the check ``name`` hang until the test ends."""
    settings.PCF = replace(settings.PCF, server=replace(settings.PCF.server, probe=0.2))
    monkeypatch.setattr(probes, "_running", {})
    free = Event()
    begun = []

    def hang(name):
        def wait():
            begun.append(name)
            assert free.wait(PATIENCE)
            return "at last"

        checks = {other: (lambda: "fine", needed) for other, (_, needed) in probes.CHECKS.items()}
        checks[name] = (wait, probes.CHECKS[name][1])
        monkeypatch.setattr(probes, "CHECKS", checks)
        return begun

    yield hang
    free.set()
    for examination in probes._running.values():
        examination._thread.join(PATIENCE)


def test_health_says_in_words_what_failed(live_world, client, monkeypatch):
    def no_redis():
        raise CacheUnavailable

    monkeypatch.setattr(probes, "_running", {})
    monkeypatch.setattr(probes, "count_unapplied_migrations", lambda: 3)
    monkeypatch.setattr(probes.redis_gateway(), "ping", no_redis)
    checks = client.get("/health").json()["checks"]
    assert checks["migrations"]["detail"] == "3 migrations are not applied"
    assert checks["cache"]["detail"] == "Redis does not answer"


@pytest.mark.parametrize("host", ["192.0.2.7", "evil.example.org", "[::1]:8080", None])
def test_probes_answer_for_every_host_and_without_tls(live_world, settings, serving, host):
    settings.ALLOWED_HOSTS = ["ours.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    service = serving()
    for path in ALL:
        scope = probe(path, **({"host": host} if host else {}))
        if host is None:
            scope["headers"] = []
        reply = service.ask(scope)
        assert reply.status == "200 OK"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Content-Length"] == str(len(reply.body))


def test_other_methods_are_refused_and_head_has_no_body(service):
    for path in ALL:
        refused = service.ask(probe(path, "POST"), b"")
        assert (refused.status, refused.headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")
        head = service.ask(probe(path, "HEAD"))
        assert (head.status, head.body) == ("200 OK", b"")
        assert int(head.headers["Content-Length"]) > 0


def test_the_event_loop_answers_livez_without_a_thread():
    async def ask():
        exchange = Exchange(probe("/livez"))
        answering = Probes().answer(exchange.scope, exchange.receive, exchange.send)
        with pytest.raises(StopIteration):  # the coroutine never waits
            answering.send(None)
        return exchange.reply

    reply = asyncio.run(ask())
    assert (reply.status, reply.body) == ("200 OK", b"ok\n")


def test_probes_are_answered_while_all_request_threads_are_busy(service, monkeypatch):
    monkeypatch.setattr(service.application._process.threads, "run", None)
    for path in ALL:
        assert service.ask(probe(path)).status == "200 OK"


def test_probes_and_djangos_views_answer_alike(service, client):
    for path in ("/livez", "/readyz"):
        of_django = client.get(path)
        assert service.ask(probe(path)).body == of_django.content
    report = json.loads(service.ask(probe("/health")).body)
    assert report["status"] == client.get("/health").json()["status"] == "ok"
    assert b"process_max_fds" in service.ask(probe("/metrics")).body


@pytest.mark.blocks("a probe", at_least=0.2, within=5)
@pytest.mark.parametrize(
    ("name", "status", "of_health"),
    [("database", "503 Service Unavailable", "failed"), ("cache", "200 OK", "degraded")],
)
def test_a_probe_with_a_hanging_check_answers_in_time(service, hanging, name, status, of_health):
    begun = hanging(name)
    for _ in range(2):
        reply = service.ask(probe("/readyz"))
        assert reply.status == status
        assert f"{name}: failed" in reply.body.decode().splitlines()
        reply = service.ask(probe("/health"))
        assert reply.status == status
        report = json.loads(reply.body)
        assert report["status"] == of_health
        entry = report["checks"][name]
        assert (entry["ok"], entry["detail"]) == (False, "no answer within 0.2 s")
    assert begun == [name], "a hanging check is not started twice"


def test_the_service_is_ready_with_a_frozen_redis(redis_server, serving, settings, monkeypatch):
    settings.PCF = replace(settings.PCF, server=replace(settings.PCF.server, probe=0.3))
    monkeypatch.setattr(probes, "_running", {})
    for name in ("database", "migrations"):
        monkeypatch.setitem(probes.CHECKS, name, (lambda: "fine", True))
    service = serving(alias=redis_server.alias)
    redis_server.freeze()
    reply = service.ask(probe("/readyz"))
    redis_server.thaw()
    assert reply.status == "200 OK"
    assert "cache: failed" in reply.body.decode().splitlines()
    for examination in probes._running.values():
        examination._thread.join(PATIENCE)


def test_simultaneous_probes_of_one_path_share_a_run(monkeypatch):
    begun, free = Event(), Event()
    runs = []

    def slow():
        runs.append(1)
        begun.set()
        assert free.wait(PATIENCE)
        return probes.ProbeAnswer(200, "text/plain", b"%d" % len(runs))

    monkeypatch.setitem(module._IN_THREADS, "/readyz", slow)

    async def ask():
        probes = Probes()
        exchanges = [Exchange(probe("/readyz")) for _ in range(5)]
        asked = [
            asyncio.ensure_future(probes.answer(e.scope, e.receive, e.send)) for e in exchanges
        ]
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        asked.pop().cancel()  # one client disconnects; the others get answers
        free.set()
        await asyncio.gather(*asked)
        later = Exchange(probe("/readyz"))
        await probes.answer(later.scope, later.receive, later.send)
        return [each.reply.body for each in (*exchanges[:4], later)]

    assert asyncio.run(ask()) == [b"1"] * 4 + [b"2"]
