"""Contracts with prometheus_client 0.26: what ``pcf._compat.prometheus`` uses undocumented."""

import os
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as OriginalCounter
from prometheus_client import Histogram as OriginalHistogram

from pcf._compat.prometheus import Counter, Histogram

CHANGED = "prometheus_client changed"

PROGRAM = """
from types import SimpleNamespace
from pcf._compat import prometheus
process = SimpleNamespace(name="first")
prometheus.use_mapped_values(process)
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.multiprocess import MultiProcessCollector

counter = Counter("c", "c", ["a"])
gauge = Gauge("g", "g", multiprocess_mode="livesum")
for number in range(5_000):  # more than a file holds at first, so the file grows
    counter.labels(str(number)).inc()
counter.labels("0").inc(2)
process.name = "second"
counter.labels("0").inc(10)
gauge.set(3)
gauge.inc()
registry = CollectorRegistry()
MultiProcessCollector(registry)
value = registry.get_sample_value
print(value("c_total", {"a": "0"}), value("c_total", {"a": "4999"}), value("g"))
"""


def test_prometheus_client_writes_numbers_where_it_reads_them(tmp_path):
    """Across a growing file, and after the process gets another name."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["13.0", "1.0", "4.0"], f"{CHANGED} its files\n{done.stderr}"
    names = {path.name for path in tmp_path.glob("*.db")}
    assert {"counter_first.db", "counter_second.db", "gauge_livesum_second.db"} <= names, (
        f"{CHANGED} the names of its files"
    )


@pytest.mark.parametrize("amount", [-1, 0, 0.1, 0.2, 1, 1.5, 1e9])
def test_prometheus_client_puts_an_amount_into_the_same_bucket(amount):
    samples = []
    for cls in (Histogram, OriginalHistogram):
        histogram = cls("h", "h", buckets=(0.1, 1, 5), registry=CollectorRegistry())
        histogram.observe(amount)
        (family,) = histogram.collect()
        samples.append([s[:3] for s in family.samples if not s.name.endswith("_created")])
    assert samples[0] == samples[1], f"{CHANGED} Histogram"


def test_prometheus_client_counts_in_the_same_number():
    samples = []
    for cls in (Counter, OriginalCounter):
        counter = cls("c", "c", ("a",), registry=CollectorRegistry())
        counter.labels("x").inc()
        counter.labels("x").inc(2)
        (family,) = counter.collect()
        samples.append([s[:3] for s in family.samples if not s.name.endswith("_created")])
    assert samples[0] == samples[1] == [("c_total", {"a": "x"}, 3.0)], f"{CHANGED} Counter"
