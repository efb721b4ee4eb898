"""Threads that work for a request: its deadline, its count of statements, its connections."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from pcf.database.query_log import count_queries
from pcf.database.statements import for_thread
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate


@pytest.fixture
def known(make_wrapper):
    """The alias of a database that every thread knows; its pool has one connection."""
    wrapper = make_wrapper(pool={"min_size": 1, "max_size": 1, "timeout": 10})
    connections.settings[wrapper.alias] = wrapper.settings_dict
    yield wrapper.alias
    del connections.settings[wrapper.alias]


@pytest.fixture
def ask(known, one):
    """Run a statement on this thread's connection to that database."""
    return lambda sql="SELECT 1": one(connections[known], sql)


@pytest.mark.blocks("a thread of the request", at_least=1.0, within=10)
def test_a_statement_of_a_thread_ends_with_the_budget_of_its_request(ask):
    with ThreadPoolExecutor(1) as pool:
        with activate(TimeoutContext.start("http", 1.5)):
            future = pool.submit(for_thread(ask), "SELECT pg_sleep(30)")
        with pytest.raises(DeadlineExceeded) as raised:
            future.result()
    assert (raised.value.layer, raised.value.limit) == ("http", 1.5)


def test_threads_share_one_connection_in_turn_and_their_statements_count(ask):
    with count_queries() as log, ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(for_thread(ask)) for _ in range(12)]
        assert [future.result() for future in futures] == [(1,)] * 12
    assert log.count == 12
    assert ask() == (1,)


def test_a_thread_that_fails_gives_its_connection_back_too(ask):
    def fail():
        ask()
        raise LookupError

    with ThreadPoolExecutor(1) as pool, pytest.raises(LookupError):
        pool.submit(for_thread(fail)).result()
    assert ask() == (1,)
