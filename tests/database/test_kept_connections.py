"""Connections that a request thread keeps for its next request."""

from threading import Event
from time import monotonic, sleep

import pytest
from django.core import signals
from django.db import close_old_connections, connections, transaction

from pcf import concurrency
from pcf.concurrency import ComputePool
from pcf.database import pool as pools
from pcf.database.pool import check_kept_connections, release_connections
from pcf.timeouts import TimeoutContext, activate

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 20.0  # seconds after which a test has failed


@pytest.fixture
def in_thread(monkeypatch):
    """``in_thread(job)`` returns what ``job`` returns in the one thread of a pool."""
    monkeypatch.setattr(concurrency, "IDLE_AFTER", PATIENCE)
    pool = ComputePool(1, 1, max_queued=1, on_idle=connections.close_all)

    def run(job):
        done, results = Event(), []

        def call():
            try:
                results.append(job())
            finally:
                done.set()

        assert pool.submit(call)
        assert done.wait(PATIENCE)
        return results[0]

    yield run
    pool.close()


def backend():
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def request():
    """Do the work of a request; return the backend and the connection that the thread keeps."""
    check_kept_connections()
    found = backend()
    release_connections()
    return found, connections["default"].connection


def test_a_thread_uses_its_connection_again(in_thread):
    first, second = in_thread(request), in_thread(request)
    assert first == second
    assert first[1] is not None


def test_a_kept_connection_that_broke_is_replaced(in_thread):
    pid, connection = in_thread(request)
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert cursor.fetchone() == (True,)
    other, kept = in_thread(request)
    assert other != pid
    assert kept is not connection
    assert connection.closed


def leave_a_transaction_open():
    connections["default"].set_autocommit(False)
    backend()


def fail():
    wrapper = connections["default"]
    backend()
    wrapper.errors_occurred = True
    wrapper.connection.close()  # what caused the error


def open_on_the_session():
    backend()
    connections["default"].connection.execute("BEGIN")


@pytest.mark.parametrize("spoil", [leave_a_transaction_open, fail, open_on_the_session])
def test_an_unsound_connection_is_given_back(in_thread, spoil):
    def spoiled_request():
        spoil()
        release_connections()
        return connections["default"].connection

    assert in_thread(spoiled_request) is None
    assert in_thread(request)[1] is not None


def test_a_connection_goes_back_some_time_after_its_checkout(in_thread, monkeypatch):
    assert in_thread(request)[1] is not None
    monkeypatch.setattr(pools, "MAX_KEPT", 0.0)
    assert in_thread(request)[1] is None


def test_a_page_of_django_begins_with_a_connection_of_the_pool(in_thread):
    assert in_thread(request)[1] is not None

    def begin():
        signals.request_started.send(sender=None)
        return connections["default"].connection

    assert in_thread(begin) is None


def test_a_thread_without_a_pool_keeps_nothing():
    assert request()[1] is None


def test_an_idle_thread_gives_its_connection_back(monkeypatch):
    monkeypatch.setattr(concurrency, "IDLE_AFTER", 0.01)
    pool, wrappers = ComputePool(1, 1, max_queued=1, on_idle=close_old_connections), []

    def job():
        request()
        wrappers.append(connections["default"])

    try:
        assert pool.submit(job)
        until(lambda: wrappers and wrappers[0].connection is None)
    finally:
        pool.close()


def test_a_thread_gives_its_connection_back_at_its_end(monkeypatch):
    monkeypatch.setattr(concurrency, "IDLE_AFTER", PATIENCE)
    pool, wrappers = ComputePool(1, 1, max_queued=1, on_idle=close_old_connections), []
    go = Event()

    def job():
        request()
        wrappers.append(connections["default"])
        assert go.wait(PATIENCE)

    assert pool.submit(job)
    until(lambda: bool(wrappers))
    pool.close()  # while the thread is busy
    go.set()
    until(lambda: wrappers[0].connection is None)


def test_mutations_work_on_a_kept_connection(in_thread):
    def write():
        check_kept_connections()
        with transaction.atomic():
            found = backend()
        release_connections()
        return found, connections["default"].connection

    assert in_thread(write) == in_thread(write) == in_thread(request)


@pytest.mark.blocks("checking a kept connection", at_least=0.2, within=5)
def test_a_silent_server_is_asked_until_the_deadline(proxied, proxy, one, monkeypatch):
    monkeypatch.setattr(pools, "CHECK_LIMIT", 3 * PATIENCE)
    one(proxied, "SELECT 1")
    own, connections["default"] = connections["default"], proxied
    try:
        proxied.connection.last_used = 0.0
        proxy.freeze()
        with activate(TimeoutContext.start("http", 0.3)):
            check_kept_connections()
        assert proxied.connection is None
    finally:
        connections["default"] = own


def until(condition):
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline
        sleep(0.001)
