"""Work in threads: results, deadlines, the queue, and the chunks of streams."""

import asyncio
from contextvars import ContextVar
from threading import Event, get_ident
from threading import enumerate as all_threads

import pytest

from pcf.concurrency import ComputePool
from pcf.observability import logs
from pcf.server.threads import ChunkQueue, Overloaded, RequestThreads
from pcf.timeouts import DeadlineExceeded, TimeoutContext

PATIENCE = 20.0  # seconds after which a test has failed


def patient():
    return TimeoutContext.start("http", PATIENCE)


def impatient():
    """Return a deadline that is over at once."""
    return TimeoutContext.start("http", 0.01)


class Work:
    """Work that lasts until a test sets ``go``."""

    def __init__(self, result=None):
        self.begun, self.go, self.done = Event(), Event(), Event()
        self._result = result

    def __call__(self):
        self.begun.set()
        assert self.go.wait(PATIENCE)
        self.done.set()
        return self._result


@pytest.fixture
def run():
    """``run(function, threads=1, max_queued=10)`` runs ``await function(threads)`` on a loop."""
    before = set(all_threads())

    def begin(function, threads=1, max_queued=10):
        async def bounded():
            loop = asyncio.get_running_loop()
            pool = RequestThreads(loop, threads, computing=threads, max_queued=max_queued)
            try:
                async with asyncio.timeout(PATIENCE):
                    return await function(pool)
            finally:
                pool.close()

        return asyncio.run(bounded())

    yield begin
    for thread in set(all_threads()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


async def happens(event):
    """Wait for a thread's event while the event loop runs."""
    assert await asyncio.to_thread(event.wait, PATIENCE)


def test_the_caller_gets_the_result_or_the_exception_of_a_thread(run):
    async def check(threads):
        assert await threads.run(get_ident, patient()) != get_ident()
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 / 0, patient())

    run(check)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, StopIteration])
def test_an_exception_that_would_end_the_loop_becomes_a_runtime_error(run, error):
    def fail():
        raise error

    async def check(threads):
        with pytest.raises(RuntimeError, match=error.__name__) as told:
            await threads.run(fail, patient())
        assert type(told.value.__cause__) is error

    run(check)


def test_the_thread_has_the_callers_context_variables(run):
    variable = ContextVar("variable")

    async def check(threads):
        variable.set("of the request")
        return await threads.run(variable.get, patient())

    assert run(check) == "of the request"


def test_the_caller_gets_the_timeout_and_the_log_shows_the_threads_stack(run, caplog):
    work = Work("too late")

    async def check(threads):
        logs.request_id.set("of-the-request")
        with pytest.raises(DeadlineExceeded) as told:
            await threads.run(work, impatient())
        assert (told.value.layer, told.value.limit) == ("http", 0.01)
        assert work.begun.is_set()
        (busy,) = caplog.messages
        assert "busy past its request's deadline" in busy
        assert "in __call__" in busy
        work.go.set()
        assert await threads.run(lambda: "the next one", patient()) == "the next one"

    run(check)
    assert "a thread finished its request after the client got the timeout" in caplog.messages[1]


@pytest.mark.blocks("waiting for a thread", at_least=0.005, within=5)
def test_a_caller_without_a_free_thread_gets_the_timeout(run, caplog):
    work, never = Work(), Work()

    async def check(threads):
        busy = asyncio.ensure_future(threads.run(work, patient()))
        await happens(work.begun)
        with pytest.raises(DeadlineExceeded):
            await threads.run(never, impatient())
        work.go.set()
        await busy
        await threads.run(lambda: None, patient())

    run(check)
    assert not never.begun.is_set(), "no caller waits for it"
    assert caplog.messages == []


def test_a_full_queue_refuses_at_once(run):
    work = Work()

    async def check(threads):
        busy = [asyncio.ensure_future(threads.run(work, patient()))]
        await happens(work.begun)
        busy += [asyncio.ensure_future(threads.run(work, patient())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as told:
            await threads.run(work, patient())
        assert told.value.code == "SERVICE_UNAVAILABLE"
        work.go.set()
        await asyncio.gather(*busy)

    run(check, max_queued=2)


def test_the_log_does_not_take_a_client_that_is_gone_for_one_that_got_the_timeout(run, caplog):
    work = Work()

    async def check(threads):
        gone = asyncio.ensure_future(threads.run(work, patient()))
        await happens(work.begun)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        work.go.set()
        await threads.run(lambda: None, patient())

    run(check)
    assert caplog.messages == []


def test_the_work_of_a_cancelled_caller_is_not_started(run, caplog):
    work, never = Work(), Work()

    async def check(threads):
        busy = asyncio.ensure_future(threads.run(work, patient()))
        await happens(work.begun)
        gone = asyncio.ensure_future(threads.run(never, patient()))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        work.go.set()
        await busy
        await threads.run(lambda: None, patient())

    run(check)
    assert not never.begun.is_set()


def test_the_event_loop_reassigns_overdue_slots(run, monkeypatch):
    looked = Event()
    monkeypatch.setattr(ComputePool, "reassign_slots", lambda _: looked.set())

    async def check(_):
        await happens(looked)

    run(check)


def test_a_result_after_the_end_of_the_loop_is_logged(caplog):
    work = Work()

    async def check():
        threads = RequestThreads(asyncio.get_running_loop(), 1, computing=1, max_queued=1)
        running = asyncio.ensure_future(threads.run(work, patient()))
        await happens(work.begun)
        threads.close()
        running.cancel()

    before = set(all_threads())
    asyncio.run(check())
    work.go.set()
    for thread in set(all_threads()) - before:
        thread.join(PATIENCE)
    assert "a thread finished its request after the end of the event loop" in caplog.text


# --- the chunks of a stream


def test_chunks_come_in_order_and_the_producer_waits_for_room(run):
    made = []

    async def check(threads):
        chunks = ChunkQueue(asyncio.get_running_loop(), patient())

        def make():
            for number in range(50):
                made.append(number)
                chunks.put(b"%d" % number)
            chunks.put(None)

        producer = asyncio.ensure_future(threads.run(make, patient()))
        got = []
        while (chunk := await chunks.get()) is not None:
            got.append(int(chunk))
            assert len(made) - len(got) <= ChunkQueue._SIZE + 2
        await producer
        return got

    assert run(check) == list(range(50))


def test_the_queue_ends_after_the_chunks_of_a_failed_producer(run):
    async def check(threads):
        chunks = ChunkQueue(asyncio.get_running_loop(), patient())

        def make():
            for _ in range(ChunkQueue._SIZE):
                chunks.put(b"x")
            raise ZeroDivisionError

        producer = asyncio.ensure_future(threads.run(make, patient()))
        producer.add_done_callback(lambda _: chunks.end())
        with pytest.raises(ZeroDivisionError):
            await producer
        chunks = [await chunks.get() for _ in range(ChunkQueue._SIZE + 1)]
        assert chunks == [b"x"] * ChunkQueue._SIZE + [None]

    run(check)


def test_a_producer_gets_broken_chunks_after_close(run):
    """The error also ends a wait for room."""
    full, told = Event(), Event()

    async def check(threads):
        chunks = ChunkQueue(asyncio.get_running_loop(), patient())

        def make():
            for _ in range(ChunkQueue._SIZE):
                chunks.put(b"x")
            full.set()
            try:
                while True:
                    chunks.put(b"x")
            except BrokenPipeError:
                told.set()

        producer = asyncio.ensure_future(threads.run(make, patient()))
        await happens(full)
        chunks.close()
        await producer
        assert told.is_set()

    run(check)


def test_get_and_put_end_at_the_deadline(run):
    async def check(threads):
        chunks = ChunkQueue(asyncio.get_running_loop(), impatient())
        with pytest.raises(DeadlineExceeded):
            await chunks.get()

        def make():
            while True:
                chunks.put(b"x")

        with pytest.raises(BrokenPipeError):
            await threads.run(make, patient())

    run(check)
