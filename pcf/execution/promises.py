"""What promise 2.3 leaves open: where its jobs wait, who runs them, and when they are thrown away.

promise keeps one queue of jobs per thread (``promise.promise.async_instance``), for the life of
the thread. Three things about it do not suit a server:

* A job that comes while no "tick" is in use runs at once, so loads made one after another by plain
  code would be batches of one.
* ``ImmediateScheduler`` runs the jobs under a bare ``except`` and so swallows whatever a job lets
  through, ``KeyboardInterrupt`` and ``SystemExit`` included.
* What is left after that stays in the queue, with its tick in use, and runs in the next request
  on the same thread, or never.

``promise_scope`` gives a block a queue of its own, ``run`` and ``drain`` run its jobs in the open.
Handlers given to ``then`` need no such care: promise turns an Exception they raise into a
rejection. A BaseException is no rejection; it leaves the job, passes through ``drain`` and ``run``
to whoever called them, and ends the scope on its way. Errors in handlers given to ``done`` are lost
by promise itself: use ``then``. (Its second queue, ``late_queue``, is never used: ``invoke_later``,
the way to it, raises NameError.)

Batches: the first load of a loader's batch puts a job behind all jobs that wait at that moment, and
that job puts the dispatch behind all that wait by then. So everything that was ready to run when
the first load was made has made its loads before any of them is dispatched.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from promise import Promise
from promise.promise import async_instance

# The modules whose frames hold nothing that helps to understand an error.
_MACHINERY = (
    "promise.",
    "graphql.execution.",
    "pcf.execution.completion",
    "pcf.execution.context",
    "pcf.execution.execute",
    "pcf.execution.places",
    "pcf.execution.promises",
    "pcf.execution.run",
    "pcf.execution.waits",
)


class _JobQueue(deque[Any]):
    """The queue of a scope: a job that arrives finds the tick in use, and so waits for ``drain``.

    Saying so once would not do: ``Promise.get()`` declares the tick unused when it has emptied
    the queue, and from then on jobs would run at once again.
    """

    def append(self, job: Any, /) -> None:
        async_instance.is_tick_used = True
        super().append(job)


def in_scope() -> bool:
    """Whether this thread is inside a ``promise_scope``."""
    return isinstance(async_instance.normal_queue, _JobQueue)


@contextmanager
def promise_scope() -> Iterator[None]:
    """Give the block a queue of promise jobs of its own; discard what is left at its end.

    Jobs of an outer scope, or those that something left on the thread, are set aside and come back
    at the end: they do not run inside the block, so the block cannot wait for a promise that
    depends on them. Promises that still wait at the end stay pending for ever. A loader whose
    dispatch was discarded is unusable: it, too, belongs to one scope.
    """
    outside = (
        async_instance.normal_queue,
        async_instance.is_tick_used,
        async_instance.have_drained_queues,
        async_instance.trampoline_enabled,
    )
    own = _JobQueue()
    async_instance.normal_queue = own
    async_instance.trampoline_enabled = True
    try:
        yield
    finally:
        (
            async_instance.normal_queue,
            async_instance.is_tick_used,
            async_instance.have_drained_queues,
            async_instance.trampoline_enabled,
        ) = outside
        own.clear()  # an exception's frames may hold the queue for longer


def after_jobs(job: Callable[[], object]) -> None:
    """Have ``job`` run in this scope once all jobs have that wait now, and what these have put
    behind themselves: what DataLoader does with a promise and its handler, without them.
    """
    queue = async_instance.normal_queue
    queue.append(partial(queue.append, job))


def take_next(method: Callable[..., object]) -> list[Any]:
    """The objects whose ``method`` are the very next jobs of this scope; these jobs are the
    caller's to do now.
    """
    queue = async_instance.normal_queue
    found: list[Any] = []
    if not in_scope():
        return found
    while queue and getattr(queue[0], "__func__", None) is method:
        found.append(queue.popleft().__self__)
    return found


def is_thenable(value: object) -> bool:
    """Whether ``value`` is a promise. Coroutines and futures are none: nothing here awaits."""
    return isinstance(value, Promise)


def drain(is_done: Callable[[], bool], check: Callable[[], object] | None = None) -> bool:
    """Run jobs, one by one, until ``is_done()`` or until none is left; returns ``is_done()``.

    ``check`` is called before every job; what it raises ends the draining. So does whatever
    a job raises, which promise's own handlers never do with an Exception.
    """
    queue = async_instance.normal_queue
    while not is_done():
        if check is not None:
            check()
        if not queue:
            return False
        job = queue.popleft()
        if isinstance(job, Promise):
            job._settle_promises()  # noqa: SLF001 - as async_instance.drain_queue() does, which knows no end but empty
        else:
            job()
    return True


def run(value: Any, check: Callable[[], object] | None = None) -> Any:
    """The value of a promise, once the jobs it waits for have run; any other value as it is.

    Raises the reason of a rejected promise, what ``check`` raises between two jobs, and
    RuntimeError when no job is left that could settle the promise (``Promise.get()`` would block
    for ever).
    """
    if not isinstance(value, Promise):
        return value
    _wait_for(value, check)
    if value.is_fulfilled:
        return value.value
    reason = value.reason
    free_frames(reason)
    try:
        raise reason
    finally:
        del reason, value  # the traceback holds this frame


def _wait_for(promise: Promise, check: Callable[[], object] | None) -> None:
    if not drain(lambda: not promise.is_pending, check):
        raise RuntimeError(
            "This would wait for ever: the promise is pending and no promise job is left. Was it"
            " made, or its loader used, in a promise_scope that has ended or is set aside?"
        )


def free_frames(*errors: BaseException | None) -> None:
    """Break the reference cycles that errors make by having been raised and caught.

    A traceback holds the frames it passed through, and each frame the one that called it. Those of
    promise and of the executors hold errors, promises and half of the response in local variables;
    these are cleared where the frame is finished. Frames of resolvers and batch functions keep
    theirs for whoever reports the error. What still runs cannot be cleared: as long as a caller has
    the error in a local variable, error and stack stay for the garbage collector to find.
    """
    seen: set[object] = set()
    waiting = list(errors)
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += error.__cause__, error.__context__, getattr(error, "original_error", None)
        traceback = error.__traceback__
        while traceback is not None:
            _clear_with_callers(traceback.tb_frame, seen)
            traceback = traceback.tb_next


def _clear_with_callers(frame: FrameType | None, seen: set[object]) -> None:
    while frame is not None and frame not in seen:
        seen.add(frame)
        if frame.f_globals.get("__name__", "").startswith(_MACHINERY):
            try:
                frame.clear()
            except RuntimeError:  # it is running, and so are its callers
                return
        frame = frame.f_back
