"""Jobs of the tests of greenlets: a pool on a running loop of each kind."""

import asyncio
import socket
from threading import get_ident
from time import monotonic

import pytest
import uvloop

from pcf.greenlets import READ, GreenletPool, in_greenlet, wait_for_socket

PATIENCE = 20.0  # seconds after which a test has failed


class Jobs:
    """A pool on a running loop; the results of its jobs, in the order of their ends."""

    def __init__(self, count, max_queued=10):
        self.loop = asyncio.get_running_loop()
        self.ended, self.tidied, self.sockets = [], [], []
        self.pool = GreenletPool(
            self.loop, count, max_queued=max_queued, on_idle=lambda: self.tidied.append(here())
        )

    def submit(self, name, job):
        """Have the pool run a job; its result or error goes into ``ended`` with its name."""

        def run():
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - the test looks at it
                result = error
            return lambda: self.ended.append((name, result))

        return self.pool.submit(run)

    def pair(self):
        """Return two connected sockets. The fixture closes them at the end."""
        pair = socket.socketpair()
        self.sockets += pair
        for each in pair:
            each.setblocking(False)
        return pair

    async def until(self, holds):
        """Let the event loop turn until ``holds()`` is true."""
        end = monotonic() + PATIENCE
        while not holds():
            assert monotonic() < end
            await asyncio.sleep(0.001)

    async def all(self, count):
        """Return the first ``count`` ends."""
        await self.until(lambda: len(self.ended) >= count)
        return self.ended


def here():
    """Return where the caller runs."""
    return "greenlet" if in_greenlet() else get_ident()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """``run(test, count=2)`` runs ``await test(Jobs)`` on a loop of each kind."""

    def begin(test, count=2, **options):
        async def bounded():
            jobs = Jobs(count, **options)
            try:
                async with asyncio.timeout(PATIENCE):
                    await test(jobs)
            finally:
                jobs.pool.close()
                for each in jobs.sockets:
                    each.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return begin


def receive(own):
    """Wait for a byte and return it."""
    assert wait_for_socket(own.fileno(), READ, PATIENCE) == READ
    return own.recv(1)
