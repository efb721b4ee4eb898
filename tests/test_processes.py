"""Slots: what a worker leaves in the folder of the metrics, and who goes on with it."""

import platform
import struct
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from pcf import processes

WORKER = """
import sys
from pcf.processes import take_slot, use_slots
use_slots()
from prometheus_client import Counter, Gauge
counter, gauge = Counter("c", "c"), Gauge("g", "g", multiprocess_mode="livesum")
take_slot()
counter.inc()
gauge.inc()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def worker(folder):
    """Start a process that takes a slot and counts once."""
    running = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        end(process)


def end(process):
    process.kill()
    process.communicate()


def test_a_number_is_never_seen_half_written(folder):
    """Others read the files whenever they like; a counter that seemed to fall would be a reset."""
    writer = """
from pcf.processes import take_slot, use_slots
use_slots()
from prometheus_client import Counter
take_slot()
counter = Counter("c", "c")
counter.inc()
print("ready", flush=True)
while True:
    counter.inc()
"""
    process = subprocess.Popen([sys.executable, "-c", writer], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        path = next(folder.glob("counter_*.db"))
        last = 0.0
        with path.open("rb", buffering=0) as stream:
            numbers = MmapedDict(str(path), read_mode=True)
            number = next(at for *_, at in numbers._read_all_values())
            numbers.close()
            for _ in range(100_000):
                stream.seek(number)
                (seen,) = struct.unpack("d", stream.read(8))
                assert seen >= last
                last = seen
        assert last > 1
    finally:
        end(process)


def values(folder):
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    text = generate_latest(registry).decode()
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line[0] != "#"}


def test_living_workers_have_slots_of_their_own(folder, worker):
    worker(), worker()
    assert values(folder) == {"c_total": 2, "g": 2}
    assert sorted(path.stem for path in folder.glob("*.lock")) == ["worker0", "worker1"]


def test_a_new_worker_counts_on_where_the_dead_one_stopped(folder, worker):
    other = worker()
    for _ in range(4):
        end(worker())
    assert values(folder)["c_total"] == 5
    assert len(list(folder.glob("counter_worker*.db"))) == 2
    worker()
    assert values(folder) == {"c_total": 6, "g": 2}  # the gauges of the dead are gone
    end(other)


def test_the_gauges_of_a_dead_worker_vanish_when_it_is_buried(folder, worker):
    first, second = worker(), worker()
    end(first)
    processes.bury(first.pid)
    assert values(folder) == {"c_total": 2, "g": 1}
    processes.bury(second.pid)  # lives, so nothing happens
    assert values(folder) == {"c_total": 2, "g": 1}


def test_a_worker_that_took_over_is_not_buried_with_its_predecessor(folder, worker):
    first = worker()
    end(first)
    worker()
    processes.bury(first.pid)
    assert values(folder)["g"] == 1


def test_without_a_folder_there_are_no_slots(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    processes.use_slots()
    processes.take_slot()
    processes.bury(1)
    assert [metric.name for metric in processes.ProcessCollector().collect() if metric.samples] == [
        "process_max_fds"
    ]


def test_what_living_workers_use(folder, worker):
    first, second = worker(), worker()
    end(first)

    def used(name):
        for metric in processes.ProcessCollector().collect():
            if metric.name == name:
                return {sample.labels["worker"]: sample.value for sample in metric.samples}
        raise AssertionError(name)

    for name in ("process_resident_memory_bytes", "process_threads", "process_open_fds"):
        assert set(used(name)) == {"master", "1"}  # worker 0 is dead
        assert used(name)["1"] > 0
    assert used("process_cpu_seconds")["1"] >= 0
    assert used("process_start_time_seconds")["1"] > 1e9
    end(second)


THREADS = """
import ctypes, sys
from threading import Barrier, Thread
from pcf.processes import limit_arenas
if sys.argv[1] == "limited":
    limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = ctypes.c_int, ctypes.c_void_p
libc.fclose.argtypes = ctypes.c_void_p,
together = Barrier(8)
def work():
    together.wait()
    libc.malloc(10_000)
    together.wait()
threads = [Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""


def test_threads_share_the_pools_of_the_c_library(tmp_path):
    def arenas(how):
        told = tmp_path / how
        subprocess.run([sys.executable, "-c", THREADS, how, told], check=True)
        return told.read_text().count("<heap nr=")

    if platform.libc_ver()[0] == "glibc":
        assert arenas("limited") <= processes.ARENAS < arenas("as it comes")
    else:
        processes.limit_arenas()  # has nothing to do, and does not fail


HOLES = """
import os
from pathlib import Path
from pcf.processes import give_back_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
blocks = [bytes(20_000) for _ in range(5_000)]
for number in range(len(blocks)):
    if number % 50:
        blocks[number] = None
before = resident()
give_back_memory()
print(before - resident())
"""


def test_memory_that_was_freed_is_given_back():
    """100 MB with holes, of which 2 MB are in use."""
    told = subprocess.run(
        [sys.executable, "-c", HOLES], check=True, capture_output=True, text=True
    ).stdout
    if platform.libc_ver()[0] == "glibc":
        assert int(told) > 50_000_000
    else:
        assert told  # nothing to call, and no failure


# --- signals

FORKING = """
import os, signal, sys
from pcf.processes import hold_signals_over_forks, take_signals

told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(os.getpid()))
if sys.argv[1] == "held":
    hold_signals_over_forks()
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGTERM)  # as a master does that ends at once
    copied = list(told)  # what the copy of the master's handler was told
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    take_signals()
    os._exit(1 if copied else 0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
os.kill(os.getpid(), signal.SIGTERM)
print(status, told == [os.getpid()])
"""


@pytest.mark.parametrize(("how", "status"), [("held", "7"), ("not held", "1")])
def test_a_new_process_hears_what_asked_it_to_end_before_it_listened(how, status):
    """Status 7 is that of its own handler; 1 says that a copy of the master's took the signal."""
    found = subprocess.run(
        [sys.executable, "-c", FORKING, how], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == [status, "True"]
