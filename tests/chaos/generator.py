"""The process of a load: an event loop that sends requests when they are due (open loop).

A request is sent when it is due, whether or not the earlier ones have been answered. Each request
has its own deadline (``X-Request-Timeout``). Another process injects the faults, so that this work
delays no request.
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

from tests.chaos.client import Client, Exchange
from tests.chaos.ledger import BROKEN, LATE, OK, TIMEOUT, WRONG, Ledger, Sample
from tests.chaos.operations import Operations, Unexpected

GRACE = 1.0  # seconds that the network and a busy machine may add to a deadline
REPORT = 0.05  # seconds between two reports


@dataclass(frozen=True)
class Summary:
    """The report of a generator at its end."""

    ledger: Ledger
    connections: int  # number of opened connections
    resent: int  # requests sent again because the service had not read them


def classify(outcome: str, detail: str, seconds: float, deadline: float) -> tuple[str, str]:
    """Return the outcome and detail of a request that took the service ``seconds``."""
    if outcome == BROKEN and seconds >= deadline:
        outcome = TIMEOUT  # the service closes the connection when an answer is not ready in time
    if seconds > deadline + GRACE and outcome != WRONG:
        return LATE, f"{outcome} after {seconds:.2f} s"
    return outcome, detail


class Generator:
    """Sends ``rate`` requests a second to a port of 127.0.0.1; calls ``report`` with samples."""

    def __init__(
        self,
        port: int,
        ledger: Ledger,
        *,
        rate: float,
        deadline: float,
        report: Callable[[list[Sample]], None],
    ) -> None:
        self.ledger = ledger
        self._client = Client(port)
        self._operations = Operations(self._client, ledger, deadline)
        self._rate = rate
        self._deadline = deadline
        self._report = report
        self._samples: list[Sample] = []

    async def run(self, stop: asyncio.Event) -> Summary:
        """Send requests until ``stop``, then wait for all answers."""
        reports = asyncio.create_task(self._report_regularly())
        in_flight: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not stop.is_set():
            while due <= time.monotonic():
                task = asyncio.create_task(self.measure(Exchange(due)))
                in_flight.add(task)
                task.add_done_callback(in_flight.discard)
                due += 1 / self._rate
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):  # the loop's clock is the monotonic one
                    await stop.wait()
        await asyncio.gather(*in_flight)
        reports.cancel()
        self._report(self._samples)
        self._client.close()
        return Summary(self.ledger, self._client.opened, self._client.resent)

    async def measure(self, exchange: Exchange) -> None:
        """Send one request and record its sample."""
        kind = self._operations.choose()
        outcome, detail = OK, ""
        try:
            await kind(exchange)
        except Unexpected as unexpected:
            outcome, detail = unexpected.outcome, unexpected.detail
        except Exception as error:  # noqa: BLE001 - the report shows every failure
            outcome, detail = WRONG, repr(error)
        exchange.end()
        seconds = exchange.arrived - exchange.sent
        outcome, detail = classify(outcome, detail, seconds, self._deadline)
        unread = exchange.read - exchange.arrived
        self._samples.append(
            Sample(kind.__name__, exchange.due, exchange.sent, seconds, outcome, detail, unread)
        )

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT)
            if self._samples:
                self._report(self._samples)
                self._samples = []


def generate(channel: Connection, port: int, ledger: Ledger, rate: float, deadline: float) -> None:
    """Run the process: send lists of samples through ``channel``, and a Summary at the end.

    The first list is empty and says that the load begins. A message from the parent, or its death,
    stops the load.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the load
    os.setsid()  # Linux divides processors between sessions; the service delays the load less
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(BrokenPipeError):  # the parent has ended
        channel.send(asyncio.run(_generate(channel, port, ledger, rate, deadline)))


async def _generate(
    channel: Connection, port: int, ledger: Ledger, rate: float, deadline: float
) -> Summary:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopped() -> None:
        loop.remove_reader(channel.fileno())
        stop.set()

    loop.add_reader(channel.fileno(), stopped)
    generator = Generator(port, ledger, rate=rate, deadline=deadline, report=channel.send)
    channel.send([])
    return await generator.run(stop)
