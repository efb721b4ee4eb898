"""The workers of a service: process ids, file descriptors, memory, metrics."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import Server

PATIENCE = 60.0  # seconds after which a test has failed
UNBOUNDED = {"PCF_RATES_ENABLED": "0", "PCF_REQUESTS_MAX_CONCURRENT": "0"}


def workers_of(server: Server) -> set[int]:
    """Return the process ids of the workers."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid) for pid, parent in rows if int(parent) == server.process.pid}


def booted(server: Server) -> int:
    """Return the number of workers that the service has started."""
    return server.logged().count("Booting worker")


def descriptors(server: Server) -> int:
    """Return the number of open file descriptors of all workers."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in workers_of(server))  # noqa: PTH208


def resident(server: Server) -> int:
    """Return the resident memory of all workers in kilobytes."""
    total = 0
    for pid in workers_of(server):
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    return total


def cpu_seconds(server: Server) -> float:
    """Return the processor time of all workers in seconds."""
    ticks = 0
    for pid in workers_of(server):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def ended(server: Server, reason: str) -> float:
    """Return the number of connections that the service has ended by this limit."""
    text = server.get("/metrics")[2].decode()
    found = re.search(rf'^http_connections_ended_total{{.*"{reason}".*}} (\S+)', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_until(holds: Callable[[], object]) -> None:
    """Wait until ``holds()`` is true. Raise AssertionError when that takes too long."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.05)


def replace_workers(server: Server) -> None:
    """Replace all workers, and wait until the old ones have ended."""
    old = workers_of(server)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not old & workers_of(server) and len(workers_of(server)) == len(old))
