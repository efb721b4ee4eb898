"""The comparison with peers: how it measures, compares and reports. The tests start no peer."""

import json
import re
import socket
import sys
import threading
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.load.constant import ANSWER, BODY, serve
from benchmarks.peers import __main__ as comparison
from benchmarks.peers.__main__ import cell, goals, measure, plain
from benchmarks.peers.cases import CASES, GRAPH, SMALL, Ask, mixed
from benchmarks.peers.measure import PeerError, ask, connect, one_by_one, side_by_side
from benchmarks.peers.servers import PEERS
from scripts.supervise import Failure, Say, Supervisor

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"
REQUEST = Ask(SMALL, {"id": "1"}).encode()
LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"x" * 300_000


def serve_constant(answer=ANSWER, delay=0.0):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=serve, args=(listener, delay, answer), daemon=True).start()
    return listener.getsockname()[1]


def test_an_answer_is_read_to_its_end():
    with connect(serve_constant()) as sock:
        assert ask(sock, REQUEST) == BODY
        assert ask(sock, REQUEST) == BODY


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_an_unexpected_answer_ends_the_comparison(answer):
    with connect(serve_constant(answer)) as sock, pytest.raises(PeerError, match="unexpected"):
        ask(sock, REQUEST)


def test_durations_hold_the_servers_delay():
    port = serve_constant(delay=0.02)

    assert 0.02 <= one_by_one(port, repeat(REQUEST), 0.2) < 2
    assert 16 / 2 < side_by_side(port, repeat(REQUEST), 0.2) <= 16 / 0.02


def test_mixed_requests_repeat_themselves():
    first = [question.encode() for question, _ in zip(mixed(), range(500), strict=False)]
    again = [question.encode() for question, _ in zip(mixed(), range(500), strict=False)]

    assert first == again
    assert len(set(first)) > 50


def test_ids_are_told_apart_as_texts_and_asked_for_as_a_peer_has_them():
    assert plain({"b": [{"id": 1}], "a": 2}) == plain({"a": 2, "b": [{"id": "1"}]})
    assert plain({"a": "1"}) != plain({"a": 1})

    content = json.loads(Ask(SMALL, {"id": "7"}).encode(integers=True).partition(b"\r\n\r\n")[2])
    assert content["variables"] == {"id": 7}
    assert "$id: Int!" in content["query"]
    assert b"no-store" in Ask(GRAPH, {}).encode(no_store=True)


def test_the_table_has_ratios_within_rounds_and_the_goals():
    pcf = PEERS[0].name
    mercurius = next(peer for peer in PEERS if peer.package == "mercurius")
    case = next(case for case in CASES if case.name == "graph, uncached")
    figures = {
        (pcf, case.name): [(0.010, 100.0), (0.020, 50.0), (0.010, 100.0)],
        (mercurius.name, case.name): [(0.020, 40.0), (0.040, 20.0), (0.012, 90.0)],
    }

    assert cell(figures, PEERS[0], case) == "10.00 ms, 100/s"
    assert cell(figures, mercurius, case) == "20.00 ms (2.00x), 40/s"
    assert cell(figures, PEERS[2], case) == "-"
    assert goals(figures) == ["graph, uncached: 0.500 of Mercurius's time, goal 0.800: reached"]


@pytest.mark.parametrize(
    "of_pcf", [None, [], [(0.0, 100.0)], [(0.010, 0.0)], [(0.010, 100.0), (0.0, 0.0)]]
)
def test_a_comparison_without_figures_of_pcf_fails(of_pcf):
    case = next(case for case in CASES if case.name == "graph, uncached")
    mercurius = next(peer for peer in PEERS if peer.package == "mercurius")
    figures = {(mercurius.name, case.name): [(0.020, 40.0)] * len(of_pcf or [1])}
    if of_pcf is not None:
        figures[PEERS[0].name, case.name] = of_pcf

    for peer in (PEERS[0], mercurius):
        with pytest.raises(Failure, match="PCF, graph, uncached: no answers were measured"):
            cell(figures, peer, case)
    with pytest.raises(Failure, match="no answers were measured"):
        goals(figures)


@pytest.mark.parametrize(("seconds", "rate"), [(0.0, 100.0), (0.010, 0.0)])
def test_a_measurement_of_zero_ends_the_comparison(monkeypatch, seconds, rate):
    monkeypatch.setattr(comparison, "one_by_one", lambda *_: seconds)
    monkeypatch.setattr(comparison, "side_by_side", lambda *_: rate)
    supervisor = Supervisor(Say(sys.stderr))
    running = SimpleNamespace(ports={PEERS[0]: 1})
    with pytest.raises(Failure, match="PCF, small, uncached: no answers were measured"):
        measure(running, 1, supervisor.say, supervisor)


def test_installed_packages_are_pinned_and_name_no_registry():
    package = json.loads((HERE / "node" / "package.json").read_text())
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", v) for v in package["dependencies"].values())
    assert not list(HERE.rglob("*lock*"))
    assert not list(HERE.rglob("node_modules"))

    requirements = (HERE / "requirements.txt").read_text()
    assert "--hash=sha256:" in requirements
    assert "://" not in requirements
