"""Worker numbers: the files in the metrics folder, and the workers that continue them."""

import struct
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from pcf.observability import multiprocess

WORKER = """
import sys
from pcf.observability.multiprocess import take_worker_number, use_worker_files
use_worker_files()
from prometheus_client import Counter, Gauge
counter, gauge = Counter("c", "c"), Gauge("g", "g", multiprocess_mode="livesum")
take_worker_number()
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
    """``worker()`` starts a process that takes a worker number and counts once."""
    running = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for each in running:
        end(each)


def end(process):
    process.kill()
    process.communicate()


def test_another_process_never_reads_half_of_a_number(folder):
    """Prometheus takes a counter that seems to fall for a restart."""
    writer = """
from pcf.observability.multiprocess import take_worker_number, use_worker_files
use_worker_files()
from prometheus_client import Counter
take_worker_number()
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


def test_each_living_worker_has_its_own_number(folder, worker):
    worker(), worker()
    assert values(folder) == {"c_total": 2, "g": 2}
    assert sorted(path.stem for path in folder.glob("*.lock")) == ["worker0", "worker1"]


def test_a_new_worker_continues_the_counters_of_an_ended_one(folder, worker):
    other = worker()
    for _ in range(4):
        end(worker())
    assert values(folder)["c_total"] == 5
    assert len(list(folder.glob("counter_worker*.db"))) == 2
    worker()
    assert values(folder) == {"c_total": 6, "g": 2}  # without the gauges of ended workers
    end(other)


def test_forget_process_removes_the_gauges_of_an_ended_worker(folder, worker):
    first, second = worker(), worker()
    end(first)
    multiprocess.forget_process(first.pid)
    assert values(folder) == {"c_total": 2, "g": 1}
    multiprocess.forget_process(second.pid)  # the process lives, so its gauge stays
    assert values(folder) == {"c_total": 2, "g": 1}


def test_forget_process_keeps_the_gauges_of_the_next_worker_with_the_number(folder, worker):
    first = worker()
    end(first)
    worker()
    multiprocess.forget_process(first.pid)
    assert values(folder)["g"] == 1


def test_without_a_folder_there_are_no_worker_numbers(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    multiprocess.use_worker_files()
    multiprocess.take_worker_number()
    multiprocess.forget_process(1)
    assert [
        metric.name for metric in multiprocess.ProcessCollector().collect() if metric.samples
    ] == ["process_max_fds"]


def test_the_process_metrics_of_living_workers(folder, worker):
    first, second = worker(), worker()
    end(first)

    def used(name):
        for metric in multiprocess.ProcessCollector().collect():
            if metric.name == name:
                return {sample.labels["worker"]: sample.value for sample in metric.samples}
        raise AssertionError(name)

    for name in ("process_resident_memory_bytes", "process_threads", "process_open_fds"):
        assert set(used(name)) == {"master", "1"}  # worker 0 has ended
        assert used(name)["1"] > 0
    assert used("process_cpu_seconds")["1"] >= 0
    assert used("process_start_time_seconds")["1"] > 1e9
    end(second)
