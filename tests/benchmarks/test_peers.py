"""The comparison with peers: how it measures, compares and reports. The tests start no peer."""

import json
import re
import select
import socket
import sys
import threading
from itertools import product
from pathlib import Path

import pytest

from benchmarks.load.constant import ANSWER, BODY, serve
from benchmarks.peers import __main__ as comparison
from benchmarks.peers.__main__ import PAGE, compare, measure, plain
from benchmarks.peers.cases import CHECKED, GRAPH, NOTE, Ask, cases
from benchmarks.peers.measure import PeerError, ask, connect, one_by_one, side_by_side
from benchmarks.peers.report import CONNECTIONS, ONE, cell, goals, notes, put, table, winners
from benchmarks.peers.servers import HERE, MERCURIUS, PCF, PEERS, YOGA, reason_without
from scripts.supervise import Failure, Say, Supervisor

REQUEST = Ask(NOTE, {"id": "1"}).encode()
POSTGRAPHILE = next(peer for peer in PEERS if peer.package == "postgraphile")
ROWS = [(case.name, connections) for case, connections in product(cases(()), CONNECTIONS)]


def serve_constant(answer=ANSWER, delay=0.0):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=serve, args=(listener, delay, answer), daemon=True).start()
    return listener.getsockname()[1]


def answer(value):
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def figures(pcf, mercurius):
    """The same figures by round in every row."""
    return {
        (peer.name, *row): values
        for peer, values in ((PCF, pcf), (MERCURIUS, mercurius))
        for row in ROWS
    }


def test_an_answer_is_read_to_its_end():
    with connect(serve_constant()) as sock:
        assert ask(sock, REQUEST) == BODY
        assert ask(sock, REQUEST) == BODY


def test_an_answer_larger_than_what_is_read_at_once():
    long = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"x" * 300_000
    port = serve_constant(long)

    with connect(port) as sock:
        assert ask(sock, REQUEST) == b"x" * 300_000
    assert side_by_side(port, [REQUEST], 0.1, 2) > 0


@pytest.mark.parametrize(
    "refused",
    [
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_an_unexpected_answer_ends_the_comparison(refused):
    with connect(serve_constant(refused)) as sock, pytest.raises(PeerError, match="unexpected"):
        ask(sock, REQUEST)


def test_a_connection_that_ends_within_an_answer_ends_the_comparison():
    listener = socket.create_server(("127.0.0.1", 0))

    def cut_off():
        with listener:
            for _ in range(2):
                with listener.accept()[0] as sock:
                    sock.recv(65536)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")

    server = threading.Thread(target=cut_off, daemon=True)
    server.start()
    port = listener.getsockname()[1]
    with connect(port) as sock, pytest.raises(PeerError, match="ended within"):
        ask(sock, REQUEST)
    with pytest.raises(PeerError, match="ended within"):
        side_by_side(port, [REQUEST], 0.1, 1)
    server.join(60)


def test_durations_hold_the_servers_delay():
    port = serve_constant(delay=0.02)

    assert 0.02 <= one_by_one(port, [REQUEST], 0.2) < 2
    assert 16 / 2 < side_by_side(port, [REQUEST], 0.2, 16) <= 16 / 0.02


def test_a_measurement_ends_when_the_server_has_answered_everything():
    listener = socket.create_server(("127.0.0.1", 0))
    three, go_on = threading.Event(), threading.Event()

    def serve_three():
        with listener, listener.accept()[0] as first, listener.accept()[0] as second:
            for sock in [first, second, first]:
                sock.recv(65536)
                sock.sendall(ANSWER)
            three.set()
            go_on.wait(60)
            while ready := select.select([first, second], [], [], 60)[0]:
                for sock in ready:
                    if not sock.recv(65536):
                        return
                    sock.sendall(ANSWER)

    server = threading.Thread(target=serve_three, daemon=True)
    server.start()
    arguments = (listener.getsockname()[1], [REQUEST], 0.0, 2)
    measured = threading.Thread(target=side_by_side, args=arguments, daemon=True)
    measured.start()

    assert three.wait(60)
    measured.join(0.3)
    assert measured.is_alive()
    go_on.set()
    measured.join(60)
    server.join(60)
    assert not measured.is_alive()


def test_requests_forbid_stored_answers_and_have_ids_as_a_peer_has_them():
    assert b"\r\nCache-Control: no-store\r\n" in Ask(GRAPH, {}).encode()

    content = json.loads(Ask(NOTE, {"id": "7"}).encode(integers=True).partition(b"\r\n\r\n")[2])
    assert content["variables"] == {"id": 7}
    assert "$id: Int!" in content["query"]


def test_ids_are_told_apart_as_texts():
    assert plain({"b": [{"id": 1}], "a": 2}) == plain({"a": 2, "b": [{"id": "1"}]})
    assert plain({"a": "1"}) != plain({"a": 1})


def test_peers_have_to_give_the_same_data():
    right = {"data": {"users": [{"id": "1"}]}}
    same, other = {"data": {"users": [{"id": 1}]}}, {"data": {"users": [{"id": 2}]}}
    ports = {PCF: serve_constant(answer(right)), YOGA: serve_constant(answer(same))}
    compare(ports)

    ports[MERCURIUS] = serve_constant(answer(other))
    with pytest.raises(Failure, match="Mercurius and PCF differ"):
        compare(ports)
    ports[MERCURIUS] = serve_constant(answer({"data": None, "errors": [{"message": "Oh"}]}))
    with pytest.raises(Failure, match=r"Mercurius answers .*Oh"):
        compare(ports)
    ports[PCF] = serve_constant(answer({"data": {"users": []}}))
    with pytest.raises(Failure, match="too few"):
        compare(ports)


def test_every_kind_of_request_is_compared():
    assert {one.query for one in CHECKED} == {
        one.query for case in cases(["1"]) for one in case.asks
    }


def test_every_peer_is_measured_in_every_row_of_every_round(monkeypatch):
    monkeypatch.setattr(comparison, "WARM_UP", 0.01)
    ports = {PCF: serve_constant(), MERCURIUS: serve_constant()}

    with Supervisor(Say(sys.stderr)) as supervisor:
        found = measure(ports, cases(["1", "2"]), 2, 0.01, supervisor)

    assert found.keys() == {(peer.name, *row) for peer in ports for row in ROWS}
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())


def test_the_table_has_ratios_within_rounds_and_who_is_first():
    found = figures([0.010, 0.020, 0.010], [0.020, 0.040, 0.012])
    lines = table(found, {PCF: "", MERCURIUS: "16.10.1"}).splitlines()

    assert lines[0] == "| | PCF | Mercurius 16.10.1 | first |"
    assert lines[2] == "| the graph, ms over 1 | 10.00 | 20.00 (0.50) | PCF |"
    assert len(lines) == 2 + len(ROWS)
    assert cell(found, MERCURIUS, ("the graph", 2)) == "0 (0.50)"


@pytest.mark.parametrize(
    ("connections", "pcf", "mercurius", "first"),
    [
        (ONE, [1.0], [2.0], [PCF]),
        (ONE, [2.0], [1.0], [MERCURIUS]),
        (ONE, [1.0], [1.04], [PCF, MERCURIUS]),
        (ONE, [1.04], [1.0], [MERCURIUS, PCF]),
        (16, [1.0], [2.0], [MERCURIUS]),
        (16, [2.0], [1.0], [PCF]),
        (16, [1.0], [1.04], [MERCURIUS, PCF]),
    ],
)
def test_the_least_duration_and_the_highest_rate_are_first(connections, pcf, mercurius, first):
    row = ("one note", connections)
    assert winners(figures(pcf, mercurius), [PCF, MERCURIUS], row) == first


def test_goals_are_for_the_peers_that_were_measured():
    found = goals(figures([1.1], [1.0]), [PCF, MERCURIUS])

    assert found == [
        "one note: 1.10 of Mercurius's time, goal 1.20: reached",
        "a page of 20: 1.10 of Mercurius's time, goal 1.00: not reached",
        "the graph: 1.10 of Mercurius's time, goal 0.60: not reached",
        "one note: 1/s over 16, goal 4,000: not reached",
        "one note: 1/s over 64, goal 1 (over 2): reached",
    ]


@pytest.mark.parametrize("of_pcf", [[], [0.0], [0.010, 0.0]])
def test_a_comparison_without_figures_of_pcf_fails(of_pcf):
    found = figures(of_pcf, [0.020] * len(of_pcf or [1]))
    for report in (
        lambda: table(found, {PCF: "", MERCURIUS: ""}),
        lambda: goals(found, [PCF, MERCURIUS]),
    ):
        with pytest.raises(Failure, match=r"PCF, .*: nothing was measured"):
            report()


@pytest.mark.parametrize(
    ("peer", "version", "reason"),
    [
        (PCF, "", ""),
        (MERCURIUS, "v20.20.2", ""),
        (MERCURIUS, "v18.1.0", "it needs npm and Node 20 or later; this is Node v18.1.0"),
        (MERCURIUS, "", "it needs npm and Node 20 or later"),
        (POSTGRAPHILE, "v20.20.2", "it needs npm and Node 22 or later; this is Node v20.20.2"),
        (POSTGRAPHILE, "v22.0.0", ""),
    ],
)
def test_a_peer_that_cannot_run_is_left_out_with_a_reason(peer, version, reason):
    assert reason_without(peer, version) == (f"{peer.name} is left out: {reason}" if reason else "")


def test_the_conditions_name_what_is_left_out():
    assert "PostGraphile is left out." in notes(3, 0.6, "1", ["PostGraphile is left out"])


def test_the_page_has_a_place_for_the_table():
    page = put(PAGE.read_text(), "| new |")
    assert "<!-- bench-peers -->\n\n| new |\n\n<!-- end of bench-peers -->" in page
    assert put(page, "| new |") == page
    with pytest.raises(Failure, match="no markers"):
        put("", "| new |")


@pytest.mark.parametrize(("name", "value"), [("ROUNDS", "0"), ("ROUNDS", "x"), ("SECONDS", "nan")])
def test_wrong_settings_are_refused(monkeypatch, capsys, name, value):
    monkeypatch.setenv(name, value)
    assert comparison.main() == 2
    assert f"{name} is '{value}'" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["node", "node/postgraphile"])
def test_packages_of_npm_are_locked_and_name_no_registry(folder):
    package = json.loads((HERE / folder / "package.json").read_text())
    text = (HERE / folder / "package-lock.json").read_text()
    lock = json.loads(text)["packages"]

    assert all(re.fullmatch(r"\d+\.\d+\.\d+", it) for it in package["dependencies"].values())
    assert lock[""]["dependencies"] == package["dependencies"]
    assert all("integrity" in entry for name, entry in lock.items() if name)
    assert "://" not in text


def test_packages_of_python_are_pinned_and_name_no_registry():
    requirements = (HERE / "requirements.txt").read_text()
    assert "--hash=sha256:" in requirements
    assert "://" not in requirements


def test_every_peer_has_its_files():
    files = {"node": "node/{}.js", "django": "python/{}.py"}
    for peer in PEERS:
        if peer is not PCF:
            assert (HERE / Path(files[peer.kind].format(peer.what))).is_file()
    assert not list(HERE.rglob("node_modules"))
