"""Hits and misses of all processes, and what the cache holds."""

import pytest
from django.core.management import call_command

from pcf.cache import statistics
from pcf.cache.redis_gateway import redis_gateway
from pcf.cache.statistics import overview
from pcf.conf import find_service
from tests.conftest import token_for

NOTES = "{ notes { title } }"
TAGS = "{ tags { name } }"


@pytest.fixture
def reports_at_once(monkeypatch):
    monkeypatch.setattr(statistics, "INTERVAL", 0.0)
    monkeypatch.setattr(find_service()._cache.hit_statistics, "_due", 0.0)


def test_hits_and_misses_are_counted_over_all_processes(live_world, ask, reports_at_once):
    bypassing = "{ slowQuery(delay: 0) }"
    token = token_for(live_world.ann)
    ask(bypassing, token)  # reports what earlier tests counted
    before = overview(redis_gateway()).last_hour
    for _ in range(4):
        ask(NOTES)
    ask(bypassing, token)
    after = overview(redis_gateway()).last_hour
    assert (after.hits - before.hits, after.misses - before.misses) == (3, 1)
    assert overview(redis_gateway()).last_day.hits == after.hits


def test_cache_stats_shows_what_the_cache_holds(live_world, ask, capsys):
    ask(NOTES), ask(TAGS), ask(NOTES, token_for(live_world.ann))
    call_command("cache_stats")
    told = " ".join(capsys.readouterr().out.split())
    for line in (
        "responses, anonymous 1 ",
        "responses, shared 1 ",
        "responses, one viewer's 1 ",
        "credentials 1 ",
        "hit rate, 24 hours",
        "Redis uses",
    ):
        assert line in told
