"""The load test: requests, schedule, counts, verdict and report."""

import json
import os
import re
import socket
import threading
from argparse import ArgumentTypeError
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load import observe, sweep, tuning
from benchmarks.load.checks import judge, verdict
from benchmarks.load.client import Batch, Client, Request, Sample, Schedule, clock, pack, unpack
from benchmarks.load.constant import ANSWER, serve
from benchmarks.load.generator import Load
from benchmarks.load.histogram import Histogram
from benchmarks.load.mix import Kind, MixError, Requests, World, read_mix
from benchmarks.load.outcome import Outcome, ProcessSamples, Report
from benchmarks.load.report import write
from benchmarks.load.results import Results
from benchmarks.load.service import listeners
from benchmarks.load.sessions import Viewer
from scripts.supervise import Failure

ROOT = Path(__file__).resolve().parents[2]
MIX = ROOT / "benchmarks" / "load" / "mix.toml"
WORLD = World(["1", "2", "3"], ["4", "5"], ["red", "blue"], [Viewer("secret", ["4"])])
ADDRESS = ("127.0.0.1", 80, "/graphql")


@pytest.fixture
def mix():
    return read_mix(MIX)


# --- percentiles


@given(st.lists(st.integers(0, 10**8), min_size=1), st.floats(0, 100))
def test_percentiles_are_those_of_the_sorted_values_to_three_digits(values, percent):
    histogram = Histogram()
    for value in values:
        histogram.record(value)

    rank = max(1, -int(-(len(values) * percent / 100 - 1e-9) // 1))
    true = sorted(values)[rank - 1]
    assert true <= histogram.percentile(percent) <= true + true / 1024
    assert histogram.mean == pytest.approx(sum(values) / len(values))


def test_histograms_add_up():
    parts = [Histogram() for _ in range(3)]
    for value in range(3_000):
        parts[value % 3].record(value)

    whole = Histogram.of(parts)
    assert whole.count == 3_000
    assert whole.percentiles(50, 99, 100) == [1_499, 2_969, 2_999]  # to 1 in 1,024 above 2,047


@given(
    st.integers(0, 2**20 - 1),
    st.integers(0, 255),
    st.integers(0, 2),
    st.integers(0, 63),
    st.integers(0, 2**26 - 1),
)
def test_a_sample_survives_its_packing(second, kind, cache, outcome, micros):
    number = pack(second, kind, cache, outcome, micros)

    assert number < 2**64
    assert unpack(number) == Sample(second, kind, cache, outcome, micros)


# --- the mix


def take(requests, count):
    return [request for request, _ in zip(requests, range(count), strict=False)]


def test_the_same_seed_sends_the_same_requests(mix):
    def sequence(seed):
        return take(iter(Requests(mix, WORLD, ADDRESS, seed)), 200)

    assert sequence("1/0") == sequence("1/0")
    assert sequence("1/0") != sequence("2/0")
    assert sequence("1/0") != sequence("1/1")  # another process of the same run


def test_requests_are_whole_http_with_drawn_variables(mix):
    for number, data, _ in take(iter(Requests(mix, WORLD, ADDRESS, "1/0")), 500):
        head, _, body = data.partition(b"\r\n\r\n")
        content = json.loads(body)
        kind = mix.kinds[number]
        assert f"Content-Length: {len(body)}".encode() in head
        assert content["query"] == kind.document
        assert "$" not in json.dumps(content.get("variables"))
        assert set(content.get("variables", {})) == set(kind.variables)
        assert b"Bearer secret" in head or kind.viewer == "any"
        assert b"X-Forwarded-For: 198.18." in head  # one of many clients behind a proxy


def test_weights_decide_how_often(mix):
    kinds = Counter(
        mix.kinds[request.kind].name
        for request in take(iter(Requests(mix, WORLD, ADDRESS, "1/0")), 20_000)
    )
    sent = [kind for kind in mix.kinds if kind.group != "session"]  # WORLD has no sessions
    weight = sum(kind.weight for kind in sent)
    for kind in sent:
        expected = 20_000 * kind.weight / weight
        assert abs(kinds[kind.name] - expected) < 6 * expected**0.5 + 1


def test_without_tokens_no_request_writes(mix):
    world = World(WORLD.users, WORLD.notes, WORLD.tags, [])
    sent = take(iter(Requests(mix, world, ADDRESS, "1/0")), 1_000)

    assert not [each for each in sent if mix.kinds[each.kind].is_write]
    assert not [each for each in sent if b"Authorization" in each.data]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight = 34", "weight = 0", "weight > 0"),
        ('"$note"', '"$nothing"', r"\$nothing is none of"),
        ('group = "list"', 'group = "lists"', "group"),
        ("[targets]", "[target]", "targets"),
        ('viewer = "token"\nweight = 0.6', "weight = 0.6", "a write needs"),
    ],
)
def test_a_wrong_mix_is_refused(tmp_path, old, new, message):
    path = tmp_path / "mix.toml"
    assert old in MIX.read_text()
    path.write_text(MIX.read_text().replace(old, new))

    with pytest.raises(MixError, match=message):
        read_mix(path)


# --- the client


def _answer(status, body):
    return b"HTTP/1.1 %s X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def serve_constant(delay=0.0, answer=ANSWER):
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threading.Thread(target=serve, args=(listener, delay, answer), daemon=True).start()
    return listener.getsockname()


def endless(kinds=1):
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    number = 0
    while True:
        yield Request(number % kinds, request)
        number += 1


def load(address, *, rate=200.0, seconds=1.0, connections=4, timeout=20.0):
    """Run one client; return its samples and the names of outcomes."""
    batches: list[Batch] = []
    client = Client(address, endless(), batches.append, connections=connections, timeout=timeout)
    client.run(Schedule(clock() + 0.05, rate, seconds))
    names = batches[-1].outcomes
    return [unpack(number) for batch in batches for number in batch.samples], names


def test_every_request_of_the_schedule_is_sent_and_counted_once():
    schedules = [Schedule(100.0, 30.0, 2.0, index, 3) for index in range(3)]
    times = sorted(when for schedule in schedules for when in schedule.times())
    assert times == pytest.approx([100.0 + number / 30 for number in range(60)])

    rising = list(Schedule(100.0, 40.0, 1.0, warm_up=2.0).times())
    assert len(rising) == 40 + 40  # a triangle and a rectangle
    assert rising[40:] == pytest.approx([102.0 + number / 40 for number in range(40)])
    assert sum(when < 101.0 for when in rising) == 10  # a quarter of the triangle
    assert rising == sorted(rising)

    samples, names = load(serve_constant())
    assert len(samples) == 200
    assert {names[sample.outcome] for sample in samples} == {"ok"}
    assert {sample.cache for sample in samples} == {1}


def test_durations_hold_the_servers_delay():
    samples, _ = load(serve_constant(delay=0.03), rate=50)

    histogram = Histogram()
    for sample in samples:
        histogram.record(sample.micros)
    assert histogram.count == 50
    assert histogram.percentile(0) >= 30_000


def test_requests_that_had_to_wait_count_their_waiting():
    """With one connection and 100 ms an answer, the n-th request ends after n x 100 ms."""
    samples, _ = load(serve_constant(delay=0.1), rate=400, seconds=0.05, connections=1)

    durations = sorted(sample.micros for sample in samples)
    assert len(durations) == 20
    # the intended time of the last one is 47.5 ms after the first
    assert all(micros >= (n + 1) * 100_000 - 47_500 for n, micros in enumerate(durations))


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (_answer(b"503", b""), "503"),
        (_answer(b"200", b'{"errors":[{"extensions":{"code":"TIMEOUT"}}]}'), "200 TIMEOUT"),
        (_answer(b"200", b'{"userErrors":[{"code":"TAKEN"}]}'), "user error TAKEN"),
        (b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", "no Content-Length"),
    ],
)
def test_failures_are_counted_by_kind(answer, name):
    samples, names = load(serve_constant(answer=answer), rate=20)

    assert [names[sample.outcome] for sample in samples] == [name] * 20


def test_a_server_that_does_not_answer_is_a_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        samples, names = load(silent.getsockname(), rate=10, seconds=0.5, timeout=0.2)

    assert [names[sample.outcome] for sample in samples] == ["timeout"] * 5


# --- the verdict and the report


def results_of(mix, *, micros=1_000, count=1_000, failures=0, hits=800):
    results = Results(mix.kinds)
    samples = [
        pack(number % 10, 0, 1 if number < hits else 2, 1 if number < failures else 0, micros)
        for number in range(count)
    ]
    results.take(0, Batch(samples, [10] * count, ["ok", "timeout"], 0, 0.5))
    return results


def outcome_of(mix, **differences):
    measured = {"batch_efficiency": 9.0, "growth": 0.01}
    growth = differences.pop("growth", measured["growth"])
    batch_efficiency = differences.pop("batch_efficiency", measured["batch_efficiency"])
    results = results_of(mix, **differences)
    checks = judge(
        results,
        mix.targets,
        rate=100,
        seconds=10,
        batch_efficiency=batch_efficiency,
        growth=growth,
    )
    loaders = [("users.UserById", 900, 100)]
    loaded = Load(rate=100, seconds=10)
    seen = ProcessSamples(
        memory=[(n, {1: 80_000_000}) for n in range(10)], workers=[(0, 1.0), (9, 10.0)]
    )
    return Outcome(loaded, results, seen, checks, loaders, batch_efficiency, growth)


def missed(outcome):
    return [check.name for check in outcome.checks if check.passed is False]


def test_a_good_run_meets_every_target(mix):
    outcome = outcome_of(mix)

    assert missed(outcome) == []
    assert verdict(outcome.checks)


@pytest.mark.parametrize(
    ("difference", "name"),
    [
        ({"micros": 25_100}, "P99"),
        ({"failures": 2}, "success"),
        ({"hits": 500}, "hit rate"),
        ({"batch_efficiency": 5.0}, "batch efficiency"),
        ({"count": 989}, "rate kept"),
        ({"growth": 0.1, "count": 100_000, "hits": 60_000}, "memory of the workers"),
    ],
)
def test_each_target_can_be_missed(mix, difference, name):
    outcome = outcome_of(mix, **difference)

    assert missed(outcome) == [name]
    assert not verdict(outcome.checks)


def test_memory_is_not_judged_by_few_requests(mix):
    outcome = outcome_of(mix, growth=0.5)

    assert [check.passed for check in outcome.checks if "memory" in check.name] == [None]
    assert verdict(outcome.checks)


def test_the_warm_up_is_shown_and_not_counted(mix):
    results = Results(mix.kinds, warm_up=4)
    samples = [pack(second, 0, 1, 0, 1_000) for second in range(10)]
    results.take(0, Batch(samples, [], ["ok"], 0, 0.0))

    assert len(results.seconds) == 10
    assert results.total().count == 6


def test_the_report_has_the_numbers_and_no_references(mix, tmp_path):
    outcome = outcome_of(mix, micros=12_340, failures=3)
    report = Report("made up", datetime.now(UTC), mix, [outcome], None, {1: 50_000_000})

    numbers = write(tmp_path / "report.html", report)

    page = (tmp_path / "report.html").read_text()
    for text in ("12.3 ms", "99.70%", "80.0%", "users.UserById", "timeout", "50 MB", "missed"):
        assert text in page
    assert page.count("<svg") == 4
    assert not re.search(r"(src|href)=|https?://|@import|url\(", page)
    assert numbers["loads"][0]["all"]["p99"] == pytest.approx(12.34, rel=0.002)
    assert numbers["loads"][0]["outcomes"] == {"ok": 997, "timeout": 3}


def test_the_report_of_a_search_shows_its_steps(mix, tmp_path):
    outcomes = [outcome_of(mix), outcome_of(mix, micros=400_000)]
    outcomes[1].load = Load(rate=200, seconds=10)
    report = Report("made up", datetime.now(UTC), mix, outcomes, 100.0, {})

    write(tmp_path / "report.html", report)

    page = (tmp_path / "report.html").read_text()
    assert "100 requests/s with P99 below 200 ms" in page
    assert "Durations over the rate" in page


def test_a_sweep_adds_up_the_rounds_of_each_value():
    assert sweep.parse("THREADS=2,8") == ("THREADS", ["2", "8"])
    for wrong in ("THREADS", "THREADS=", "=1"):
        with pytest.raises(ArgumentTypeError):
            sweep.parse(wrong)

    row = sweep.Row("8", Histogram(), failures=1, hits=3, queries=4, processor=0.4)
    row.memory = [40_000_000, 60_000_000]
    for _ in range(100):
        row.durations.record(2_000)
    assert row.cells() == ["8", "2 ms", "2 ms", "1.00%", "75%", "4.00 ms", "50 MB"]


def test_tables_go_between_their_markers_in_the_documentation():
    page = (ROOT / "docs" / "performance.md").read_text()
    for name in tuning.SWEEPS:
        assert f"| {name} |" in tuning.put(page, name, f"| {name} |")

    once = tuning.put(page, "THREADS", "| new |")
    assert tuning.put(once, "THREADS", "| new |") == once
    with pytest.raises(Failure, match="no markers"):
        tuning.put(page, "NOTHING", "")


# --- the service seen from outside


def test_the_growth_of_counters_and_the_efficiency_of_batches():
    before = observe.parse_metrics('dataloader_batch_size_sum{loader="a"} 10.0\nx 1\n# HELP x\n')
    after = observe.parse_metrics(
        'dataloader_batch_size_sum{loader="a"} 70.0\ndataloader_batch_size_count{loader="a"} 10.0\n'
    )

    assert observe.grown(before, after, "dataloader_batch_size_sum") == {'loader="a"': 60.0}
    assert observe.efficiency(before, after) == (6.0, [("a", 60, 10)])
    assert observe.efficiency(after, after) == (None, [])


def test_the_listening_process_is_found():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = listeners("127.0.0.1", listener.getsockname()[1])
        assert os.getpid() in found
        assert observe.usage(found).resident[os.getpid()] > 1_000_000
        assert observe.unshared(found)[os.getpid()] > 1_000_000


def test_kinds_that_write_are_told_apart():
    assert Kind("x", "write", 1, "mutation { x }", "token").is_write
    assert not Kind("x", "list", 1, "{ x }").is_write
