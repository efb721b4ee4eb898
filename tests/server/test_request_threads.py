"""Work in threads: when its client is answered, and what becomes of the rest."""

import asyncio
from contextvars import ContextVar
from threading import Event, get_ident
from threading import enumerate as all_threads

import pytest

from pcf.compute import ComputePool
from pcf.http import logs
from pcf.server.threads import Overloaded, Pipe, Threads
from pcf.timeouts import DeadlineExceeded, TimeoutContext

PATIENCE = 20.0  # seconds after which a test has failed


def patient():
    return TimeoutContext.start("http", PATIENCE)


def impatient():
    """A deadline that is over at once."""
    return TimeoutContext.start("http", 0.01)


class Gate:
    """Work that a test lets go on."""

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
    """``run(function, threads=1, most=10)`` runs ``await function(threads)`` on a loop."""
    before = set(all_threads())

    def begin(function, threads=1, most=10):
        async def bounded():
            loop = asyncio.get_running_loop()
            pool = Threads(loop, threads, computing=threads, most=most)
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
    """Wait for an event of a thread, while the loop goes on."""
    assert await asyncio.to_thread(event.wait, PATIENCE)


def test_work_is_done_in_a_thread_and_what_it_returns_or_raises_is_the_callers(run):
    async def check(threads):
        assert await threads.run(get_ident, patient()) != get_ident()
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 / 0, patient())

    run(check)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, StopIteration])
def test_what_would_end_the_loop_is_raised_as_another_error(run, error):
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


def test_a_client_is_answered_at_the_deadline_and_the_log_tells_where_the_thread_is(run, caplog):
    gate = Gate("too late")

    async def check(threads):
        logs.request_id.set("of-the-request")
        with pytest.raises(DeadlineExceeded) as told:
            await threads.run(gate, impatient())
        assert (told.value.layer, told.value.limit) == ("http", 0.01)
        assert gate.begun.is_set()
        (busy,) = caplog.messages
        assert "busy past its request's deadline" in busy
        assert "in __call__" in busy
        gate.go.set()
        assert await threads.run(lambda: "the next one", patient()) == "the next one"

    run(check)
    assert "the answer came too late" in caplog.messages[1]


@pytest.mark.blocks("waiting for a thread")
def test_a_client_for_whom_no_thread_is_free_is_answered_at_the_deadline(run, caplog):
    gate, never = Gate(), Gate()

    async def check(threads):
        busy = asyncio.ensure_future(threads.run(gate, patient()))
        await happens(gate.begun)
        with pytest.raises(DeadlineExceeded):
            await threads.run(never, impatient())
        gate.go.set()
        await busy
        await threads.run(lambda: None, patient())

    run(check)
    assert not never.begun.is_set(), "nobody waits for it"
    assert caplog.messages == []


def test_more_requests_than_may_wait_are_refused_at_once(run):
    gate = Gate()

    async def check(threads):
        busy = [asyncio.ensure_future(threads.run(gate, patient()))]
        await happens(gate.begun)
        busy += [asyncio.ensure_future(threads.run(gate, patient())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as told:
            await threads.run(gate, patient())
        assert told.value.code == "SERVICE_UNAVAILABLE"
        gate.go.set()
        await asyncio.gather(*busy)

    run(check, most=2)


def test_what_a_client_that_is_gone_waited_for_is_not_begun(run, caplog):
    gate, never = Gate(), Gate()

    async def check(threads):
        busy = asyncio.ensure_future(threads.run(gate, patient()))
        await happens(gate.begun)
        gone = asyncio.ensure_future(threads.run(never, patient()))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        gate.go.set()
        await busy
        await threads.run(lambda: None, patient())

    run(check)
    assert not never.begun.is_set()


def test_overdue_slots_are_looked_for_while_the_loop_runs(run, monkeypatch):
    looked = Event()
    monkeypatch.setattr(ComputePool, "look", lambda _: looked.set())

    async def check(_):
        await happens(looked)

    run(check)


def test_an_answer_after_the_end_of_the_loop_is_logged(caplog):
    gate = Gate()

    async def check():
        threads = Threads(asyncio.get_running_loop(), 1, computing=1, most=1)
        running = asyncio.ensure_future(threads.run(gate, patient()))
        await happens(gate.begun)
        threads.close()
        running.cancel()

    before = set(all_threads())
    asyncio.run(check())
    gate.go.set()
    for thread in set(all_threads()) - before:
        thread.join(PATIENCE)
    assert "an answer came after the end of its process" in caplog.text


# --- pieces of an answer


def test_pieces_come_in_their_order_and_the_maker_does_not_run_ahead(run):
    made = []

    async def check(threads):
        pipe = Pipe(asyncio.get_running_loop(), patient())

        def make():
            for number in range(50):
                made.append(number)
                pipe.put(b"%d" % number)
            pipe.put(None)

        making = asyncio.ensure_future(threads.run(make, patient()))
        got = []
        while (piece := await pipe.get()) is not None:
            got.append(int(piece))
            assert len(made) - len(got) <= Pipe._ROOM + 2
        await making
        return got

    assert run(check) == list(range(50))


def test_a_maker_that_fails_with_pieces_under_way_ends_the_pieces(run):
    async def check(threads):
        pipe = Pipe(asyncio.get_running_loop(), patient())

        def make():
            for _ in range(Pipe._ROOM):
                pipe.put(b"x")
            raise ZeroDivisionError

        making = asyncio.ensure_future(threads.run(make, patient()))
        making.add_done_callback(lambda _: pipe.end())
        with pytest.raises(ZeroDivisionError):
            await making
        pieces = [await pipe.get() for _ in range(Pipe._ROOM + 1)]
        assert pieces == [b"x"] * Pipe._ROOM + [None]

    run(check)


def test_a_maker_that_nobody_listens_to_is_told(run):
    """Also while it waits for room."""
    full, told = Event(), Event()

    async def check(threads):
        pipe = Pipe(asyncio.get_running_loop(), patient())

        def make():
            for _ in range(Pipe._ROOM):
                pipe.put(b"x")
            full.set()
            try:
                while True:
                    pipe.put(b"x")
            except BrokenPipeError:
                told.set()

        making = asyncio.ensure_future(threads.run(make, patient()))
        await happens(full)
        pipe.close()
        await making
        assert told.is_set()

    run(check)


def test_pieces_are_waited_for_and_taken_until_the_deadline(run):
    async def check(threads):
        pipe = Pipe(asyncio.get_running_loop(), impatient())
        with pytest.raises(DeadlineExceeded):
            await pipe.get()

        def make():
            while True:
                pipe.put(b"x")

        with pytest.raises(BrokenPipeError):
            await threads.run(make, patient())

    run(check)
