"""A promise scope lets errors through, keeps batches together, and leaves no job behind."""

import gc
import weakref
from threading import Thread

import pytest
from promise import Promise
from promise.dataloader import DataLoader
from promise.promise import async_instance

from pcf.execution.promises import in_scope, is_promise, promise_scope, run, run_jobs


class Interruption(BaseException):
    """A BaseException that is no Exception, like KeyboardInterrupt."""


class Held:
    """An object that a frame or a job holds."""

    def held(self):
        """A job."""


class Recording(DataLoader):
    """A loader of ten times the key. It records its batches, also in a shared log."""

    def __init__(self, log=None, name=""):
        super().__init__()
        self.batches = []
        self.log = [] if log is None else log
        self.name = name

    def batch_load_fn(self, keys):
        self.batches.append(list(keys))
        self.log.append((self.name, list(keys)))
        return Promise.resolve([key * 10 for key in keys])


def queue_state():
    return (
        async_instance.normal_queue,
        list(async_instance.normal_queue),
        async_instance.is_tick_used,
        async_instance.have_drained_queues,
        async_instance.trampoline_enabled,
    )


def test_loads_of_plain_code_are_one_batch_inside_the_scope_only():
    outside, inside = Recording(), Recording()
    outside.load(1)
    outside.load(2)
    with promise_scope():
        loads = [inside.load(1), inside.load(2)]
        assert run(Promise.all(loads)) == [10, 20]
    assert outside.batches == [[1], [2]]
    assert inside.batches == [[1, 2]]


def test_loads_that_follow_from_a_batch_are_one_batch_each_level():
    log = []
    first, second, third = (Recording(log, name) for name in ("first", "second", "third"))
    with promise_scope():
        chains = [first.load(n).then(second.load).then(third.load) for n in (1, 2, 3)]
        assert run(Promise.all(chains)) == [1000, 2000, 3000]
    assert log == [
        ("first", [1, 2, 3]),
        ("second", [10, 20, 30]),
        ("third", [100, 200, 300]),
    ]


def test_loaders_that_become_ready_together_share_the_next_batch():
    log = []
    left, right, below = (Recording(log, name) for name in ("left", "right", "below"))
    with promise_scope():
        chains = [left.load(1).then(below.load), right.load(2).then(below.load)]
        run(Promise.all(chains))
    assert log == [("left", [1]), ("right", [2]), ("below", [10, 20])]


def test_the_scope_discards_jobs_and_restores_the_thread():
    before = queue_state()
    loader, done = Recording(), []
    with promise_scope():
        loader.load(1)
        Promise.resolve(1).then(done.append)
    assert queue_state() == before
    assert async_instance.normal_queue is before[0]
    assert loader.batches == []
    assert done == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, Interruption])
def test_an_error_that_leaves_the_scope_leaves_nothing_behind(error):
    before = queue_state()
    loader = Recording()

    def cut_short():
        with promise_scope():
            loader.load(1)
            raise error

    with pytest.raises(error):
        cut_short()
    assert queue_state() == before
    with promise_scope():
        assert run(Recording().load(2)) == 20
    assert loader.batches == []


def test_a_kept_error_does_not_keep_the_discarded_jobs():
    waiting = Held()
    reference = weakref.ref(waiting)

    def fail():
        raise ValueError("kept")

    with pytest.raises(ValueError, match="kept") as kept, promise_scope():
        async_instance.invoke(fail, None)
        async_instance.invoke(waiting.held, None)
        del waiting
        run_jobs(lambda: False)
    assert reference() is None
    assert kept.traceback


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, Interruption])
def test_run_raises_the_exceptions_that_promise_would_swallow(error):
    def interrupt(_value):
        raise error

    with promise_scope():
        promise = Promise.resolve(1).then(interrupt)
        with pytest.raises(error):
            run(promise)


def test_an_exception_in_a_handler_is_a_rejection_and_stops_no_other_job():
    def fail(_value):
        raise ValueError("in a handler")

    with promise_scope():
        failing = Promise.resolve(1).then(fail)
        other = Promise.resolve(2).then(lambda value: value + 1)
        with pytest.raises(ValueError, match="in a handler"):
            run(failing)
        assert run(other) == 3


def test_an_outer_scopes_jobs_are_set_aside_and_come_back():
    outer, inner = Recording(), Recording()
    with promise_scope():
        waiting = outer.load(1)
        with promise_scope():
            assert run(inner.load(2)) == 20
            assert outer.batches == []
            with pytest.raises(RuntimeError, match="would wait for ever"):
                run(waiting)
        assert in_scope()
        assert run(waiting) == 10
    assert not in_scope()


def test_jobs_that_something_left_on_the_thread_do_not_run_inside():
    left = []
    try:
        async_instance.is_tick_used = True  # as after a BaseException in a job
        async_instance.normal_queue.append(lambda: left.append("ran"))
        with promise_scope():
            assert run(Recording().load(1)) == 10
        assert left == []
        assert len(async_instance.normal_queue) == 1
    finally:
        async_instance.normal_queue.clear()
        async_instance.reset()


def test_after_a_blocking_get_jobs_still_wait_for_each_other():
    loader = Recording()
    with promise_scope():
        assert Promise.resolve(1).then(lambda value: value).get() == 1
        assert run(Promise.all([loader.load(2), loader.load(3)])) == [20, 30]
    assert loader.batches == [[2, 3]]


def test_a_scope_belongs_to_its_thread():
    seen = []
    with promise_scope():
        thread = Thread(target=lambda: seen.append(in_scope()))
        thread.start()
        thread.join()
    assert seen == [False]


def test_run_gives_other_values_back():
    marker = object()
    assert run(marker) is marker
    assert run(None) is None


def test_run_gives_the_value_of_a_promise_that_is_settled_without_running_jobs():
    done = []
    with promise_scope():
        Promise.resolve(1).then(done.append)
        assert run(Promise.resolve(7)) == 7
    assert done == []


def test_run_raises_the_reason():
    reason = ValueError("no")
    with promise_scope(), pytest.raises(ValueError, match="no") as caught:
        run(Promise.reject(reason))
    assert caught.value is reason


def test_run_says_when_nothing_can_settle_the_promise():
    with promise_scope(), pytest.raises(RuntimeError, match="would wait for ever"):
        run(Promise())


def test_check_is_called_between_jobs_and_ends_them():
    calls, done = [], []

    def check():
        calls.append(len(done))
        if len(done) == 2:
            raise TimeoutError("enough")

    with promise_scope():
        for number in range(4):
            async_instance.invoke(lambda number=number: done.append(number), None)
        with pytest.raises(TimeoutError, match="enough"):
            run(Promise(), check)
    assert calls == [0, 1, 2]
    assert done == [0, 1]


def test_run_jobs_returns_whether_it_is_done():
    done = []
    with promise_scope():
        Promise.resolve(1).then(done.append)
        assert run_jobs(lambda: bool(done))
        assert not run_jobs(lambda: False)


def test_only_promises_are_thenable():
    async def coroutine():
        """Never awaited."""

    made = coroutine()
    made_and_others = [made, None, 1, "text", [], {}, object(), Promise]
    assert [is_promise(value) for value in made_and_others] == [False] * 8
    assert is_promise(Promise())
    assert is_promise(type("Derived", (Promise,), {})())
    made.close()


def reject_and_run():
    held = Held()

    def fail(_value):
        raise ValueError("held", weakref.ref(held))

    with promise_scope():
        return run(Promise.resolve(1).then(fail).then(lambda _: held))


def test_a_rejection_is_freed_with_its_last_reference():
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="held") as caught:
            reject_and_run()
        held = caught.value.args[1]
        del caught
        rejected = [o for o in gc.get_objects() if isinstance(o, Promise) and o.is_rejected]
        assert rejected == []
        del held
    finally:
        gc.enable()
