"""The internals of promise 2.3 that ``pcf._compat.promise`` uses."""

from collections import deque

import promise
from promise import Promise
from promise.dataloader import enqueue_post_promise_job
from promise.promise import async_instance

from pcf._compat.promise import (
    enqueue_after_jobs,
    in_scope,
    pop_next_methods,
    promise_scope,
    run_jobs,
)

CHANGED = "promise has changed: see pcf/_compat/promise.py"


class Counter:
    def __init__(self):
        self.calls = 0

    def count(self):
        self.calls += 1

    def other(self):
        """Another method."""


def test_the_version_is_one_that_the_module_was_written_for():
    assert promise.VERSION[:2] == (2, 3), CHANGED


def test_a_thread_has_one_job_queue_and_its_state():
    state = {"is_tick_used": bool, "have_drained_queues": bool, "trampoline_enabled": bool}
    assert type(async_instance.normal_queue) is deque, CHANGED
    for name, type_ in state.items():
        assert type(getattr(async_instance, name)) is type_, CHANGED


def test_a_job_waits_in_the_queue_of_a_scope_and_outside_of_it_runs_at_once():
    seen = []
    async_instance.invoke(lambda: seen.append("outside"), promise.get_default_scheduler())
    assert seen == ["outside"], CHANGED
    with promise_scope():
        async_instance.invoke(lambda: seen.append("inside"), None)
        assert seen == ["outside"], CHANGED
        assert run_jobs(lambda: len(seen) == 2), CHANGED
    assert not in_scope()


def test_a_settled_promise_is_an_item_of_the_queue():
    seen, resolvers = [], []
    with promise_scope():
        waiting = Promise(lambda resolve, _reject: resolvers.append(resolve)).then(seen.append)
        resolvers[0](1)
        (job,) = async_instance.normal_queue
        assert isinstance(job, Promise), CHANGED
        job._settle_promises()
        assert (seen, waiting.is_pending) == ([1], False), CHANGED


def test_get_resets_the_tick_and_the_scope_sets_it_again():
    with promise_scope():
        Promise.resolve(1).then(lambda value: value).get()
        assert not async_instance.is_tick_used, CHANGED
        async_instance.normal_queue.append(lambda: None)
        assert async_instance.is_tick_used


def test_dataloader_runs_a_dispatch_behind_the_jobs_that_wait():
    """In a scope ``enqueue_after_jobs`` has the same order, without a promise."""
    orders = []
    for enqueue in (lambda job: enqueue_post_promise_job(job, None), enqueue_after_jobs):
        order = []
        with promise_scope():
            Promise.resolve(1).then(lambda _, seen=order: seen.append("before"))
            enqueue(lambda seen=order: seen.append("dispatch"))
            Promise.resolve(1).then(lambda _, seen=order: seen.append("after"))
            assert not run_jobs(lambda: False)
        orders.append(order)
    assert orders == [["before", "after", "dispatch"]] * 2, CHANGED


def test_outside_of_a_scope_dataloaders_way_runs_the_job():
    counter = Counter()
    enqueue_after_jobs(counter.count)
    assert counter.calls == 1, CHANGED


def test_the_next_methods_leave_the_queue_up_to_another_job():
    first, second, third = Counter(), Counter(), Counter()
    assert pop_next_methods(Counter.count) == []
    with promise_scope():
        for job in (first.count, second.count, third.other, third.count):
            async_instance.invoke(job, None)
        assert pop_next_methods(Counter.count) == [first, second]
        assert pop_next_methods(Counter.count) == []
        assert not run_jobs(lambda: False)
    assert [counter.calls for counter in (first, second, third)] == [0, 0, 1]
