"""The load test's sessions and conflicts on a real gunicorn with two workers."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from benchmarks.load.generator import Load, Target, generate
from benchmarks.load.mix import Mix, read_mix
from benchmarks.load.service import Service, explore
from benchmarks.load.sessions import Viewer
from tests.databases import throwaway_database
from tests.end_to_end.conftest import ROOT, Server, beside, manage, start, stop

COUNT = 4  # viewers
SETTINGS = {
    "PCF_RATES_ENABLED": "1",
    "PCF_RATES_TRUSTED_PROXIES": "1",
    "PCF_TIMEOUTS_HTTP": "30",  # no answer of a busy machine is too late
    "PCF_TIMEOUTS_GRAPHQL": "25",
    "PCF_TIMEOUTS_DATABASE": "20",
}
PREPARE = """
import json, django
django.setup()
from benchmarks.load.prepare import viewers
print(json.dumps(viewers(%d)))
"""


@pytest.fixture(scope="module")
def loaded(environment):
    """A service with limits of rates, behind the generator as its proxy, on its own database."""
    with throwaway_database("load") as address:
        prefix = environment["PCF_CACHE_PREFIX"] + "-load"
        env = beside(environment, DATABASE_URL=address, PCF_CACHE_PREFIX=prefix, **SETTINGS)
        manage(env, "migrate", "--verbosity", "0")
        manage(env, "seed_load", "--users", "10", "--notes-per-user", "3")
        server = start(env)
        yield server
        stop(server)


def world_of(server: Server):
    """Give users sessions; return the target and the world of a load."""
    argv = [sys.executable, "-c", PREPARE % COUNT]
    env = {**server.environment, "PYTHONPATH": str(ROOT)}
    made = subprocess.run(argv, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE).stdout
    viewers = [Viewer(**viewer) for viewer in json.loads(made.splitlines()[-1])]
    parts = urlsplit(server.url)
    target = Target(parts.hostname or "", parts.port or 0, "/graphql")
    return target, explore(Service(target, viewers, [], ""))


@pytest.fixture
def mix() -> Mix:
    """The mix, with many more log-ins, refreshes and conflicts."""
    weights = {"log in": 2, "refresh the access": 60, "edit an old version": 10, "me": 30}
    found = read_mix(Path(ROOT, "benchmarks", "load", "mix.toml"))
    kinds = [kind for kind in found.kinds if kind.name in weights]
    assert len(kinds) == len(weights)
    return replace(found, kinds=tuple(replace(kind, weight=weights[kind.name]) for kind in kinds))


def test_no_refresh_token_is_used_twice_and_conflicts_are_right_answers(loaded, mix):
    target, world = world_of(loaded)
    sessions, counts = set(), Counter()
    for seed in "12":  # the second load goes on with the tokens of the first one
        load = Load(rate=60, seconds=3, connections=16, timeout=60, processes=2, seed=seed)
        results = generate(target, load, mix, world, tick=lambda *_: True)
        assert results.outcomes == {"ok": 180}, loaded.logged()
        sessions |= {viewer.refresh_token for viewer in world.viewers}
        for number, kind in enumerate(mix.kinds):
            counts[kind.name] += results.total(number).count

    assert None not in sessions  # every answer has been read
    assert len(sessions) == 2 * COUNT  # both loads have replaced each token
    assert min(counts.values()) > 0
    with psycopg.connect(loaded.environment["DATABASE_URL"]) as connection:
        query = "SELECT count(*) FROM users_session"
        (alive,) = connection.execute(query).fetchone() or (0,)
    assert alive == COUNT + counts["log in"]  # the reuse of a token would have ended a session
