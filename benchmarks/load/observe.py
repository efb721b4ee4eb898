"""The service seen from outside: its /metrics, and its processes in /proc (Linux)."""

import contextlib
import os
import re
import socket
import struct
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
_LINE = re.compile(r"([a-z_:0-9]+)(?:\{(.*)\})? (\S+)", re.IGNORECASE)
_LISTEN = "0A"  # of a line of /proc/net/tcp

Metrics = dict[str, dict[str, float]]  # name -> labels as written -> value


def parse_metrics(text: str) -> Metrics:
    """Parse samples in Prometheus's text format."""
    metrics: Metrics = defaultdict(dict)
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            with contextlib.suppress(ValueError):
                metrics[match[1]][match[2] or ""] = float(match[3])
    return dict(metrics)


def read_metrics(base_url: str) -> Metrics:
    """Return the samples of ``/metrics``; no samples if the page cannot be read."""
    try:
        with urllib.request.urlopen(f"{base_url}/metrics", timeout=10) as answer:  # noqa: S310 - http
            return parse_metrics(answer.read().decode())
    except (OSError, urllib.error.URLError, ValueError):
        return {}


def grown(before: Metrics, after: Metrics, name: str) -> dict[str, float]:
    """Return the growth of each series of a counter."""
    old = before.get(name, {})
    return {labels: value - old.get(labels, 0.0) for labels, value in after.get(name, {}).items()}


def efficiency(before: Metrics, after: Metrics) -> tuple[float | None, list[tuple[str, int, int]]]:
    """Return the keys a batch of all loaders together, and (loader, keys, batches) of each."""
    loads = grown(before, after, "dataloader_batch_size_sum")
    batches = grown(before, after, "dataloader_batch_size_count")
    rows = [
        (labels.partition('"')[2].rstrip('"'), int(loads.get(labels, 0)), int(count))
        for labels, count in sorted(batches.items())
        if count
    ]
    count = sum(row[2] for row in rows)
    return (sum(row[1] for row in rows) / count if count else None), rows


def listeners(host: str, port: int) -> list[int]:
    """Return the workers that listen on an IPv4 address of this machine, without their parent."""
    try:
        packed = struct.unpack("=I", socket.inet_aton(socket.gethostbyname(host)))[0]
        wanted = {f"{packed:08X}:{port:04X}", f"00000000:{port:04X}"}
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1] in wanted and row[3] == _LISTEN}
    found = [pid for pid in _processes() if _has(pid, sockets)] if sockets else []
    parents = {_parent(pid) for pid in found}
    return [pid for pid in found if pid not in parents] or found


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _has(pid: int, sockets: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(entry.readlink()) in sockets:
                    return True
    return False


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; field 3 of proc(5) has index 0."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    try:
        return int(_stat(pid)[1])
    except (OSError, ValueError):
        return 0


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources of a group of processes. A process that ended counts nothing."""

    resident: dict[int, int]  # bytes by process
    processor: float  # seconds so far

    @property
    def total(self) -> int:
        """Resident bytes of all processes; shared pages count once for each process."""
        return sum(self.resident.values())


def usage(pids: list[int]) -> Usage:
    """Return the memory and processor time of processes."""
    resident: dict[int, int] = {}
    processor = 0.0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            resident[pid] = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
            fields = _stat(pid)
            processor += (int(fields[11]) + int(fields[12])) / TICKS
    return Usage(resident, processor)


def unshared(pids: list[int]) -> dict[int, int]:
    """Return the bytes that belong to each process alone (USS), the cost of one more worker."""
    found: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            parts = re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", text, re.MULTILINE)
            found[pid] = sum(map(int, parts)) * 1024
    return found


def machine() -> tuple[float, float]:
    """Return the busy and the total seconds of all processors together since the boot."""
    fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / TICKS, sum(fields) / TICKS
