"""Work that is handed to threads: none is lost, and few threads do it where there is little."""

from contextlib import ExitStack
from threading import Thread, get_ident
from time import monotonic, sleep

import pytest

from pcf.http.jobs import Jobs


@pytest.fixture
def work():
    """``work(jobs, threads)``: has threads do jobs, which are functions, until they are closed."""
    with ExitStack() as stack:

        def begin(jobs, threads):
            def run():
                while (job := jobs.get()) is not None:
                    job()

            started = [Thread(target=run) for _ in range(threads)]
            for thread in started:
                thread.start()
                stack.callback(thread.join, 20)
            stack.callback(jobs.close)
            return started

        yield begin


def until(condition):
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline
        sleep(0.001)


def test_all_jobs_are_done_once_and_by_many_threads_where_there_are_many_jobs(work):
    jobs, done, by = Jobs(), [], set()

    def job(number):
        def run():
            sleep(0.001)
            done.append(number)
            by.add(get_ident())

        return run

    work(jobs, 4)
    for number in range(300):
        jobs.put(job(number))
    until(lambda: len(done) == 300)
    assert sorted(done) == list(range(300))
    assert len(by) == 4


def test_where_there_is_little_to_do_one_thread_does_it(work):
    jobs, by = Jobs(), []
    work(jobs, 4)
    until(lambda: len(jobs._idle) == 4)
    for number in range(1, 30):
        jobs.put(lambda: by.append(get_ident()))
        until(lambda number=number: len(by) == number and len(jobs._idle) == 4)
    assert len(set(by)) == 1


def test_the_first_that_came_is_the_first_that_is_done():
    jobs = Jobs()
    for number in (1, 2, 3):
        jobs.put(number)
    assert [jobs.get() for _ in range(3)] == [1, 2, 3]


def test_a_job_may_be_for_those_only_that_are_idle(work):
    jobs, done = Jobs(), []
    assert jobs.give(lambda: done.append(1)) is False
    work(jobs, 1)
    until(lambda: len(jobs._idle) == 1)
    assert jobs.give(lambda: done.append(2)) is True
    until(lambda: done)
    assert (done, len(jobs)) == ([2], 0)


def test_what_is_left_is_done_before_the_end(work):
    jobs, done = Jobs(), []
    for number in range(5):
        jobs.put(lambda number=number: done.append(number))
    jobs.close()
    for thread in work(jobs, 2):
        thread.join(20)
        assert not thread.is_alive()
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert jobs.get() is None


def test_idle_threads_are_told_of_the_end(work):
    jobs = Jobs()
    threads = work(jobs, 3)
    until(lambda: len(jobs._idle) == 3)
    jobs.close()
    jobs.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
