"""The processes of one service: how their metrics come together, and what each of them uses.

prometheus_client keeps the values of several processes in files, named after the process. Named
after process ids the files of dead workers would stay for ever, since counters must not go back.
So a worker takes a **slot**: it opens the files of the worker that had the slot before and counts
on from there. There are as many files as workers at one time, however often they are replaced.

A slot is a locked file in the folder of the metrics. The kernel frees the lock with the process,
however it ends, so two living processes never share a slot; that holds for two gunicorn masters
that share the folder (SIGUSR2), too.

When the folder is not writable, a worker counts under its process id, as prometheus_client does.
"""

import contextlib
import ctypes
import fcntl
import gc
import os
import resource
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any

import prometheus_client.values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import mark_process_dead

from pcf.counting import placed_values

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "worker"

SWITCH_INTERVAL = 0.0005  # seconds for which a thread may keep the interpreter from the others
ARENAS = 2  # pools of memory of the C library
_M_ARENA_MAX = -8  # of mallopt(3)
YOUNG_OBJECTS = 10_000  # after which the garbage collector looks at the youngest generation


def settle_memory() -> None:
    """What is loaded now stays: once more than one process is forked from this one, its pages are
    shared and no garbage collector looks at it again. For what comes, a response of some thousand
    rows is not interrupted every 700 objects: nearly all of them are freed without the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def share_interpreter() -> None:
    """Let threads wait less for one that computes: short requests lose the interpreter at every
    system call, and behind a large response they had to wait Python's 5 ms each time.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)


def limit_arenas() -> None:
    """Let all threads share two pools of the C library's memory. glibc gives each thread one of its
    own, up to eight a processor, and what was freed in one is of no use to the others. Threads that
    share an interpreter hardly allocate at once. Other C libraries have nothing to set.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """Give the system back what the C library keeps of freed memory, in the middle of its pools,
    too: of its own accord it gives back only what is free at their ends. Takes some milliseconds
    without the interpreter. Other C libraries than glibc have nothing to call.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


_ENDING = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}


def hold_signals_over_forks() -> None:
    """Let no process that this one forks lose a signal that asks it to end.

    Until the new process has handlers of its own, such a signal would go to its copy of this
    process's handlers, which do nothing there. The new process takes its signals with
    ``take_signals``.
    """
    master = os.getpid()

    def is_master() -> bool:
        return os.getpid() == master

    os.register_at_fork(
        before=lambda: is_master() and signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING),
        after_in_parent=take_signals,
    )


def take_signals() -> None:
    """Take the signals that ask this process to end, also those that came before."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


class _Identity:
    """Under which name this process writes its metrics; reading it costs no system call."""

    def __init__(self) -> None:
        self.name = str(os.getpid())
        self.lock: IO[str] | None = None  # open for as long as the process lives
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.name, self.lock = str(os.getpid()), None


_identity = _Identity()


def use_slots() -> None:
    """Let metrics that are made from now on be written under slots, where there is a folder.

    Has to be called before the first metric is made. This is prometheus_client's own switch for
    servers whose workers have numbers.
    """
    if FOLDER in os.environ:
        prometheus_client.values.ValueClass = placed_values(_identity)


def take_slot() -> None:
    """Give this process the lowest slot that is free. Called in a worker, after the fork."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    for number in count():
        name = f"{_PREFIX}{number}"
        try:
            stream = Path(folder, f"{name}.lock").open("a+")  # noqa: SIM115 (open until the end)
        except OSError:
            return
        if _lock(stream):
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            _forget_gauges(name, folder)  # of a worker that nobody buried
            _identity.name, _identity.lock = name, stream
            return
        stream.close()


def bury(pid: int) -> None:
    """Forget the gauges of the process ``pid``, which is dead; its counters stay."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    _forget_gauges(str(pid), folder)
    for number, owner in _slots(folder):
        if owner == pid:
            name = f"{_PREFIX}{number}"
            with Path(folder, f"{name}.lock").open("a+") as stream:
                if _lock(stream):  # else a new worker has it already, and has done this
                    _forget_gauges(name, folder)


def _lock(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _forget_gauges(name: str, folder: str) -> None:
    mark_process_dead(name, folder)  # type: ignore[no-untyped-call]


def _slots(folder: str) -> list[tuple[int, int]]:
    """Slots and the process that had each of them last, by number."""
    found = []
    for path in Path(folder).glob(f"{_PREFIX}*.lock"):
        try:
            found.append((int(path.stem.removeprefix(_PREFIX)), int(path.read_text())))
        except (OSError, ValueError):  # taken at this moment
            continue
    return sorted(found)


class ProcessCollector:
    """What the living workers and their master use, read from /proc when it is asked for.

    The label ``worker`` is the slot, or ``master``. Without slots or without /proc it has nothing.
    """

    def collect(self) -> Iterator[Metric]:
        """The metrics of prometheus_client's collector for one process, by worker."""
        names = ("worker",)
        memory = GaugeMetricFamily(
            "process_resident_memory_bytes", "Resident memory of a process", labels=names
        )
        cpu = CounterMetricFamily(
            "process_cpu_seconds", "User and system time of a process", labels=names
        )
        started = GaugeMetricFamily(
            "process_start_time_seconds", "When a process started, since 1970", labels=names
        )
        threads = GaugeMetricFamily("process_threads", "Threads of a process", labels=names)
        files = GaugeMetricFamily("process_open_fds", "Open file descriptors", labels=names)
        for worker, pid in self._processes():
            try:
                usage = _usage(pid)
            except (OSError, ValueError, IndexError):  # gone
                continue
            memory.add_metric((worker,), usage["memory"])
            cpu.add_metric((worker,), usage["cpu"])
            started.add_metric((worker,), usage["started"])
            threads.add_metric((worker,), usage["threads"])
            files.add_metric((worker,), usage["files"])
        limit = GaugeMetricFamily("process_max_fds", "File descriptors that one process may open")
        limit.add_metric((), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        yield from (memory, cpu, started, threads, files, limit)

    def _processes(self) -> list[tuple[str, int]]:
        folder = os.environ.get(FOLDER)
        workers = [(str(slot), pid) for slot, pid in _slots(folder)] if folder else []
        return [("master", os.getppid()), *workers] if workers else []


def _usage(pid: int) -> dict[str, float]:
    """What a process uses: bytes, seconds, numbers. Raises OSError when it is gone."""
    proc = Path("/proc", str(pid))
    # the name, in parentheses, may hold anything; the fields behind it are counted from 3
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return {
        "cpu": (int(fields[11]) + int(fields[12])) / ticks,
        "threads": int(fields[17]),
        "started": _boot_time() + int(fields[19]) / ticks,
        "memory": int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        "files": len(os.listdir(proc / "fd")),  # noqa: PTH208 (names are enough)
    }


def _boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime"):
            return float(line.split()[1])
    return 0.0


def register(registry: Any) -> None:
    """Add the metrics of the processes to a registry of prometheus_client."""
    registry.register(ProcessCollector())
