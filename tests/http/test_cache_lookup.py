"""Single flight: of several identical misses one executes, and the others get its response."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, Semaphore
from time import monotonic, sleep

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django_redis import get_redis_connection

from notes.loaders import NoteById
from notes.models import Note
from pcf.cache import scripts
from pcf.cache.redis_gateway import redis_gateway
from pcf.cache.response_cache import CachedResponses, LookupRequest
from tests.conftest import token_for

PATIENCE = 30  # seconds before a test that hangs fails


@pytest.fixture
def long_leases(settings, live_world):
    """Leases and a Redis timeout that are long enough on a busy machine.

    Pending invalidations are flushed first: during a flush other threads bypass the cache.
    """
    if redis_gateway().has_pending:
        redis_gateway().flush_pending()
    cache = replace(settings.PCF.cache, flight_lease=2.0 * PATIENCE)
    timeouts = replace(settings.PCF.timeouts, cache=2.0)
    settings.PCF = replace(settings.PCF, cache=cache, timeouts=timeouts)


class Gathering:
    """Blocks the loader of notes until ``waiters`` requests wait; counts loads and waits."""

    def __init__(self, monkeypatch, waiters):
        self.loads = 0
        self.connected = []  # whether each waiter holds a connection
        self.at_load = lambda: None
        self._waiting = Semaphore(0)
        self._load, self._wait = NoteById.load_batch, CachedResponses.wait
        self._waiters = waiters
        monkeypatch.setattr(NoteById, "load_batch", lambda *a: self._hold_up(*a))
        monkeypatch.setattr(CachedResponses, "wait", lambda *a: self._count(*a))

    def _hold_up(self, loader, keys):
        self.loads += 1
        first = self.loads == 1
        found = self._load(loader, keys)
        if first:
            for _ in range(self._waiters):
                assert self._waiting.acquire(timeout=PATIENCE)
            self.at_load()
        return found

    def _count(self, cache, *arguments):
        self.connected.append(connection.connection is not None)
        self._waiting.release()
        return self._wait(cache, *arguments)


def ask_all(ask, count, **how):
    def one(_):
        try:
            return ask(**how)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def query_of(note):
    return f'{{ note(id: "{note.pk}") {{ title }} }}'


def test_identical_misses_execute_once(live_world, ask, monkeypatch, long_leases, grown):
    gathering = Gathering(monkeypatch, waiters=5)
    token = token_for(live_world.ann)
    grown()
    answers = ask_all(ask, 6, query=query_of(live_world.public), token=token)

    told = grown()
    assert {name: told[name] for name in ("misses", "stores", "hits", "flights joined")} == {
        "misses": 1, "stores": 1, "hits": 5, "flights joined": 5,
    }  # fmt: skip
    assert "flights executed" not in told
    assert gathering.loads == 1
    assert {answer.body for answer in answers} == {answers[0].body}
    assert answers[0].data == {"note": {"title": "public of ann"}}
    assert sorted(answer.cache_status for answer in answers) == [
        "pcf; fwd=miss; stored",
        *["pcf; hit"] * 5,
    ]
    assert gathering.connected == [False] * 5  # waiters hold no connection


def test_a_write_during_the_flight_is_in_every_later_response(
    live_world, ask, monkeypatch, long_leases, grown
):
    """The write commits after the leader has read the old title, while the waiter waits."""
    gathering = Gathering(monkeypatch, waiters=1)
    gathering.at_load = lambda: Note.objects.filter(pk=live_world.public.pk).update(title="new")
    grown()
    answers = ask_all(ask, 2, query=query_of(live_world.public))
    assert sorted(answer.data["note"]["title"] for answer in answers) == ["new", "public of ann"]
    assert gathering.loads == 2
    told = grown()
    assert (told["refused_stores fence"], told["stores"], told["misses"]) == (1, 1, 2)
    assert told["flights executed"] == 1
    assert ask(query_of(live_world.public)).data["note"]["title"] == "new"


def test_waiters_execute_after_their_leader_has_failed(
    live_world, ask, monkeypatch, long_leases, grown
):
    gathering = Gathering(monkeypatch, waiters=3)

    def fail():
        raise RuntimeError("only the leader")

    gathering.at_load = fail
    answers = ask_all(ask, 4, query=query_of(live_world.public))
    assert sorted(len(answer.errors) for answer in answers) == [0, 0, 0, 1]
    assert gathering.loads == 4
    told = grown()
    assert told["flights executed"] == 3
    assert "flights joined" not in told


@pytest.fixture
def dead_leader(live_world):
    """``dead_leader(query)`` leads the flight of ``query`` and never completes it."""

    def lead(ask, query, monkeypatch):
        questions = []
        look_up = CachedResponses.look_up

        def spy(cache, question):
            questions.append(question)
            return look_up(cache, question)

        with monkeypatch.context() as patch:
            patch.setattr(CachedResponses, "look_up", spy)
            ask(query)
        live_world.public.save()  # the entry is gone again
        assert CachedResponses(redis_gateway()).look_up(questions[0]).leads

    return lead


def test_a_waiter_leads_when_the_lease_of_a_dead_leader_has_ended(
    live_world, ask, monkeypatch, settings, dead_leader, grown
):
    cache = replace(settings.PCF.cache, flight_lease=0.2)
    settings.PCF = replace(settings.PCF, cache=cache)
    query = query_of(live_world.public)
    dead_leader(ask, query, monkeypatch)
    grown()
    assert ask(query).cache_status == "pcf; fwd=miss; stored"
    assert grown()["flights executed"] == 1


@pytest.mark.blocks("another request that computes the same response", at_least=1.5, within=10)
def test_a_waiter_executes_after_half_of_its_time(
    live_world, ask, monkeypatch, long_leases, dead_leader
):
    query = query_of(live_world.public)
    dead_leader(ask, query, monkeypatch)
    answer = ask(query, **{"X-Request-Timeout": "6"})
    assert answer.data == {"note": {"title": "public of ann"}}
    assert answer.cache_status == "pcf; fwd=miss; stored"


def test_the_lease_of_a_living_leader_is_renewed(live_world, settings):
    cache = replace(settings.PCF.cache, flight_lease=0.3)
    settings.PCF = replace(settings.PCF, cache=cache)
    responses = CachedResponses(redis_gateway())
    asked = LookupRequest(digest="d", join=True)
    flight = responses.look_up(asked).flight
    renewals = Event()
    run = responses.leases._gateway.run
    count = []

    class Counting:
        def run(self, script, *arguments):
            count.append(script)
            if len(count) > 4:
                renewals.set()
            return run(script, *arguments)

    responses.leases._gateway = Counting()
    responses.leases.hold(flight, "anonymous:d", monotonic() + PATIENCE)
    assert renewals.wait(PATIENCE)
    assert set(count) == {scripts.RENEW}
    client, name = get_redis_connection("default"), f"{cache.prefix}:f:anonymous:d"
    client.set(name, flight, px=10_000)
    renew = scripts.RenewArguments(cache.prefix, "anonymous:d", flight, 60_000)
    redis_gateway().run(scripts.RENEW, renew)
    assert client.pttl(name) > 10_000
    redis_gateway().run(scripts.RENEW, renew._replace(id="another", lease_ms=90_000))
    assert client.pttl(name) <= 60_000
    responses.leases.release(flight)


PROCESS = """
import sys
import django
django.setup()
from concurrent.futures import ThreadPoolExecutor
from django.db import connections
from django.test import Client
def ask(_):
    try:
        response = Client().post("/graphql", sys.argv[1], content_type="application/json")
        return response["Cache-Status"]
    finally:
        connections.close_all()
with ThreadPoolExecutor(3) as pool:
    print("\\n".join(pool.map(ask, range(3))))
"""


def test_processes_share_flights(live_world, settings):
    """Two processes of three threads; the table is locked until five of the six wait."""
    where = django_settings.DATABASES["default"]
    host, port = (where["HOST"] or "localhost").replace("/", "%2F"), where["PORT"] or 5432
    who = where["USER"] + (f":{where['PASSWORD']}" if where["PASSWORD"] else "")
    url = f"postgres://{who}@{host}:{port}/{connection.settings_dict['NAME']}"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PCF_")},
        "DJANGO_SETTINGS_MODULE": "settings.development",
        "DATABASE_URL": url,
        "ALLOWED_HOSTS": "testserver",
        "PCF_CACHE_PREFIX": settings.PCF.cache.prefix,
        "PCF_CACHE_FLIGHT_LEASE": str(2 * PATIENCE),
    }
    body = json.dumps({"query": query_of(live_world.public)})
    client, waiting = get_redis_connection("default"), f"{settings.PCF.cache.prefix}:n:*"
    with psycopg.connect(url) as locking:
        locking.execute("LOCK TABLE notes_note IN ACCESS EXCLUSIVE MODE")
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PROCESS, body], env=environment, stdout=subprocess.PIPE
            )
            for _ in range(2)
        ]
        end = monotonic() + 2 * PATIENCE
        while sum(int(client.get(name) or 0) for name in client.scan_iter(match=waiting)) < 5:
            assert monotonic() < end
            sleep(0.05)
    told = [line for p in processes for line in p.communicate(timeout=PATIENCE)[0].splitlines()]
    assert sorted(told) == [b"pcf; fwd=miss; stored", *[b"pcf; hit"] * 5]
