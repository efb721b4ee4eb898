"""Real faults: Redis is down, connections break, the pool is exhausted."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection

from notes.models import Note
from pcf.cache.redis_gateway import redis_gateway
from pcf.conf.sections import RateSettings
from pcf.database.backend import base
from tests.conftest import token_for
from tests.database.tcp_proxy import Proxy

NOTES = "{ notes { title } }"


@pytest.fixture
def redis_away(settings, monkeypatch):
    """Make Redis refuse connections; calling the fixture ends the fault."""
    settings.CACHES = {
        **settings.CACHES,
        "away": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    cache = replace(settings.PCF.cache, breaker_failures=1_000)
    settings.PCF = replace(settings.PCF, cache=cache)
    monkeypatch.setattr(redis_gateway(), "alias", "away")
    yield lambda: monkeypatch.setattr(redis_gateway(), "alias", "default")
    redis_gateway().breaker.record_success()


def test_postgresql_serves_every_request_without_redis(live_world, ask, redis_away, grown):
    token = token_for(live_world.ann)
    grown()
    for _ in range(2):
        answer = ask(NOTES, token)
        assert answer.cache_status == "pcf; fwd=bypass"
        assert len(answer.data["notes"]) == 2
    assert grown()["bypasses unavailable"] == 2
    created = ask('mutation { createNote(input: {title: "t"}) { note { title } } }', token)
    assert created.data["createNote"]["note"] == {"title": "t"}
    assert grown()["owed"] == 1
    assert len(ask(NOTES, token).data["notes"]) == 3


def test_without_redis_requests_are_refused_when_fail_open_is_off(
    live_world, ask, settings, redis_away
):
    create = 'mutation { createNote(input: {title: "t"}) { note { id } } }'
    token = token_for(live_world.ann)
    settings.PCF = replace(settings.PCF, rates=RateSettings())
    assert ask(NOTES).data  # with fail_open every request passes
    settings.PCF = replace(settings.PCF, rates=RateSettings(fail_open=False))
    for refused in (ask(NOTES), ask(NOTES, token), ask(create, token)):
        assert (refused.status, refused.codes) == (503, ["SERVICE_UNAVAILABLE"])
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Cache-Control"] == "no-store"
        assert "data" not in refused.content
    assert not Note.objects.filter(title="t").exists()
    redis_away()
    assert ask(NOTES).data["notes"]
    assert ask(create, token).data["createNote"]["note"]


def test_nothing_older_than_a_write_is_served_when_redis_is_back(
    live_world, ask, settings, monkeypatch
):
    assert len(ask(NOTES).data["notes"]) == 1
    settings.CACHES = {
        **settings.CACHES,
        "away": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    with monkeypatch.context() as patch:
        patch.setattr(redis_gateway(), "alias", "away")
        Note.objects.create(title="meanwhile", author=live_world.ann, is_public=True)
    redis_gateway().breaker.record_success()
    answer = ask(NOTES)
    assert answer.cache_status == "pcf; fwd=miss; stored"
    assert len(answer.data["notes"]) == 2


def test_health_reports_redis_and_readiness_stays(live_world, client, redis_away):
    assert client.get("/readyz").status_code == 200
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert health.json()["checks"]["cache"]["ok"] is False


def terminate_backends():
    """End all other connections to the test database, as a restart or a fail-over does."""
    where = django_settings.DATABASES["default"]
    names = {
        "host": where["HOST"],
        "port": where["PORT"],
        "user": where["USER"],
        "password": where["PASSWORD"],
    }
    given = {key: value for key, value in names.items() if value}
    with psycopg.connect(dbname="postgres", autocommit=True, **given) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [connection.settings_dict["NAME"]],
        )


def test_a_query_survives_the_loss_of_its_connections(live_world, ask, monkeypatch):
    """The connection breaks between two levels of one query; the read is repeated."""
    from notes.loaders import TagsByNote

    load = TagsByNote.load_batch
    cut = []

    def cut_first(loader, keys):
        if not cut:
            cut.append(keys)
            terminate_backends()
        return load(loader, keys)

    monkeypatch.setattr(TagsByNote, "load_batch", cut_first)
    answer = ask("{ notes { title tags { name } } }")
    assert cut
    assert answer.data == {"notes": [{"title": "public of ann", "tags": [{"name": "red"}]}]}


@pytest.mark.repeats  # the pool may hand out more broken connections
def test_a_mutation_that_lost_its_connection_before_commit_runs_once(live_world, ask, monkeypatch):
    from notes import mutations

    token = token_for(live_world.ann)
    calls = []
    original = mutations.chosen_tags

    def cut(viewer, values):
        calls.append(values)
        if len(calls) == 1:
            terminate_backends()
        return original(viewer, values)

    monkeypatch.setattr(mutations, "chosen_tags", cut)
    tag = live_world.red.pk
    answer = ask(
        f'mutation {{ createNote(input: {{title: "t", tagIds: ["{tag}"]}}) {{ note {{ id }} }} }}',
        token,
    )
    assert answer.data["createNote"]["note"]
    assert len(calls) > 1
    assert Note.objects.filter(title="t").count() == 1


def test_an_exhausted_pool_is_reported_until_a_connection_is_free(live_world, ask):
    pool = connection.pool
    with ExitStack() as held:
        connection.close()
        for _ in range(pool.max_size):
            held.callback(pool.putconn, pool.getconn())
        answer = ask(NOTES, **{"X-Request-Timeout": "1.2", "Cache-Control": "no-store"})
        assert answer.codes in (["SERVICE_UNAVAILABLE"], ["TIMEOUT"])
    assert ask(NOTES).data["notes"]


def test_a_full_queue_for_connections_refuses_at_once(live_world, ask, monkeypatch):
    pool = connection.pool
    monkeypatch.setattr(pool, "max_waiting", 1)
    with ExitStack() as held, ThreadPoolExecutor(1) as waiting:
        connection.close()
        for _ in range(pool.max_size):
            held.callback(pool.putconn, pool.getconn())
        future = waiting.submit(pool.getconn, 60)
        while not pool.get_stats().get("requests_waiting"):
            pass
        answer = ask(NOTES, **{"Cache-Control": "no-store"})
        held.close()
        pool.putconn(future.result())
    assert (answer.status, answer.codes) == (503, ["SERVICE_UNAVAILABLE"])
    assert answer.headers["Retry-After"] == "1"
    assert "data" not in answer.content
    assert ask(NOTES).data["notes"]


@pytest.mark.blocks("a command to Redis", at_least=0.1, within=10)
def test_the_circuit_opens_for_a_silent_redis(live_world, ask, settings, monkeypatch):
    where = urlsplit(settings.REDIS_URL)
    with Proxy(where.hostname or "127.0.0.1", where.port or 6379) as proxy:
        proxy.freeze()
        silent = {**settings.CACHES["default"], "LOCATION": f"redis://127.0.0.1:{proxy.port}/0"}
        settings.CACHES = {**settings.CACHES, "silent": silent}
        cache = replace(settings.PCF.cache, breaker_failures=1_000)
        settings.PCF = replace(settings.PCF, cache=cache)
        with monkeypatch.context() as patch:
            patch.setattr(redis_gateway(), "alias", "silent")
            answer = ask(NOTES)
        redis_gateway().breaker.record_success()
    assert answer.cache_status == "pcf; fwd=bypass"
    assert len(answer.data["notes"]) == 1
    assert ask(NOTES).cache_status == "pcf; fwd=miss; stored"


@pytest.fixture
def read_only(live_world, monkeypatch):
    """All sessions are read-only, as on a demoted primary; calling the fixture ends the fault."""
    monkeypatch.setattr(base, "RENEW_AFTER", 0.0)  # no session is believed for a second
    name = connection.settings_dict["NAME"]

    def switch(value):
        where = {**connection.get_connection_params(), "dbname": "postgres", "autocommit": True}
        with psycopg.connect(**where) as other:
            other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')

    text = token_for(live_world.ann)
    connection.close()
    switch("on")
    terminate_backends()
    yield text, lambda: switch("DEFAULT")
    switch("DEFAULT")
    connection.close()
    connection.pool.drain()


@pytest.mark.repeats  # a refused write is tried on a new session
def test_a_read_only_postgresql_answers_queries_and_refuses_mutations(ask, client, read_only):
    text, end = read_only
    create = 'mutation { createNote(input: {title: "t"}) { note { title } } }'
    assert ask("{ me { name } }", text).data == {"me": {"name": "Ann"}}
    refused = ask(create, text)
    assert (refused.status, refused.codes) == (503, ["SERVICE_UNAVAILABLE"])
    assert refused.headers["Retry-After"] == "1"
    assert client.get("/readyz").status_code == 200
    health = client.get("/health").json()
    assert health["status"] == "degraded"
    assert health["checks"]["writes"]["detail"] == "PostgreSQL is read-only"
    assert health["checks"]["database"]["ok"]
    end()
    assert ask(create, text).data["createNote"]["note"] == {"title": "t"}
    assert client.get("/health").json()["checks"]["writes"]["ok"]


CUT = """
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER cut AFTER UPDATE ON users_apitoken
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION cut()
"""


@pytest.fixture
def cut_commits(live_world):
    """The connection breaks during the COMMIT of a note that a token was used."""
    with connection.cursor() as cursor:
        cursor.execute(CUT)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION cut CASCADE")


def test_a_token_is_found_when_the_note_of_its_use_is_lost(ask, cut_commits, live_world):
    text = token_for(live_world.ann)
    assert ask("{ me { name } }", text).data == {"me": {"name": "Ann"}}
    create = 'mutation { createNote(input: {title: "t"}) { note { title } } }'
    assert ask(create, text).data["createNote"]["note"] == {"title": "t"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM users_apitoken WHERE last_used_at IS NOT NULL")
        assert cursor.fetchone() == (0,)
