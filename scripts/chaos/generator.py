"""The process of a load: an event loop that sends requests when they are due.

Open loop: a request is sent when it is due, whether or not earlier ones have been answered. Each
has a deadline of its own (``X-Request-Timeout``). The process is not the one that injects the
faults: their work delays no request.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from scripts.chaos.book import BROKEN, LATE, OK, TIMEOUT, WRONG, Book, Sample
from scripts.chaos.client import Client, Exchange
from scripts.chaos.operations import Operations, Unexpected

GRACE = 1.0  # seconds that the network and a busy machine may add to a deadline
REPORT = 0.05  # seconds between two reports


@dataclass(frozen=True)
class Summary:
    """What a generator reports at its end."""

    book: Book
    connections: int  # opened
    resent: int  # requests that the service had not read


def settle(outcome: str, detail: str, seconds: float, deadline: float) -> tuple[str, str]:
    """The outcome and detail of a request that took the service ``seconds``."""
    if outcome == BROKEN and seconds >= deadline:
        outcome = TIMEOUT  # the service hangs up on an answer that is not written in time
    if seconds > deadline + GRACE and outcome != WRONG:
        return LATE, f"{outcome} after {seconds:.2f} s"
    return outcome, detail


class Generator:
    """``rate`` requests a second to a port of 127.0.0.1; ``report`` is given their samples."""

    def __init__(
        self,
        port: int,
        book: Book,
        *,
        rate: float,
        deadline: float,
        report: Callable[[list[Sample]], None],
    ) -> None:
        self.book = book
        self._client = Client(port)
        self._operations = Operations(self._client, book, deadline)
        self._rate = rate
        self._deadline = deadline
        self._report = report
        self._samples: list[Sample] = []

    async def run(self, stop: asyncio.Event) -> Summary:
        """Send until ``stop``, wait for all answers."""
        reports = asyncio.create_task(self._report_again_and_again())
        under_way: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not stop.is_set():
            while due <= time.monotonic():
                task = asyncio.create_task(self.measure(Exchange(due)))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                due += 1 / self._rate
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):  # the loop's clock is the monotonic one
                    await stop.wait()
        await asyncio.gather(*under_way)
        reports.cancel()
        self._report(self._samples)
        self._client.close()
        return Summary(self.book, self._client.opened, self._client.resent)

    async def measure(self, exchange: Exchange) -> None:
        """Make a request, record its sample."""
        kind = self._operations.choose()
        outcome, detail = OK, ""
        try:
            await kind(exchange)
        except Unexpected as unexpected:
            outcome, detail = unexpected.outcome, unexpected.detail
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            outcome, detail = WRONG, repr(error)
        exchange.end()
        seconds = exchange.arrived - exchange.sent
        outcome, detail = settle(outcome, detail, seconds, self._deadline)
        unread = exchange.read - exchange.arrived
        self._samples.append(
            Sample(kind.__name__, exchange.due, exchange.sent, seconds, outcome, detail, unread)
        )

    async def _report_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(REPORT)
            if self._samples:
                self._report(self._samples)
                self._samples = []


def generate(channel: Connection, port: int, book: Book, rate: float, deadline: float) -> None:
    """Be the process: lists of samples go into ``channel``, at the end a Summary.

    Any message from there, or its end, stops the load. An empty list says that it begins.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    os.setsid()  # Linux shares the processors between sessions: the service's load delays it less
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(BrokenPipeError):  # the parent has ended
        channel.send(asyncio.run(_generate(channel, port, book, rate, deadline)))


async def _generate(
    channel: Connection, port: int, book: Book, rate: float, deadline: float
) -> Summary:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopped() -> None:
        loop.remove_reader(channel.fileno())
        stop.set()

    loop.add_reader(channel.fileno(), stopped)
    generator = Generator(port, book, rate=rate, deadline=deadline, report=channel.send)
    channel.send([])
    return await generator.run(stop)
