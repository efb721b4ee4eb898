"""promise 2.3: the queue of promise jobs, and the loop that runs them.

Works with promise >= 2.3, < 2.4. Undocumented, and used here:

* ``promise.promise.async_instance``: a ``threading.local`` that holds the queue of each thread
  (``normal_queue``) and its state (``is_tick_used``, ``have_drained_queues``,
  ``trampoline_enabled``). An item of the queue is a function or a promise.
* ``Promise._settle_promises()``: runs a promise that is an item of the queue.
* ``promise.dataloader.enqueue_post_promise_job(job, scheduler)``: how DataLoader delays a dispatch.

promise keeps the queue of a thread for the life of the thread. Three properties of that queue do
not suit a server:

* A job that enters the queue while no "tick" is in use runs at once. Loads that plain code makes
  one after another would be batches of one.
* ``ImmediateScheduler`` runs the jobs under a bare ``except``, which swallows the exceptions of
  jobs, KeyboardInterrupt and SystemExit included.
* The jobs that are left after such an exception stay in the queue, and their tick stays in use.
  These jobs run in the next request of the thread, or never.

``promise_scope`` gives a block a queue of its own, and ``run_jobs`` runs the jobs of that queue
outside of any scheduler. promise's second queue, ``late_queue``, needs no care: nothing can add to
it, because ``invoke_later`` raises NameError.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from promise import Promise
from promise.dataloader import enqueue_post_promise_job
from promise.promise import async_instance


class _JobQueue(deque[Any]):
    """The job queue of a scope: each job waits for ``run_jobs``.

    The queue sets the tick anew for each job, because ``Promise.get()`` resets the tick when it has
    emptied the queue. promise would run the jobs after that at once.
    """

    def append(self, job: Any, /) -> None:
        async_instance.is_tick_used = True
        super().append(job)


class _AfterJobs:
    """An item of a scope's queue: at its turn, ``job`` goes behind the jobs that wait then."""

    __slots__ = ("job",)

    def __init__(self, job: Callable[[], object]) -> None:
        self.job = job

    def __call__(self) -> None:
        """Do what ``run_jobs`` does with the item; promise's own loop calls it."""
        async_instance.normal_queue.append(self.job)


def in_scope() -> bool:
    """Return whether this thread is inside a ``promise_scope``."""
    return isinstance(async_instance.normal_queue, _JobQueue)


class promise_scope:  # noqa: N801 - a context manager, made as fast as it can be
    """Give the block a queue of promise jobs of its own, and discard the jobs left at its end.

    The scope sets the jobs outside of it aside and brings them back at its end. These jobs do not
    run inside the block, so the block cannot wait for a promise that depends on them. A promise
    that is pending at the end stays pending for ever. A loader whose dispatch the scope has
    discarded is unusable: a loader belongs to one scope.
    """

    __slots__ = ("_outside", "_own")

    def __enter__(self) -> None:
        of_thread = vars(async_instance)
        self._outside = of_thread.copy()
        self._own = of_thread["normal_queue"] = _JobQueue()
        of_thread["trampoline_enabled"] = True

    def __exit__(self, *_: object) -> None:
        vars(async_instance).update(self._outside)
        self._own.clear()  # the frames of an exception may hold the queue for longer


def run_jobs(is_done: Callable[[], bool], check: Callable[[], object] | None = None) -> bool:
    """Run the jobs of this thread, one by one, until ``is_done()`` or until none is left.

    Returns ``is_done()``. The loop calls ``check`` before each job. Raises what ``check`` raises,
    and the BaseException that a job lets through. promise itself turns an Exception of a handler
    into a rejection.
    """
    queue = async_instance.normal_queue
    while not is_done():
        if check is not None:
            check()
        if not queue:
            return False
        job = queue.popleft()
        while type(job) is _AfterJobs:
            if queue:
                queue.append(job.job)
                job = queue.popleft()
            else:
                job = job.job
        if isinstance(job, Promise):
            job._settle_promises()  # noqa: SLF001
        else:
            job()
    return True


def enqueue_after_jobs(job: Callable[[], object]) -> None:
    """Run ``job`` after all jobs that wait now and after the jobs that these add directly.

    DataLoader delays its dispatch in the same way. Inside a scope this function needs neither the
    promise nor the handler that DataLoader makes for it.
    """
    queue = async_instance.normal_queue
    if isinstance(queue, _JobQueue):
        queue.append(_AfterJobs(job))
    else:
        enqueue_post_promise_job(job, None)


def pop_next_methods(function: Callable[..., object]) -> list[Any]:
    """Remove the jobs at the head of the scope's queue that are bound methods of ``function``.

    Returns the objects of these methods, in the order of the queue. The caller has to do the work
    of the removed jobs. Outside of a scope the list is empty.
    """
    queue = async_instance.normal_queue
    found: list[Any] = []
    if not isinstance(queue, _JobQueue):
        return found
    while queue and getattr(queue[0], "__func__", None) is function:
        found.append(queue.popleft().__self__)
    return found
