"""The metrics of all worker processes together, and what each process uses.

prometheus_client writes the metrics of each process to files, named after the process. Files named
after process ids would stay for ever when workers are replaced, because counters must not fall. So
a worker takes a *worker number*. It opens the files of the last worker with that number, and
continues their counters. There are as many files as workers at one time.

A worker number is a locked file in the metrics folder. The kernel releases the lock when the
process ends, for whatever reason. So two living processes never have the same number, even under
two gunicorn masters that share the folder (SIGUSR2).

When the folder is not writable, a worker writes under its process id, as prometheus_client does.
"""

import fcntl
import os
import resource
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import mark_process_dead

from pcf._compat import prometheus

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "worker"


class _ProcessName:
    """The name under which this process writes its metrics; reading it needs no system call."""

    def __init__(self) -> None:
        self.name = str(os.getpid())
        self.lock: IO[str] | None = None  # open until the process ends
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self.name, self.lock = str(os.getpid()), None


_process = _ProcessName()


def use_worker_files() -> None:
    """Write metrics that are made from now on to the worker's files, if there is a metrics folder.

    The first metric must not exist yet.
    """
    if FOLDER_VARIABLE in os.environ:
        prometheus.use_mapped_values(_process)


def take_worker_number() -> None:
    """Give this process the lowest free worker number; called in a worker after the fork."""
    folder = os.environ.get(FOLDER_VARIABLE)
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
            _remove_gauges(name, folder)  # of a worker whose end the master has not seen
            _process.name, _process.lock = name, stream
            return
        stream.close()


def forget_process(pid: int) -> None:
    """Remove the gauges of the process ``pid``, which has ended; keep its counters."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return
    _remove_gauges(str(pid), folder)
    for number, owner in _worker_numbers(folder):
        if owner == pid:
            name = f"{_PREFIX}{number}"
            with Path(folder, f"{name}.lock").open("a+") as stream:
                if _lock(stream):  # else a new worker has the number and has removed them
                    _remove_gauges(name, folder)


def _lock(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_gauges(name: str, folder: str) -> None:
    mark_process_dead(name, folder)  # type: ignore[no-untyped-call]


def _worker_numbers(folder: str) -> list[tuple[int, int]]:
    """Return pairs of a worker number and the process id that had it last."""
    found = []
    for path in Path(folder).glob(f"{_PREFIX}*.lock"):
        try:
            found.append((int(path.stem.removeprefix(_PREFIX)), int(path.read_text())))
        except (OSError, ValueError):  # a worker takes the number at this moment
            continue
    return sorted(found)


class ProcessCollector:
    """Metrics of the living workers and their master, read from /proc when Prometheus asks.

    The label ``worker`` is the worker number, or ``master``. Without worker numbers or without
    /proc there is the limit of file descriptors alone.
    """

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of prometheus_client's ProcessCollector, by worker."""
        names = ("worker",)
        memory = GaugeMetricFamily(
            "process_resident_memory_bytes", "Resident memory of a process", labels=names
        )
        cpu = CounterMetricFamily(
            "process_cpu_seconds", "User and system time of a process", labels=names
        )
        started = GaugeMetricFamily(
            "process_start_time_seconds", "Unix time at which a process started", labels=names
        )
        threads = GaugeMetricFamily("process_threads", "Threads of a process", labels=names)
        files = GaugeMetricFamily("process_open_fds", "Open file descriptors", labels=names)
        for worker, pid in self._processes():
            try:
                usage = _usage(pid)
            except (OSError, ValueError, IndexError):  # the process has ended
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
        folder = os.environ.get(FOLDER_VARIABLE)
        workers = [(str(number), pid) for number, pid in _worker_numbers(folder)] if folder else []
        return [("master", os.getppid()), *workers] if workers else []


def _usage(pid: int) -> dict[str, float]:
    """Return the memory (bytes), CPU time and start time (seconds), and counts of a process.

    Raises OSError when the process has ended. See proc_pid_stat(5).
    """
    proc = Path("/proc", str(pid))
    # The second field is the name in parentheses, which may hold spaces. Index 0 is the third.
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
