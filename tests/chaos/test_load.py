"""The load of ``make chaos``: its client against a scripted server, and late answers."""

import asyncio
import json
import select
import socket
import struct
import threading
import time
from contextlib import contextmanager
from math import inf

import pytest

from scripts.services import free_port
from tests.chaos.client import REUSES, Client, Exchange, _age
from tests.chaos.generator import GRACE, Generator, classify
from tests.chaos.ledger import BROKEN, LATE, OK, REFUSED, TIMEOUT, WRONG, Ledger, Sample
from tests.chaos.load import GeneratorEnded, Load
from tests.chaos.report import durations, percentile
from tests.chaos.servers import wait_for

DEADLINE = 20.0  # seconds
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def receive(connection):
    """Return the head of a whole request."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head


@contextmanager
def served(*scripts):
    """Yield the port of a server whose scripts serve one connection each, in turn."""
    failures = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)

        def serve():
            try:
                for script in scripts:
                    connection, _ = listener.accept()
                    connection.settimeout(DEADLINE)
                    with connection:
                        script(connection)
            except Exception as error:  # noqa: BLE001 - the test reports it
                failures.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()
    assert failures == []


def answers(*contents):
    """Answer one request of a connection for each content, then wait for its end."""

    def script(connection):
        for content in contents:
            assert receive(connection)
            connection.sendall(content)
        assert receive(connection) == b""

    return script


def asks(port, times, exchange=None, idle=inf):
    """Send requests one after another; return the bodies of the answers, and the client."""

    async def run():
        client = Client(port, idle)
        bodies = []
        for _ in range(times):
            moments = exchange or Exchange(time.monotonic())
            bodies.append((await client.post("/", b"{}", {}, moments, DEADLINE)).body)
        client.close()
        return bodies, client

    return asyncio.run(run())


def test_a_connection_is_kept():
    with served(answers(PLAIN, PLAIN, PLAIN)) as port:
        bodies, client = asks(port, 3)
    assert bodies == [b"hi"] * 3
    assert (client.opened, client.resent) == (1, 0)


def test_a_connection_is_used_a_limited_number_of_times():
    with served(answers(*[PLAIN] * REUSES), answers(PLAIN)) as port:
        _, client = asks(port, REUSES + 1)
    assert client.opened == 2


def test_an_idle_connection_is_closed():
    with served(answers(PLAIN), answers(PLAIN)) as port:
        _, client = asks(port, 2, idle=0.0)
    assert client.opened == 2


def test_a_connection_that_the_service_announces_to_close_is_not_used_again():
    closing = PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with served(answers(closing), answers(PLAIN)) as port:
        _, client = asks(port, 2)
    assert (client.opened, client.resent) == (2, 0)


@pytest.mark.parametrize("size", [1, 1_000])
def test_chunks_in_any_pieces(size):
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
    )

    def script(connection):
        assert receive(connection)
        for start in range(0, len(chunked), size):
            connection.sendall(chunked[start : start + size])
        answers(PLAIN)(connection)

    with served(script) as port:
        bodies, _ = asks(port, 2)
    assert bodies == [b"abc0123456789", b"hi"]


def test_a_request_that_no_process_has_read_is_sent_again():
    def script(connection):
        assert receive(connection)
        connection.sendall(PLAIN)
        assert select.select([connection], [], [], DEADLINE)[0]  # unread: closing resets it

    with served(script, answers(PLAIN)) as port:
        bodies, client = asks(port, 2)
    assert bodies == [b"hi"] * 2
    assert (client.opened, client.resent) == (2, 1)


def test_an_idle_connection_that_the_service_closed_is_replaced():
    async def run(port, closed):
        client = Client(port, inf)
        for _ in range(2):
            await client.post("/", b"{}", {}, Exchange(time.monotonic()), DEADLINE)
            closed.wait(DEADLINE)
        client.close()
        return client

    closed = threading.Event()

    def first(connection):
        assert receive(connection)
        connection.sendall(PLAIN)
        connection.close()
        closed.set()

    with served(first, answers(PLAIN)) as port:
        client = asyncio.run(run(port, closed))
    assert client.opened == 2


@pytest.mark.parametrize("before", [0, 1])
def test_a_request_that_was_read_and_not_answered_is_not_sent_again(before):
    def script(connection):
        for _ in range(before):
            assert receive(connection)
            connection.sendall(PLAIN)
        assert receive(connection)

    with served(script) as port, pytest.raises(EOFError):
        asks(port, before + 1)


def test_half_an_answer_is_none():
    def script(connection):
        assert receive(connection)
        connection.sendall(PLAIN[:-1])

    with served(script) as port, pytest.raises(EOFError):
        asks(port, 1)


def test_the_moment_of_the_last_byte_is_the_kernels():
    exchange = Exchange(time.monotonic())
    with served(answers(PLAIN)) as port:
        asks(port, 1, exchange)
    assert exchange.due <= exchange.sent <= exchange.arrived <= exchange.read

    stamp = struct.pack("@qq", int(time.time()) - 100, 0)
    assert _age([(socket.SOL_SOCKET, 35, stamp)]) >= 99
    assert _age([]) == 0.0


@pytest.mark.parametrize(
    ("outcome", "seconds", "expected"),
    [
        (OK, DEADLINE, OK),
        (OK, DEADLINE + GRACE, OK),
        (OK, DEADLINE + GRACE + 0.01, LATE),
        (BROKEN, DEADLINE - 0.01, BROKEN),
        (BROKEN, DEADLINE, TIMEOUT),
        (BROKEN, DEADLINE + GRACE + 0.01, LATE),
        (WRONG, DEADLINE + GRACE + 0.01, WRONG),
    ],
)
def test_only_the_services_time_makes_an_answer_late(outcome, seconds, expected):
    assert classify(outcome, "", seconds, DEADLINE)[0] == expected


def test_a_request_that_was_due_long_ago_is_not_late():
    """The generator was late, not the service. The report shows that."""
    samples = []

    async def run(port):
        generator = Generator(port, Ledger(), rate=1, deadline=DEADLINE, report=samples.extend)
        await generator.measure(Exchange(time.monotonic() - 10 * DEADLINE))
        await generator.run(stopped())

    def stopped():
        stop = asyncio.Event()
        stop.set()
        return stop

    body = json.dumps({"errors": [{"message": "x", "extensions": {"code": "SOME"}}]}).encode()
    content = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with served(answers(content)) as port:
        asyncio.run(run(port))
    (sample,) = samples
    assert sample.outcome == "SOME"
    assert sample.overdue >= 10 * DEADLINE
    assert sample.since_due == sample.overdue + sample.seconds


def test_the_report_separates_the_service_from_the_generator():
    samples = [Sample("read", 1.0, 4.0, 0.5, OK, unread=0.25)]
    lines = [line.rsplit(maxsplit=3) for line in durations(samples).splitlines()]
    assert {name: float(most) for name, _, _, most in lines[1:]} == {
        "latency from sending to the last byte": 0.5,
        "latency from the due time to the last byte": 3.5,
        "the generator's own lateness in sending": 3.0,
        "the generator's own lateness in reading": 0.25,
    }


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0.0), ([3.0], 0.99, 3.0), ([4.0, 1.0, 2.0, 3.0], 0.5, 2.0), ([1.0, 2.0], 1.0, 2.0)],
)
def test_percentile(values, share, expected):
    assert percentile(values, share) == expected


def test_the_ledger_comes_back_from_the_process():
    ledger = Ledger()
    load = Load(free_port(), ledger, rate=200, deadline=DEADLINE)
    load.start()
    wait_for("a note", lambda: any(sample.kind == "create" for sample in load.samples))
    samples = load.stop()
    assert {sample.outcome for sample in samples} == {REFUSED}
    assert set(ledger.created.values()) == {False}
    assert ledger.unanswered == list(ledger.created)


def test_a_generator_that_fails_is_noticed():
    load = Load(free_port(), Ledger(), rate=200, deadline=DEADLINE)
    load.start()
    load._process.kill()
    with pytest.raises(GeneratorEnded):
        load.stop()
