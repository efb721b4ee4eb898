"""Greenlets beside each other: their order, their errors, and what they share with threads."""

import asyncio
import socket
from contextlib import contextmanager
from threading import get_ident
from time import monotonic

import pytest
import uvloop
from django.db import connections

from pcf.database import replicas
from pcf.database.connection import _session_hooks as hooks
from pcf.database.connection import add_session_hook
from pcf.greenlets import READ, GreenletPool, in_thread, pause, wait_for_socket
from tests.database.conftest import make_wrapper, unblocked

__all__ = ["make_wrapper", "unblocked"]

PATIENCE = 20.0  # seconds after which a test has failed


class Pool:
    """A pool of greenlets on a running loop."""

    def __init__(self, workers):
        self.loop = asyncio.get_running_loop()
        self.ended = []
        self._pool = GreenletPool(
            self.loop, workers, max_queued=100, on_idle=lambda: connections.close_all()
        )
        self._sockets = []

    def submit(self, name, job=lambda: None, finish=lambda: None):
        """Run a job; note its name at its end, then call ``finish``."""

        def end(outcome):
            self.ended.append((name, outcome))
            finish()

        def run():
            try:
                outcome = job()
            except Exception as error:  # noqa: BLE001 - the test looks at it
                outcome = error
            return lambda: end(outcome)

        assert self._pool.submit(run)

    def signal(self):
        """Return a job that waits, and the function that ends its wait."""
        own, others = socket.socketpair()
        self._sockets += [own, others]
        return lambda: wait_for_socket(own.fileno(), READ, PATIENCE), lambda: others.send(b"x")

    async def all(self, number):
        """Return what the first jobs have returned."""
        end = monotonic() + PATIENCE
        while len(self.ended) < number:
            assert monotonic() < end
            await asyncio.sleep(0.001)
        return self.ended

    def close(self):
        self._pool.close()
        for each in self._sockets:
            each.close()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """``run(test, workers)`` runs ``await test(pool)`` on a loop of each kind."""

    def begin(test, workers):
        async def bounded():
            pool = Pool(workers)
            try:
                async with asyncio.timeout(PATIENCE):
                    await test(pool)
            finally:
                pool.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return begin


def test_a_job_that_comes_at_the_end_of_another_does_not_overtake(run):
    async def test(pool):
        wait, end = pool.signal()
        pool.submit("first", wait, finish=lambda: pool.submit("last"))
        pool.submit("queued")
        end()
        assert [name for name, _ in await pool.all(3)] == ["first", "queued", "last"]

    run(test, 1)


def test_an_error_at_the_end_of_a_job_keeps_no_other_from_its_end(run, caplog):
    async def test(pool):
        (wait, end), (wait_too, end_too) = pool.signal(), pool.signal()
        pool.submit("fails", wait, finish=lambda: 1 / 0)
        pool.submit("other", wait_too)
        end()
        end_too()  # the loop sees both at once
        async with asyncio.timeout(2):
            await pool.all(2)
        pool.submit("third")
        pool.submit("fourth")
        await pool.all(4)

    run(test, 2)
    assert [each.message for each in caplog.records] == ["unexpected error behind a greenlet"]


def test_a_thread_of_a_greenlet_has_the_connections_of_the_greenlet(run, transactional_db):
    def backend():
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return cursor.fetchone()[0], get_ident()

    async def test(pool):
        def job():
            found = [in_thread(backend), backend(), in_thread(backend)]
            connections["default"].close()
            return found

        pool.submit(1, job)
        pool.submit(2, job)
        sessions = []
        for _, outcome in await pool.all(2):
            (pid, thread), *others = outcome
            assert [each for each, _ in others] == [pid, pid]
            assert thread != get_ident()
            assert others[0][1] == get_ident()
            sessions.append(pid)
        assert len(set(sessions)) == 2

    run(test, 2)


@contextmanager
def hook(function):
    """Call ``function`` for each new session in the block."""
    add_session_hook(function)
    try:
        yield
    finally:
        hooks.remove(function)


def test_a_hook_of_sessions_does_not_run_on_the_event_loop(run, transactional_db, make_wrapper):
    """Hooks hold a lock while they wait: a second greenlet would stop the loop for ever."""
    wrapper = make_wrapper(pool={})
    threads = []

    async def test(pool):
        def job():
            own = type(wrapper)(wrapper.settings_dict, alias=wrapper.alias)
            own.ensure_connection()
            own.close()

        pool.submit(1, job)
        assert await pool.all(1) == [(1, None)]

    with hook(lambda alias, _: threads.append((alias, get_ident()))):
        run(test, 1)
    (thread,) = [thread for alias, thread in threads if alias == wrapper.alias]
    assert thread != get_ident()


def test_greenlets_that_ask_for_the_position_of_the_primary_do_not_stop_the_loop(
    run, transactional_db, monkeypatch
):
    """One of them waits for PostgreSQL while it holds the lock of the probe."""
    read = replicas.PositionProbe.read

    def slow(probe):
        pause(0.3)
        return read(probe)

    monkeypatch.setattr(replicas.PositionProbe, "read", slow)

    async def test(pool):
        for number in range(2):
            pool.submit(number, replicas.primary_position)
        began = monotonic()
        await asyncio.sleep(0.01)
        assert monotonic() - began < 0.2
        for _, position in await pool.all(2):
            assert position > 0
        replicas._primary_probe()._probe.close()

    run(test, 2)
