"""Jobs behind other jobs run in the order in which promise's own DataLoader would run them."""

from hypothesis import given
from hypothesis import strategies as st
from promise import Promise, async_instance
from promise.dataloader import enqueue_post_promise_job

from pcf._compat.promise import enqueue_after_jobs, promise_scope, run_jobs

WAYS = ["direct", "after", "promise"]
jobs = st.recursive(
    st.tuples(st.sampled_from(WAYS), st.just([])),
    lambda below: st.tuples(st.sampled_from(WAYS), st.lists(below, max_size=3)),
    max_leaves=12,
)


def by_promise(job):
    """Do what DataLoader does."""
    enqueue_post_promise_job(job, None)


def order(trees, enqueue, stop_at=None):
    """Return the names of the jobs in their order; each job adds the jobs below it."""
    names = []

    def add(name, tree):
        way, below = tree

        def job(_value=None):
            names.append(name)
            for number, each in enumerate(below):
                add(f"{name}.{number}", each)

        if way == "direct":
            async_instance.normal_queue.append(job)
        elif way == "after":
            enqueue(job)
        else:
            Promise.resolve(None).then(job)

    with promise_scope():
        for number, tree in enumerate(trees):
            add(str(number), tree)
        is_done = run_jobs(lambda: len(names) == stop_at)
        names.append(is_done)
        run_jobs(lambda: False)
    return names


@given(st.lists(jobs, max_size=4), st.none() | st.integers(0, 6))
def test_jobs_after_others_have_the_order_of_promise(trees, stop_at):
    assert order(trees, enqueue_after_jobs, stop_at) == order(trees, by_promise, stop_at)
