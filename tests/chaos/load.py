"""A steady load of queries and mutations. It checks every answer (see ``operations``)."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from threading import Thread

from tests.chaos.generator import Summary, generate
from tests.chaos.ledger import Ledger, Sample
from tests.chaos.operations import PATIENCE

STARTING = 60.0  # seconds that the process may take to start on a busy machine
ENDING = 60.0  # seconds that the process may take to end after the last answer


class GeneratorEnded(Exception):
    """The process of the load ended before it was stopped."""


class Load:
    """Send ``rate`` requests a second to a port of 127.0.0.1 from a process of its own.

    Args: ``deadline`` is the limit of each request in seconds. ``ledger`` holds what clients were
    promised before the load; after ``stop`` it holds what they were promised until then.
    """

    def __init__(self, port: int, ledger: Ledger, *, rate: float, deadline: float) -> None:
        self.samples: list[Sample] = []  # grows while the load runs
        self.ledger = ledger
        self.connections = 0
        self.resent = 0  # requests sent again because the service had not read them
        self._deadline = deadline
        self._summary: Summary | None = None
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of threads
        self._channel, self._child_channel = context.Pipe()
        self._process = context.Process(
            target=generate, args=(self._child_channel, port, ledger, rate, deadline), daemon=True
        )
        self._collector = Thread(target=self._collect, daemon=True)

    def start(self) -> None:
        """Start the load. Raises GeneratorEnded when the process fails at once."""
        self._process.start()
        self._child_channel.close()
        if not self._channel.poll(STARTING):
            raise TimeoutError(f"the load did not begin within {STARTING:g} s")
        try:
            self._channel.recv()
        except EOFError as error:
            self._process.join()
            raise GeneratorEnded(f"exit code {self._process.exitcode}") from error
        self._collector.start()

    def stop(self) -> list[Sample]:
        """Stop sending, wait for all answers; return all samples in the order of sending.

        Raises GeneratorEnded when the process has failed.
        """
        with suppress(OSError):  # the process has ended
            self._channel.send("stop")
        self._collector.join(self._deadline + PATIENCE + ENDING)
        self._process.kill()  # the process is finished after its Summary
        self._process.join()
        self._collector.join()
        self._channel.close()
        if self._summary is None:
            raise GeneratorEnded(f"exit code {self._process.exitcode}")
        self.ledger.replace_with(self._summary.ledger)
        self.connections = self._summary.connections
        self.resent = self._summary.resent
        self.samples.sort(key=lambda sample: sample.sent)
        return self.samples

    def _collect(self) -> None:
        with suppress(EOFError, OSError):
            while self._summary is None:
                message = self._channel.recv()
                if isinstance(message, Summary):
                    self._summary = message
                else:
                    self.samples.extend(message)
