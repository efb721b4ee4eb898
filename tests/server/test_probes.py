"""Probes: for any Host, bounded in time, and many at once are one."""

import asyncio
import json
from dataclasses import replace
from threading import Event

import pytest

from pcf.http import health
from pcf.server import probes as module
from pcf.server.probes import Probes
from tests.http.wsgi import environ_of
from tests.server.asgi import PATIENCE, Exchange, scope_of

ALL = ["/livez", "/readyz", "/health", "/metrics"]


def probe(path, method="GET", **headers):
    return {**scope_of(environ_of(None, **headers)), "path": path, "method": method}


@pytest.fixture
def hanging(settings, monkeypatch):
    """``hanging(name)`` lets the check ``name`` hang until the test is over."""
    settings.PCF = replace(settings.PCF, server=replace(settings.PCF.server, probe=0.2))
    monkeypatch.setattr(health, "_running", {})
    free = Event()
    begun = []

    def hang(name):
        def wait():
            begun.append(name)
            assert free.wait(PATIENCE)
            return "at last"

        checks = {other: (lambda: "fine", needed) for other, (_, needed) in health.CHECKS.items()}
        checks[name] = (wait, health.CHECKS[name][1])
        monkeypatch.setattr(health, "CHECKS", checks)
        return begun

    yield hang
    free.set()
    for examination in health._running.values():
        examination._thread.join(PATIENCE)


@pytest.mark.parametrize("host", ["192.0.2.7", "evil.example.org", "[::1]:8080", None])
def test_every_host_is_answered_and_without_tls(live_world, settings, serving, host):
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


def test_methods_that_change_something_are_refused_and_head_has_no_body(service):
    for path in ALL:
        refused = service.ask(probe(path, "POST"), b"")
        assert (refused.status, refused.headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")
        head = service.ask(probe(path, "HEAD"))
        assert (head.status, head.body) == ("200 OK", b"")
        assert int(head.headers["Content-Length"]) > 0


def test_the_loop_says_that_it_lives_without_a_thread():
    async def ask():
        exchange = Exchange(probe("/livez"))
        answering = Probes().answer(exchange.scope, exchange.receive, exchange.send)
        with pytest.raises(StopIteration):  # it waits for nothing
            answering.send(None)
        return exchange.reply

    reply = asyncio.run(ask())
    assert (reply.status, reply.body) == ("200 OK", b"ok\n")


def test_while_all_threads_of_requests_are_busy_probes_are_answered(service, monkeypatch):
    monkeypatch.setattr(service.application._started.threads, "run", None)
    for path in ALL:
        assert service.ask(probe(path)).status == "200 OK"


def test_probes_and_djangos_views_say_the_same(service, client):
    for path in ("/livez", "/readyz"):
        of_django = client.get(path)
        assert service.ask(probe(path)).body == of_django.content
    report = json.loads(service.ask(probe("/health")).body)
    assert report["status"] == client.get("/health").json()["status"] == "ok"
    assert b"process_max_fds" in service.ask(probe("/metrics")).body


@pytest.mark.blocks("a probe")
@pytest.mark.parametrize(
    ("name", "status", "of_health"),
    [("database", "503 Service Unavailable", "failed"), ("cache", "200 OK", "degraded")],
)
def test_a_probe_waits_for_nobody_for_longer_than_it_may(service, hanging, name, status, of_health):
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
    assert begun == [name], "a check that hangs is not begun twice"


def test_a_redis_that_is_frozen_leaves_the_service_ready(
    redis_server, serving, settings, monkeypatch
):
    settings.PCF = replace(settings.PCF, server=replace(settings.PCF.server, probe=0.3))
    monkeypatch.setattr(health, "_running", {})
    for name in ("database", "migrations"):
        monkeypatch.setitem(health.CHECKS, name, (lambda: "fine", True))
    service = serving(alias=redis_server.alias)
    redis_server.freeze()
    reply = service.ask(probe("/readyz"))
    redis_server.thaw()
    assert reply.status == "200 OK"
    assert "cache: failed" in reply.body.decode().splitlines()
    for examination in health._running.values():
        examination._thread.join(PATIENCE)


def test_many_probes_of_a_kind_are_one_run(monkeypatch):
    begun, free = Event(), Event()
    runs = []

    def slow():
        runs.append(1)
        begun.set()
        assert free.wait(PATIENCE)
        return health.ProbeAnswer(200, "text/plain", b"%d" % len(runs))

    monkeypatch.setitem(module._IN_THREADS, "/readyz", slow)

    async def ask():
        probes = Probes()
        exchanges = [Exchange(probe("/readyz")) for _ in range(5)]
        asked = [
            asyncio.ensure_future(probes.answer(e.scope, e.receive, e.send)) for e in exchanges
        ]
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        asked.pop().cancel()  # one goes away: the others are answered
        free.set()
        await asyncio.gather(*asked)
        later = Exchange(probe("/readyz"))
        await probes.answer(later.scope, later.receive, later.send)
        return [each.reply.body for each in (*exchanges[:4], later)]

    assert asyncio.run(ask()) == [b"1"] * 4 + [b"2"]
