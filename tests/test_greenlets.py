"""Greenlets: jobs of one event loop that wait beside each other and share nothing."""

import asyncio
import os
import select
import socket
from contextvars import ContextVar
from threading import get_ident

import pytest
import uvloop
from django.db import connections
from hypothesis import given, settings
from hypothesis import strategies as st
from promise import Promise
from promise.promise import async_instance

from pcf import greenlets
from pcf._compat.promise import in_scope, promise_scope
from pcf.concurrency import IDLE_AFTER
from pcf.greenlets import (
    READ,
    WRITE,
    TaskLocal,
    frame_reader,
    in_greenlet,
    in_thread,
    pause,
    wait_for_socket,
)
from tests.greenlet_jobs import PATIENCE, Jobs, here, receive, run

__all__ = ["run"]

value: ContextVar[object] = ContextVar("value", default=None)


def test_jobs_wait_beside_each_other(run):
    async def test(jobs):
        (first, to_first), (second, to_second) = jobs.pair(), jobs.pair()
        jobs.submit("first", lambda: receive(first))
        jobs.submit("second", lambda: receive(second))
        to_second.send(b"2")
        assert await jobs.all(1) == [("second", b"2")]
        to_first.send(b"1")
        assert await jobs.all(2) == [("second", b"2"), ("first", b"1")]

    run(test)


def test_a_wait_ends_after_its_seconds_and_the_socket_can_be_waited_for_again(run):
    async def test(jobs):
        own, other = jobs.pair()

        def job():
            assert wait_for_socket(own.fileno(), READ, 0.01) == 0
            assert wait_for_socket(own.fileno(), READ, -1) == 0
            other.send(b"x")
            return receive(own)

        jobs.submit("job", job)
        assert await jobs.all(1) == [("job", b"x")]

    run(test)


def test_a_socket_that_has_no_room_becomes_ready_for_writing(run):
    async def test(jobs):
        own, other = jobs.pair()
        while True:
            try:
                own.send(b"x" * 65_536)
            except BlockingIOError:
                break

        def job():
            assert wait_for_socket(own.fileno(), WRITE, 0.01) == 0
            return wait_for_socket(own.fileno(), READ | WRITE, PATIENCE)

        jobs.submit("job", job)
        await asyncio.sleep(0.05)
        assert jobs.ended == []
        for _ in range(1_000):
            try:
                other.recv(1 << 20)
            except BlockingIOError:
                break
        assert await jobs.all(1) == [("job", WRITE)]

    run(test)


def test_the_end_of_a_stream_is_ready_for_reading(run):
    async def test(jobs):
        own, other = jobs.pair()
        jobs.submit("job", lambda: receive(own))
        other.close()
        assert await jobs.all(1) == [("job", b"")]

    run(test)


def test_another_socket_with_the_number_of_a_closed_one_is_waited_for(run):
    """A duplicate keeps the closed socket in the epoll object."""

    async def test(jobs):
        own, other = jobs.pair()
        number = own.fileno()

        def job():
            assert wait_for_socket(number, READ, 0.01) == 0
            duplicate = os.dup(number)
            own.close()
            again, to_again = socket.socketpair()
            jobs.sockets += [again, to_again]
            assert again.fileno() == number
            other.send(b"x")  # to the old one
            to_again.send(b"y")
            found = receive(again)
            os.close(duplicate)
            return found

        jobs.submit("job", job)
        assert await jobs.all(1) == [("job", b"y")]

    run(test)


def test_a_job_has_its_own_context_variables_connections_and_promise_jobs(run):
    async def test(jobs):
        value.set("of the loop")
        outside = dict(vars(async_instance))
        pairs = [jobs.pair() for _ in range(2)]
        seen = {}

        def job(number):
            value.set(number)
            own = connections["default"]
            with promise_scope():
                settled = []
                promise = Promise.resolve(number).then(settled.append)
                queue = async_instance.normal_queue
                receive(pairs[number][0])
                assert in_scope()
                assert async_instance.normal_queue is queue
                assert promise.is_pending
                assert settled == []
            assert connections["default"] is own
            assert value.get() == number
            seen[number] = id(own), id(queue)
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()

        for number in range(2):
            jobs.submit(number, lambda number=number: job(number))
        assert value.get() == "of the loop"
        assert not in_scope()
        assert asyncio.get_running_loop() is jobs.loop
        for _, other in reversed(pairs):
            other.send(b"x")
        assert await jobs.all(2) == [(1, None), (0, None)]
        assert len({*seen[0], *seen[1]}) == 4
        assert dict(vars(async_instance)) == outside
        assert id(connections["default"]) not in (seen[0][0], seen[1][0])

    run(test)


def test_a_greenlet_keeps_its_connections_for_its_next_job(run):
    async def test(jobs):
        for number in range(2):
            jobs.submit(number, lambda: id(connections["default"]))
        (_, first), (_, second) = await jobs.all(2)
        assert first == second

    run(test, count=2)


def test_a_task_local_is_of_a_greenlet_or_of_a_thread(run):
    async def test(jobs):
        local: TaskLocal[str] = TaskLocal()
        local.set("thread")
        pairs = [jobs.pair() for _ in range(2)]

        def job(number):
            before = local.get()
            local.set(str(number))
            receive(pairs[number][0])
            return before, local.get()

        for number in range(2):
            jobs.submit(number, lambda number=number: job(number))
        for _, other in pairs:
            other.send(b"x")
        assert dict(await jobs.all(2)) == {0: (None, "0"), 1: (None, "1")}
        assert local.get() == "thread"

    run(test)


def test_a_function_in_a_thread_has_the_context_and_the_loop_continues(run):
    async def test(jobs):
        own, other = jobs.pair()

        def blocks():
            with pytest.raises(RuntimeError, match="outside of a greenlet"):
                wait_for_socket(own.fileno(), READ, None)
            select.select([own], [], [], PATIENCE)
            return value.get(), here()

        def job():
            value.set("of the job")
            return in_thread(blocks)

        jobs.submit("job", job)
        jobs.submit("other", lambda: "other")
        assert await jobs.all(1) == [("other", "other")]
        other.send(b"x")
        (name, (seen, thread)) = (await jobs.all(2))[1]
        assert (name, seen) == ("job", "of the job")
        assert isinstance(thread, int)
        assert thread != get_ident()

    run(test)


def test_the_error_of_a_function_in_a_thread_is_that_of_the_call(run):
    async def test(jobs):
        jobs.submit("job", lambda: in_thread(int, "x"))
        ((_, error),) = await jobs.all(1)
        assert isinstance(error, ValueError)

    run(test)


def test_in_a_thread_the_functions_do_what_a_thread_does():
    assert not in_greenlet()
    assert in_thread(get_ident) == get_ident()
    pause(0)
    assert frame_reader()().f_code.co_name == "<lambda>"


def test_a_job_that_pauses_lets_others_run(run):
    async def test(jobs):
        jobs.submit("pauses", lambda: pause(0.02))
        jobs.submit("other", lambda: None)
        assert [name for name, _ in await jobs.all(2)] == ["other", "pauses"]

    run(test)


def test_the_place_of_a_waiting_job_is_known(run):
    async def test(jobs):
        own, other = jobs.pair()
        frames = []

        def job():
            frames.append(frame_reader())
            receive(own)

        jobs.submit("job", job)
        frame, names = frames[0](), []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        assert "receive" in names
        other.send(b"x")
        await jobs.all(1)

    run(test)


def test_jobs_beyond_the_greenlets_wait_in_order_and_beyond_the_queue_are_refused(run):
    async def test(jobs):
        own, other = jobs.pair()
        assert jobs.submit(0, lambda: receive(own))
        assert jobs.submit(1, lambda: None)
        assert jobs.submit(2, lambda: None)
        assert not jobs.submit(3, lambda: None)
        assert jobs.pool.queued == 2
        other.send(b"x")
        assert [name for name, _ in await jobs.all(3)] == [0, 1, 2]

    run(test, count=1, max_queued=2)


def test_jobs_behind_a_stuck_one_are_passed_on(run, monkeypatch):
    async def test(jobs):
        own, other = jobs.pair()
        taken = []
        jobs.submit(0, lambda: receive(own))
        jobs.submit(1, lambda: None)
        jobs.pool.move_stuck(lambda job: taken.append(job) or True)
        assert taken == []  # the job has just begun
        monkeypatch.setattr(greenlets, "STUCK_AFTER", -1.0)
        jobs.pool.move_stuck(lambda job: taken.append(job) or False)
        assert (len(taken), jobs.pool.queued) == (1, 1)  # it was not taken
        jobs.pool.move_stuck(lambda job: taken.append(job) or True)
        assert (len(taken), jobs.pool.queued) == (2, 0)
        other.send(b"x")
        await jobs.all(1)
        jobs.submit(2, lambda: None)
        jobs.pool.move_stuck(lambda _: pytest.fail("no job is queued"))
        await jobs.all(2)

    run(test, count=1)


def test_an_idle_greenlet_gives_back_what_it_keeps(run):
    seen = []

    async def test(jobs):
        seen.append(jobs.tidied)
        jobs.submit("job", lambda: None)
        await jobs.until(lambda: jobs.tidied.count("greenlet") == 1)
        await asyncio.sleep(2 * IDLE_AFTER)
        assert jobs.tidied.count("greenlet") == 1  # the thread of the pool calls it, too
        jobs.submit("job", lambda: None)

    run(test, count=1)
    assert seen[0].count("greenlet") == 2  # the pool was closed


def test_an_error_of_the_idle_call_is_logged_and_the_greenlet_goes_on(run, caplog):
    async def test(jobs):
        def fail():
            raise SystemExit

        jobs.pool._on_idle = fail
        jobs.submit("job", lambda: None)
        await jobs.until(lambda: caplog.records)
        assert caplog.records[0].message == "a greenlet could not give back what it keeps"
        jobs.submit("next", lambda: "next")
        assert await jobs.all(2) == [("job", None), ("next", "next")]

    run(test, count=1)


steps = st.lists(st.sampled_from(["wait", "thread", "pause", "compute"]), max_size=6)


@settings(deadline=None, max_examples=30)
@given(st.lists(steps, min_size=1, max_size=8), st.integers(1, 4))
def test_random_jobs_share_nothing(scripts, count):
    """Each job sees its own variables after each step, whatever the others do meanwhile."""

    async def test():
        jobs = Jobs(count, max_queued=100)
        local: TaskLocal[int] = TaskLocal()

        def job(number, script):
            value.set(number)
            local.set(number)
            own, other = jobs.pair()
            connection = connections["default"]
            with promise_scope():
                queue = async_instance.normal_queue
                for step in script:
                    if step == "wait":
                        other.send(b"x")
                        receive(own)
                    elif step == "thread":
                        assert in_thread(value.get) == number
                    elif step == "pause":
                        pause(0)
                    assert (value.get(), local.get()) == (number, number)
                    assert async_instance.normal_queue is queue
                    assert connections["default"] is connection
            return number

        for number, script in enumerate(scripts):
            jobs.submit(number, lambda number=number, script=script: job(number, script))
        assert sorted(await jobs.all(len(scripts))) == [(n, n) for n in range(len(scripts))]
        jobs.pool.close()
        for each in jobs.sockets:
            each.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
