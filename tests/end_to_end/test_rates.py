"""Rate limits and concurrent requests on a real gunicorn with two workers."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.end_to_end.conftest import beside, start, stop

PATIENCE = 60.0  # seconds
LISTS = [f"{{ users(first: 1) {{ {name}: id }} }}" for name in "abcdefgh"]  # 2 points each
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
LIMITS = {
    "PCF_RATES_ENABLED": "1",
    "PCF_RATES_VIEWER_BURST": "10",
    "PCF_RATES_VIEWER_POINTS": "0.001",  # a second: the bucket gets no point during a test
    "PCF_RATES_ADDRESS_BURST": "1000",
    "PCF_DOCUMENTS_MAX_COST": "10",
    "PCF_REQUESTS_MAX_CONCURRENT": "2",
    "PCF_TIMEOUTS_HTTP": "30",
    "PCF_TIMEOUTS_GRAPHQL": "25",
    "PCF_TIMEOUTS_DATABASE": "20",
}


@pytest.fixture(scope="module")
def limited(server):
    """A service that limits its clients."""
    prefix = server.environment["PCF_CACHE_PREFIX"] + "-rates"
    running = start(beside(server.environment, PCF_CACHE_PREFIX=prefix, **LIMITS))
    yield running
    stop(running)


@pytest.fixture(scope="module")
def workers(limited):
    process = limited.process.pid
    children = Path(f"/proc/{process}/task/{process}/children")
    wait_for(lambda: len(children.read_text().split()) == 2)  # the first worker may be ready before
    return [int(worker) for worker in children.read_text().split()]


@contextmanager
def without(worker):
    """Stop one worker, so that the other one answers."""
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_for(
            lambda: Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        )
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_rate_is_one_for_both_workers_and_refuses_one_request_beyond_it(limited, workers):
    first, second = workers

    def ask(query):
        return limited.post(query, "test-token")

    with without(second):
        assert [ask(query)[0] for query in LISTS[:3]] == [200] * 3
    with without(first):
        assert [ask(query)[0] for query in LISTS[3:5]] == [200] * 2
        refused = ask(LISTS[5])
    with without(second):
        answers = [refused, ask(LISTS[6])]
    for status, headers, content in answers:
        assert status == 429
        assert 1_000 < int(headers["Retry-After"]) <= 2_000
        assert content["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    assert limited.post(LISTS[7])[0] == 200, "other clients have points of their own"


def test_one_request_more_at_once_is_refused_and_the_others_are_answered(limited, workers):
    tags = ["{ tags { a: name } }", "{ tags { b: name } }"]
    database = limited.environment["DATABASE_URL"]
    with (
        ThreadPoolExecutor() as pool,
        psycopg.connect(database) as holder,
        psycopg.connect(database, autocommit=True) as observer,
    ):
        holder.execute("LOCK TABLE tags_tag IN ACCESS EXCLUSIVE MODE")
        with without(workers[1]):
            waiting = [pool.submit(limited.post, query) for query in tags]
            name = observer.info.dbname
            wait_for(lambda: observer.execute(BLOCKED, [name]).fetchone()[0] == 2)
            status, headers, content = limited.post("{ users { x: id } }")
            assert (status, headers["Retry-After"]) == (429, "1")
            assert content["errors"][0]["extensions"]["code"] == "TOO_MANY_REQUESTS"
            holder.rollback()
            assert [each.result()[0] for each in waiting] == [200, 200]
            assert limited.post("{ users { x: id } }")[0] == 200
