"""The generator: client processes that share one schedule and report batches."""

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from benchmarks.load.client import Batch, Client, Schedule, clock
from benchmarks.load.mix import Mix, Requests, World
from benchmarks.load.results import Results
from benchmarks.load.sessions import Sessions, Viewer

A_PROCESS = 6_000  # requests a second of one process at most
LEAD = 0.5  # seconds from the fork to the first request
TICK = 0.25  # seconds


class GeneratorError(Exception):
    """A client process failed."""


@dataclass(frozen=True, slots=True)
class Target:
    """The address of the service."""

    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """The address as a URL."""
        return f"http://{self.host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The amount of requests to send, and how."""

    rate: float  # requests a second
    seconds: float
    warm_up: float = 0.0  # seconds before those, with a rising rate
    connections: int = 64
    timeout: float = 10.0  # seconds
    processes: int = 0  # 0 selects as many as the rate needs
    seed: str = "1"

    @property
    def whole(self) -> float:
        """Seconds of the load and of the warm-up together."""
        return self.seconds + self.warm_up

    @property
    def count_processes(self) -> int:
        """The number of client processes."""
        return self.processes or max(1, min(8, round(self.rate / A_PROCESS + 0.499)))


def _child(
    channel: Connection, target: Target, load: Load, mix: Mix, world: World, schedule: Schedule
) -> None:
    """Send one schedule in a client process, and end the process.

    The process sends batches through ``channel``, and its viewers at the end, or a message about a
    failure. Any message from the parent stops it.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            signum, signal.SIG_IGN
        )  # the parent stops the load; its death closes the channel
    gc.disable()  # a pause of the collector would count as the server's time
    address = (target.host, target.port, target.path)
    viewers = world.viewers[schedule.index :: schedule.of]
    sessions = Sessions(viewers) if any(viewer.username for viewer in viewers) else None
    requests = Requests(mix, world, address, f"{load.seed}/{schedule.index}", sessions)
    client = Client(
        (target.host, target.port),
        iter(requests),
        channel.send,
        connections=max(1, load.connections // schedule.of),
        timeout=load.timeout,
        control=channel.fileno(),
        expected={number: kind.expected for number, kind in enumerate(mix.kinds)},
    )
    try:
        client.run(schedule)
        channel.send(viewers)
    except OSError as error:
        channel.send(f"{target.url}: {error.strerror or error}")
    except (BrokenPipeError, EOFError):
        pass
    os._exit(0)


def generate(
    target: Target,
    load: Load,
    mix: Mix,
    world: World,
    *,
    tick: Callable[[Results, float], bool],
) -> Results:
    """Send ``load`` and return the results.

    The generator calls ``tick`` several times a second with the results so far and the seconds
    since the start. It stops sending when ``tick`` returns False. Afterwards the viewers of
    ``world`` have the newest tokens of their sessions. Raises GeneratorError when a client fails.
    """
    context = multiprocessing.get_context("fork")
    results = Results(mix.kinds, int(load.warm_up))
    start = clock() + LEAD
    channels: dict[Connection, tuple[int, BaseProcess]] = {}
    of = load.count_processes
    try:
        for index in range(of):
            schedule = Schedule(start, load.rate, load.seconds, index, of, load.warm_up)
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(
                target=_child, args=(theirs, target, load, mix, world, schedule), daemon=True
            )
            process.start()
            theirs.close()
            channels[ours] = (index, process)
        for index, viewers in _collect(channels, results, start, load, tick).items():
            world.viewers[index::of] = viewers
    finally:
        for _, process in channels.values():
            process.kill()
            process.join()
    return results


def _collect(
    channels: dict[Connection, tuple[int, BaseProcess]],
    results: Results,
    start: float,
    load: Load,
    tick: Callable[[Results, float], bool],
) -> dict[int, list[Viewer]]:
    """Count what the client processes report; return the viewers of each of them."""
    viewers: dict[int, list[Viewer]] = {}
    living = set(channels)
    deadline = start + load.whole + load.timeout + 10.0
    stopped = False
    while living:
        for channel in wait(list(living), TICK):
            assert isinstance(channel, Connection)  # noqa: S101
            try:
                message = channel.recv()
            except (EOFError, OSError):
                living.discard(channel)
                continue
            index = channels[channel][0]
            if isinstance(message, Batch):
                results.take(index, message)
            elif isinstance(message, list):
                viewers[index] = message
            else:
                raise GeneratorError(str(message))
        if not tick(results, clock() - start) and not stopped:
            stopped = True
            deadline = clock() + load.timeout + 2.0
            for channel in living:
                channel.send("stop")
        if clock() > deadline:
            raise GeneratorError("a client process did not end in time")
    return viewers
