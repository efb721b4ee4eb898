"""The load test's sessions: their tokens, and the answers that decide what is sent next."""

import json
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load.client import Client, Request, Schedule, clock, unpack
from benchmarks.load.mix import Kind, MixError, Requests, World, read_mix
from benchmarks.load.sessions import Sessions, Viewer

MIX = Path(__file__).resolve().parents[2] / "benchmarks" / "load" / "mix.toml"
ADDRESS = ("127.0.0.1", 80, "/graphql")
REFRESHED = {"accessToken": "new access", "refreshToken": "new refresh", "userErrors": []}


def viewer(name, refresh_token="old refresh"):
    return Viewer("old access", ["1"], name, "secret", refresh_token)


def answer(payload):
    return json.dumps({"data": {"refreshAccess": payload}}).encode()


@pytest.fixture
def mix():
    """Return the kinds of sessions, and one that anybody sends."""
    found = read_mix(MIX)
    names = ("user", "refresh the access", "log in")
    kinds = [replace(kind, weight=1) for kind in found.kinds if kind.name in names]
    return replace(found, kinds=tuple(kinds))


@pytest.fixture
def sent(mix):
    """Return a function that begins a load with viewers."""

    def start(viewers):
        world, sessions = World(["1"], ["2"], ["red"], viewers), Sessions(viewers)

        def draw(name):
            """Return the next request of this kind, and its input; None when none is sent."""
            kinds = tuple(kind for kind in mix.kinds if kind.name in (name, "user"))
            requests = iter(Requests(replace(mix, kinds=kinds), world, ADDRESS, "1/0", sessions))
            for request, _ in zip(requests, range(100), strict=False):
                if kinds[request.kind].name == name:
                    body = json.loads(request.data.partition(b"\r\n\r\n")[2])
                    return request, body["variables"]["input"]
            return None

        return draw

    return start


def test_one_refresh_of_a_session_is_on_its_way(sent):
    draw = sent([viewer("ann", "a"), viewer("bob", "b")])
    first, given = draw("refresh the access")
    _, given_second = draw("refresh the access")
    assert [given, given_second] == [{"refreshToken": "a"}, {"refreshToken": "b"}]
    assert b"Authorization" not in first.data
    assert draw("refresh the access") is None  # both wait for their answers
    assert draw("log in") is None

    first.on_answer(answer(REFRESHED))
    _, third = draw("refresh the access")
    assert third == {"refreshToken": "new refresh"}


@pytest.mark.parametrize(
    "body", [None, b"", b"[]", answer(None), answer({"accessToken": None, "refreshToken": None})]
)
def test_a_session_whose_token_is_not_known_logs_in(sent, body):
    ann = viewer("ann")
    draw = sent([ann])
    request, _ = draw("refresh the access")
    request.on_answer(body)
    assert draw("refresh the access") is None

    log_in, given = draw("log in")
    assert given == {"username": "ann", "password": "secret", "device": "load test"}
    log_in.on_answer(answer(REFRESHED))
    assert (ann.token, ann.refresh_token) == ("new access", "new refresh")
    assert draw("refresh the access")[1] == {"refreshToken": "new refresh"}


def test_viewers_without_a_session_send_no_request_of_one(mix):
    world = World(["1"], ["2"], ["red"], [Viewer("token", ["1"])])
    requests = iter(Requests(mix, world, ADDRESS, "1/0"))
    names = {mix.kinds[next(requests).kind].name for _ in range(200)}
    assert names == {"user"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('group = "session"', 'group = "list"'),
        ('refreshToken = "$refresh-token"', 'refreshToken = "x"'),
    ],
)
def test_kinds_of_sessions_have_their_group(tmp_path, old, new):
    path = tmp_path / "mix.toml"
    path.write_text(MIX.read_text().replace(old, new))
    with pytest.raises(MixError, match="needs the group 'session'"):
        read_mix(path)


def test_kinds_of_sessions_are_writes():
    assert Kind("x", "session", 1, "mutation { x }").is_write


def serve(answer=None):
    """Answer each request; end the connection instead of None. Return the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        while True:
            client, _ = listener.accept()
            while client.recv(65_536):
                if answer is None:
                    break
                client.sendall(answer)
            client.close()

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()


def send(address, *, expected=None, timeout=10.0):
    """Send one request; return the bodies that its callback got, and its outcome."""
    bodies, batches = [], []
    data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    requests = iter([Request(0, data, bodies.append)])
    client = Client(
        address, requests, batches.append, connections=1, timeout=timeout,
        expected={0: expected} if expected else None,
    )  # fmt: skip
    client.run(Schedule(clock() + 0.05, 1.0, 1.0))
    names = batches[-1].outcomes
    (outcome,) = [names[unpack(n).outcome] for batch in batches for n in batch.samples]
    return bodies, outcome


def http(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_the_callback_gets_the_body_once():
    assert send(serve(http(b'{"data":1}'))) == ([b'{"data":1}'], "ok")


def test_the_callback_gets_a_body_that_came_in_pieces():
    body = b'{"data":"' + b"x" * 1_000_000 + b'"}'  # larger than one read
    assert send(serve(http(body))) == ([body], "ok")


def test_the_callback_gets_nothing_after_a_failure():
    assert send(serve(http(b'{"errors":[{}]}'))) == ([None], "200")
    assert send(serve()) == ([None], "connection")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert send(silent.getsockname(), timeout=0.2) == ([None], "timeout")


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (b'{"code":"CONFLICT"}', "ok"),
        (b"", "no user error CONFLICT"),
        (b'{"code":"NOT_FOUND"}', "user error NOT_FOUND"),
    ],
)
def test_a_kind_may_expect_a_user_error(code, outcome):
    body = b'{"data":{"updateNote":{"note":null,"userErrors":[%s]}}}' % code
    bodies, found = send(serve(http(body)), expected="CONFLICT")
    assert (bodies, found) == ([body if outcome == "ok" else None], outcome)
