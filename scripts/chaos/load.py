"""A steady load of queries and mutations that checks every answer it gets (see ``operations``)."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from threading import Thread

from scripts.chaos.book import Book, Sample
from scripts.chaos.generator import Summary, generate
from scripts.chaos.operations import PATIENCE

STARTING = 60.0  # seconds that the process may take to start on a busy machine
ENDING = 60.0  # seconds that it may take to end after the last answer


class GeneratorEnded(Exception):
    """The process of the load ended before it was stopped."""


class Load:
    """``rate`` requests a second to a port of 127.0.0.1 until stopped; then see ``samples``.

    ``deadline`` is every request's own limit in seconds; ``book`` is what was promised before and,
    once the load is stopped, now. A process of its own sends the requests.
    """

    def __init__(self, port: int, book: Book, *, rate: float, deadline: float) -> None:
        self.samples: list[Sample] = []  # grows while the load runs
        self.book = book
        self.connections = 0
        self.resent = 0  # requests that the service had not read
        self._deadline = deadline
        self._summary: Summary | None = None
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of threads
        self._channel, self._theirs = context.Pipe()
        self._process = context.Process(
            target=generate, args=(self._theirs, port, book, rate, deadline), daemon=True
        )
        self._collector = Thread(target=self._collect, daemon=True)

    def start(self) -> None:
        """Begin. Raises GeneratorEnded when the process fails at once."""
        self._process.start()
        self._theirs.close()
        if not self._channel.poll(STARTING):
            raise TimeoutError(f"the load did not begin within {STARTING:g} s")
        try:
            self._channel.recv()
        except EOFError as error:
            self._process.join()
            raise GeneratorEnded(f"exit code {self._process.exitcode}") from error
        self._collector.start()

    def stop(self) -> list[Sample]:
        """Send no more, wait for all answers; all samples in the order of sending.

        Raises GeneratorEnded when the process has failed.
        """
        with suppress(OSError):  # it has ended
            self._channel.send("stop")
        self._collector.join(self._deadline + PATIENCE + ENDING)
        self._process.kill()  # after its Summary it has nothing left to do
        self._process.join()
        self._collector.join()
        self._channel.close()
        if self._summary is None:
            raise GeneratorEnded(f"exit code {self._process.exitcode}")
        self.book.replace_with(self._summary.book)
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
