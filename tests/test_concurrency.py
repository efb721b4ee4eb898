"""Compute slots: how many threads of a pool compute at once, and which one is next."""

from collections import deque
from threading import Event, Lock, Thread, get_ident
from threading import enumerate as all_threads
from time import monotonic, sleep

import pytest

from pcf import concurrency
from pcf.concurrency import FORFEIT_AFTER, LEND_AFTER, ComputePool, slot_released

PATIENCE = 20.0  # seconds after which a test has failed


def until(condition):
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline
        sleep(0.001)


class Job:
    """A job that computes until ``go`` is set; if it ``waits``, it first waits for ``waited``."""

    def __init__(self, *, waits=False, log=None, name=None):
        self.begun, self.go, self.waited, self.done = Event(), Event(), Event(), Event()
        self.waiting, self.resumed = Event(), Event()
        self._waits, self._log, self._name = waits, log, name

    def __call__(self):
        self.begun.set()
        if self._waits:
            with slot_released():
                self.waiting.set()
                assert self.waited.wait(PATIENCE)
            self.resumed.set()
        if self._log is not None:
            self._log.append(self._name)
        assert self.go.wait(PATIENCE)
        self.done.set()

    def release(self):
        self.waited.set()
        self.go.set()


@pytest.fixture
def clock(monkeypatch):
    """The time that the pool reads."""
    now = [1_000.0]
    monkeypatch.setattr(concurrency, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def make():
    """``make(threads, slots, max_queued=100)`` returns a pool, and a function that submits jobs."""
    before, pools, jobs = set(all_threads()), [], []

    def begin(threads, slots, max_queued=100):
        pool = ComputePool(threads, slots, max_queued=max_queued)
        pools.append(pool)
        until(lambda: len(pool._idle) == threads)

        def submit(**how):
            jobs.append(Job(**how))
            jobs[-1].pool = pool
            assert pool.submit(jobs[-1])
            return jobs[-1]

        return pool, submit

    yield begin
    for job in jobs:
        job.release()
    for pool in pools:
        pool.close()
    for thread in set(all_threads()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def has_begun(job):
    """Wait until ``job`` has begun, and reassign slots meanwhile as the event loop does."""
    until(lambda: job.pool.reassign_slots() or job.begun.is_set())
    return True


def test_as_many_jobs_begin_as_there_are_slots(make):
    pool, submit = make(4, 2)
    first, second, third = submit(), submit(), submit()
    assert has_begun(first)
    assert has_begun(second)
    assert (pool.queued, third.begun.is_set()) == (1, False)
    second.release()
    assert has_begun(third)
    assert pool.queued == 0


def test_threads_that_wait_often_never_compute_in_more_slots_than_there_are(make):
    pool, _ = make(8, 2, max_queued=1_000)
    lock, state, done = Lock(), {"computing": 0, "most": 0}, []

    def compute_a_little():
        with lock:
            state["computing"] += 1
            state["most"] = max(state["most"], state["computing"])
        sleep(0)
        with lock:
            state["computing"] -= 1

    def job():
        for _ in range(5):
            compute_a_little()
            with slot_released():
                sleep(0)
        compute_a_little()
        done.append(1)

    for _ in range(300):
        assert pool.submit(job)
    until(lambda: len(done) == 300)
    assert state["most"] <= 2
    until(lambda: len(pool._idle) == 8)
    assert (pool._free_slots, pool.queued) == (2, 0)


def test_a_short_wait_keeps_the_slot(make, clock):
    pool, submit = make(2, 1)
    waiter = submit(waits=True)
    assert waiter.waiting.wait(PATIENCE)
    clock[0] += LEND_AFTER * 0.9
    other = submit()
    pool.reassign_slots()
    assert not other.begun.is_set()
    waiter.release()
    assert waiter.done.wait(PATIENCE)
    assert has_begun(other)


def test_a_long_wait_lends_the_slot(make):
    _, submit = make(2, 1)
    waiter = submit(waits=True)
    assert waiter.waiting.wait(PATIENCE)
    other = submit()
    assert has_begun(other)
    waiter.waited.set()
    other.release()
    assert waiter.resumed.wait(PATIENCE)


def test_a_thread_after_a_wait_has_precedence_over_a_new_job(make):
    pool, submit = make(3, 1)
    order = []
    waiter = submit(waits=True, log=order, name="waited")
    assert waiter.waiting.wait(PATIENCE)
    other = submit()
    assert has_begun(other)
    late = submit(log=order, name="new")
    waiter.waited.set()
    until(lambda: pool._resuming)
    assert not waiter.resumed.is_set()
    waiter.go.set()
    late.go.set()
    other.release()
    assert late.done.wait(PATIENCE)
    assert order == ["waited", "new"]


def test_the_line_of_resuming_threads_is_read_with_the_lock_held(make):
    """Without the lock another thread empties the line between two looks at it."""

    class Line(deque):
        reads = 0

        def __getitem__(self, index):
            assert pool._lock.locked()
            self.reads += 1
            return super().__getitem__(index)

    pool, submit = make(2, 1)
    pool._resuming = line = Line()
    waiter = submit(waits=True)
    assert waiter.waiting.wait(PATIENCE)
    computing = submit()
    assert has_begun(computing)
    waiter.waited.set()
    until(lambda: line.reads > 3)
    computing.release()
    assert waiter.resumed.wait(PATIENCE)


def test_nested_waits_lend_one_slot(make):
    pool, submit = make(3, 1)
    inner, done = Event(), Event()

    def nested():
        with slot_released(), slot_released():
            inner.set()
            assert done.wait(PATIENCE)

    assert pool.submit(nested)
    assert inner.wait(PATIENCE)
    first, second = submit(), submit()
    assert has_begun(first)
    assert (pool.queued, second.begun.is_set()) == (1, False)
    done.set()


def test_threads_outside_of_a_pool_need_no_slot(make):
    _, submit = make(1, 1)
    assert has_begun(submit())
    passed = []
    with slot_released():
        passed.append("test")

    def other():
        with slot_released():
            passed.append("thread")

    thread = Thread(target=other)
    thread.start()
    thread.join(PATIENCE)
    assert passed == ["test", "thread"]


def test_an_overdue_slot_goes_to_the_next_job_and_is_returned_once(make, clock):
    pool, submit = make(3, 1)
    stubborn, late = submit(), submit()
    assert has_begun(stubborn)
    clock[0] += FORFEIT_AFTER / 2
    pool.reassign_slots()
    assert pool.queued == 1
    clock[0] += FORFEIT_AFTER
    pool.reassign_slots()
    assert has_begun(late)
    pool.reassign_slots()
    third = submit()
    assert pool.queued == 1, "the pool replaced one slot"
    stubborn.release()
    until(lambda: len(pool._idle) == 2)
    assert (pool.queued, third.begun.is_set()) == (1, False), "a forfeited slot is not returned"
    late.release()
    assert has_begun(third)
    third.release()
    until(lambda: len(pool._idle) == 3)
    assert pool._free_slots == 1


def test_an_overdue_slot_goes_to_a_thread_after_a_wait(make, clock):
    pool, submit = make(2, 1)
    waiter = submit(waits=True)
    assert waiter.waiting.wait(PATIENCE)
    clock[0] += LEND_AFTER
    stubborn = submit()
    assert has_begun(stubborn)
    waiter.waited.set()
    until(lambda: pool._resuming)
    clock[0] += 2 * FORFEIT_AFTER
    pool.reassign_slots()
    assert waiter.resumed.wait(PATIENCE)


def test_a_slot_is_forfeited_only_where_another_thread_wants_one(make, clock):
    pool, submit = make(2, 1)
    assert has_begun(submit())
    clock[0] += 2 * FORFEIT_AFTER
    pool.reassign_slots()
    assert (pool._free_slots, submit().begun.is_set(), pool.queued) == (0, False, 1)


def test_a_thread_without_its_forfeited_slot_needs_another_after_a_wait(make, clock):
    pool, submit = make(3, 1)
    begun, wait, waited, resumed = (Event() for _ in range(4))

    def stubborn():
        begun.set()
        assert wait.wait(PATIENCE)
        with slot_released():
            waited.set()
        resumed.set()

    assert pool.submit(stubborn)
    assert begun.wait(PATIENCE)
    other = submit()
    clock[0] += 2 * FORFEIT_AFTER
    pool.reassign_slots()
    assert has_begun(other)
    wait.set()
    assert waited.wait(PATIENCE)
    until(lambda: pool._resuming)
    assert not resumed.is_set()
    other.release()
    assert resumed.wait(PATIENCE)
    until(lambda: len(pool._idle) == 3)
    assert pool._free_slots == 1


def test_an_overdue_thread_takes_the_next_job_when_it_becomes_idle(make, clock):
    """The pool replaced the slot while no thread was idle."""
    pool, submit = make(1, 1)
    stubborn, late = submit(), submit()
    assert has_begun(stubborn)
    clock[0] += 2 * FORFEIT_AFTER
    pool.reassign_slots()
    stubborn.release()
    assert has_begun(late)
    late.release()
    until(lambda: len(pool._idle) == 1)
    assert pool._free_slots == 1


def test_the_queue_is_bounded(make):
    pool, submit = make(1, 1, max_queued=2)
    running = submit()
    assert has_begun(running)
    for _ in range(2):
        submit()
    assert pool.submit(Job()) is False
    assert pool.queued == 2
    running.release()
    until(lambda: pool.queued == 1)
    submit()


def test_jobs_begin_in_the_order_of_their_submission(make):
    _, submit = make(2, 1)
    order = []
    jobs = [submit(log=order, name=number) for number in range(6)]
    for job in jobs:
        job.release()
    assert jobs[-1].done.wait(PATIENCE)
    assert order == list(range(6))


def test_single_jobs_go_to_the_same_thread(make):
    pool, _ = make(4, 2)
    by = []
    for number in range(1, 30):
        assert pool.submit(lambda: by.append(get_ident()))
        until(lambda number=number: len(by) == number and len(pool._idle) == 4)
    assert len(set(by)) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_failed_job_is_logged_and_keeps_its_thread_and_slot(make, caplog, error):
    pool, submit = make(1, 1)

    def fail():
        raise error

    assert pool.submit(fail)
    job = submit()
    assert has_begun(job)
    job.release()
    until(lambda: len(pool._idle) == 1)
    assert pool._free_slots == 1
    assert error.__name__ in caplog.text


def test_close_ends_idle_threads_now_and_the_others_after_their_jobs(make):
    before = set(all_threads())
    pool, submit = make(3, 3)
    running = submit()
    assert has_begun(running)
    own = set(all_threads()) - before
    pool.close()
    until(lambda: sum(thread.is_alive() for thread in own) == 1)
    running.release()
    until(lambda: not any(thread.is_alive() for thread in own))
    assert running.done.is_set()


def test_a_thread_after_a_wait_gets_a_slot_after_close(make):
    pool, submit = make(2, 1)
    waiter = submit(waits=True)
    assert waiter.waiting.wait(PATIENCE)
    other = submit()
    assert has_begun(other)
    dropped = submit()
    waiter.waited.set()
    until(lambda: pool._resuming)
    pool.close()
    other.release()
    assert waiter.resumed.wait(PATIENCE)
    assert (pool.queued, dropped.begun.is_set()) == (0, False)
