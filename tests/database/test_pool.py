"""The pool: bounded waits, working connections, recovery, and metrics."""

import threading

import psycopg_pool
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, transaction

from pcf.errors import DatabaseUnavailable, TooManyWaiting
from pcf.observability import metrics
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate
from tests.database.conftest import value_of


def under(seconds):
    return activate(TimeoutContext.start("http", seconds))


@pytest.fixture
def second(make_wrapper):
    """Another thread's wrapper of the same alias: the same pool."""

    def make(wrapper):
        return type(wrapper)(wrapper.settings_dict, alias=wrapper.alias)

    return make


@pytest.mark.blocks("waiting for a connection", at_least=0.2, within=5)
def test_waiting_for_a_connection_ends_with_the_deadline(make_wrapper, second, one, configure):
    wrapper = make_wrapper(pool={"min_size": 1, "max_size": 1, "timeout": 86_400})
    configure("timeouts", min_database_budget=0.1)
    one(wrapper, "SELECT 1")
    with under(0.3), pytest.raises(DeadlineExceeded) as raised:
        one(second(wrapper), "SELECT 1")
    assert raised.value.layer == "http"


def test_waiting_ends_with_the_pools_own_timeout(make_wrapper, second, one):
    wrapper = make_wrapper(pool={"min_size": 1, "max_size": 1, "timeout": 0.2})
    one(wrapper, "SELECT 1")
    with under(30), pytest.raises(DatabaseUnavailable) as raised:
        one(second(wrapper), "SELECT 1")
    assert raised.value.extensions == {"code": "SERVICE_UNAVAILABLE"}
    with pytest.raises(OperationalError) as plain:
        one(second(wrapper), "SELECT 1")
    assert isinstance(plain.value.__cause__, psycopg_pool.PoolTimeout)


@pytest.mark.blocks("connecting", at_least=0.3, within=5)
def test_connecting_to_a_silent_server_ends_with_the_deadline(proxied, proxy, one, configure):
    configure("timeouts", min_database_budget=0.1)
    proxy.freeze()
    with under(0.4), pytest.raises(DeadlineExceeded) as raised:
        one(proxied, "SELECT 1")
    assert raised.value.layer == "http"
    proxy.flowing.set()
    with under(30):
        assert one(proxied, "SELECT 1") == (1,)


def test_too_many_waiting_are_refused_at_once(make_wrapper, second, one):
    wrapper = make_wrapper(pool={"min_size": 1, "max_size": 1, "timeout": 30, "max_waiting": 1})
    one(wrapper, "SELECT 1")
    answers = []

    def wait():
        mine = second(wrapper)
        with under(30):
            answers.append(one(mine, "SELECT 1"))
        mine.close()

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not wrapper.pool.get_stats()["requests_waiting"]:
        pass
    with under(30), pytest.raises(TooManyWaiting):
        one(second(wrapper), "SELECT 1")
    wrapper.close()
    waiting.join()
    assert answers == [(1,)]


def test_connections_that_broke_in_the_pool_are_not_handed_out(make_wrapper, second, one, other):
    wrapper = make_wrapper(pool={"min_size": 3, "max_size": 3})
    wrapper.pool.open(wait=True)
    wrappers = [second(wrapper) for _ in range(3)]
    pids = {one(each, "SELECT pg_backend_pid()")[0] for each in wrappers}
    for each in wrappers:
        each.close()
    for pid in pids:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with under(30):
        assert one(wrapper, "SELECT pg_backend_pid()")[0] not in pids
        assert wrapper.pool.get_stats()["connections_lost"] == 2


def test_a_connection_idle_for_long_is_checked(proxied, proxy, one):
    with under(30):
        one(proxied, "SELECT 1")
        connection = proxied.connection
        proxied.close()
        connection.last_used -= 60
        before = proxy.round_trips
        one(proxied, "SELECT 1")
    assert proxy.round_trips - before == 2


@pytest.mark.blocks("checking a connection", at_least=0.1, within=5)
def test_frozen_idle_connections_are_replaced(make_wrapper, second, proxy, one, monkeypatch):
    monkeypatch.setattr("pcf.database.pool.CHECK_LIMIT", 0.1)
    monkeypatch.setattr("pcf.database.connection.TRANSACTION_CONTROL", 0.1)
    address = {"HOST": "127.0.0.1", "PORT": proxy.port}
    wrapper = make_wrapper(pool={"min_size": 2, "max_size": 2}, **address)
    another = second(wrapper)
    with under(30):
        one(wrapper, "SELECT 1")
        one(another, "SELECT 1")
        old = [wrapper.connection, another.connection]
        wrapper.close()
        another.close()
        old[0].last_used -= 60  # the pool checks it, and the server does not answer
        proxy.freeze()
        thaw = threading.Timer(0.3, proxy.flowing.set)
        thaw.start()
        assert one(wrapper, "SELECT 1") == (1,)
        assert wrapper.connection not in old
        thaw.join()
    assert all(connection.closed for connection in old)


def test_the_pool_waits_for_a_server_that_is_away(proxied, proxy, one):
    proxy.refusing = True
    threading.Timer(0.4, setattr, (proxy, "refusing", False)).start()
    with under(30):
        assert one(proxied, "SELECT 1") == (1,)


def test_the_gauge_follows_the_connections_in_use(wrapper, one):
    gauge = metrics.db_pool.labels(wrapper.alias, "in_use")
    before = value_of(gauge)
    one(wrapper, "SELECT 1")
    assert value_of(gauge) == before + 1
    wrapper.close()
    assert value_of(gauge) == before


def test_new_connections_have_the_limit_before_their_first_statement(wrapper):
    wrapper.pool.open(wait=True)
    with wrapper.pool.connection() as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("20s",)


def test_works_without_a_pool(make_wrapper, one):
    wrapper = make_wrapper(pool=False, options={"isolation_level": 4})
    with under(5), transaction.atomic(using=wrapper.alias):
        assert one(wrapper, "SHOW transaction_isolation") == ("serializable",)
        assert one(wrapper, "SELECT 1") == (1,)
    assert wrapper.pool is None


def test_settings_that_cannot_work_are_refused(make_wrapper):
    with pytest.raises(ImproperlyConfigured, match="server_side_binding"):
        make_wrapper(options={"server_side_binding": True}).get_connection_params()
    wrapper = make_wrapper(CONN_MAX_AGE=60)
    with pytest.raises(ImproperlyConfigured, match="CONN_MAX_AGE"):
        wrapper.connect()
