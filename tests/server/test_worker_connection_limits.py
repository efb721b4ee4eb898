"""Limits for connections, with a clock that the tests move."""

import asyncio
from dataclasses import replace

import pytest

from pcf.conf import config
from pcf.observability import metrics
from pcf.server import connection as module
from pcf.server import worker as others
from pcf.server.connection import MAX_TURNS
from pcf.server.worker import ConnectionLimits
from tests.server.transports import KEEPALIVE, Client


@pytest.fixture
def clock(monkeypatch):
    now = [1_000.0]
    for each in (module, others):
        monkeypatch.setattr(each, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def limits(settings, clock):
    """``limits(name=value, ...)`` sets limits of the server."""

    def change(**given):
        settings.PCF = replace(settings.PCF, server=replace(settings.PCF.server, **given))

    return change


@pytest.fixture
def connections(clock):
    return ConnectionLimits(100, KEEPALIVE)


@pytest.fixture
def ended():
    """``ended(limit)`` returns how many connections it has ended since the last call."""
    before = {}

    def count(limit):
        value = metrics.connections_ended.labels(limit)._value.get()
        grown, before[limit] = value - before.get(limit, 0.0), value
        return grown

    for limit in ("head", "unread", "address", "process"):
        count(limit)
    return count


def passes(clock, connections, seconds):
    clock[0] += seconds
    connections.sweep()


# --- heads


def test_a_new_connection_has_a_deadline_for_its_first_head(clock, connections, ended):
    client = Client(connections)
    passes(clock, connections, config().timeouts.head - 0.1)
    client.connection.data_received(b"GET / HT")
    assert not client.ended
    passes(clock, connections, 0.1)
    assert client.transport.calls == ["abort"]
    assert ended("head") == 1


def test_a_kept_connection_has_a_deadline_from_the_first_byte_of_a_head(clock, connections, ended):
    client = Client(connections)
    client.ask()
    client.connection.finish()
    passes(clock, connections, KEEPALIVE - 1)
    client.connection.data_received(b"G")
    passes(clock, connections, config().timeouts.head - 0.1)
    client.connection.data_received(b"E")
    assert not client.ended
    passes(clock, connections, 0.1)
    assert client.transport.calls == ["abort"]
    assert ended("head") == 1


def test_a_connection_with_an_open_request_has_no_deadline_for_a_head(clock, connections):
    client = Client(connections)
    client.ask()
    client.connection.data_received(b"a body, or the next request")
    passes(clock, connections, 1_000)
    assert not client.ended
    assert client.inner.data_received.call_count == 2


def test_an_idle_connection_is_closed_after_the_keepalive_time(clock, connections, ended):
    client = Client(connections)
    client.ask()
    client.connection.finish()
    passes(clock, connections, KEEPALIVE - 0.1)
    assert not client.ended
    passes(clock, connections, 0.1)
    assert client.transport.calls == ["eof"]
    assert ended("head") == 0


def test_bytes_between_http2_requests_set_no_deadline_for_a_head(clock, connections):
    """Pings and window updates may come at any time."""
    client = Client(connections, tls=True, alpn="h2")
    client.connection.begin()
    client.connection.finish()
    client.connection.data_received(b"a ping")
    passes(clock, connections, config().timeouts.head + 1)
    assert not client.ended


def test_a_multiplexed_connection_is_busy_until_its_last_answer(clock, connections):
    client = Client(connections, tls=True, alpn="h2")
    client.connection.begin()
    client.connection.begin()
    client.connection.finish()
    passes(clock, connections, 1_000)
    assert not client.connection.is_idle
    assert not client.ended
    client.connection.finish()
    assert client.connection.is_idle


# --- answers


def test_a_client_that_does_not_read_has_a_deadline(clock, connections, ended):
    client = Client(connections)
    client.ask()
    client.connection.pause_writing()
    client.inner.pause_writing.assert_called_once_with()
    passes(clock, connections, config().server.write - 0.1)
    assert not client.ended
    passes(clock, connections, 0.1)
    assert client.transport.calls == ["abort"]
    assert ended("unread") == 1


def test_a_client_that_reads_again_gets_a_new_deadline(clock, connections):
    client = Client(connections)
    client.ask()
    client.connection.pause_writing()
    passes(clock, connections, config().server.write - 0.1)
    client.connection.resume_writing()
    client.inner.resume_writing.assert_called_once_with()
    passes(clock, connections, config().server.write)
    client.connection.pause_writing()
    passes(clock, connections, config().server.write - 0.1)
    assert not client.ended


def test_at_the_limit_of_unread_bytes_the_oldest_connections_are_ended(clock, limits, ended):
    limits(max_unread_bytes=100)
    connections = ConnectionLimits(100, KEEPALIVE)
    clients = [Client(connections) for _ in range(4)]
    for client, size in zip(clients, (60, 0, 50, 50), strict=True):
        client.ask()
        client.transport.write(b"x" * size)
    connections.sweep()
    assert [client.ended for client in clients] == [True, False, False, False]
    assert ended("unread") == 1
    clients[0].lose()
    connections.sweep()
    assert not clients[2].ended


# --- the end of a connection


def test_a_closing_connection_reads_until_the_client_closes_its_side(clock, connections):
    client = Client(connections)
    client.ask()
    client.transport.reading = False
    client.servers.close()
    client.servers.close()
    assert client.transport.calls == ["read on", "eof"]
    assert client.servers.is_closing()
    client.connection.data_received(b"more data")
    assert client.inner.data_received.call_count == 1
    assert client.connection.eof_received() is False, "asyncio closes it"
    client.lose()
    client.inner.connection_lost.assert_called_once_with(None)
    assert len(connections) == 0


def test_a_client_that_does_not_close_its_side_is_ended_after_the_linger_time(clock, connections):
    client = Client(connections)
    client.ask()
    client.servers.write(b"answer")
    client.servers.close()
    passes(clock, connections, config().server.linger + 1)
    client.transport.unread = 0
    passes(clock, connections, 1)
    passes(clock, connections, config().server.linger - 0.1)
    assert "abort" not in client.transport.calls
    passes(clock, connections, 0.1)
    assert client.transport.calls == ["eof", "abort"]


def test_a_client_that_never_reads_its_last_answer_is_ended(clock, connections, ended):
    client = Client(connections)
    client.ask()
    client.servers.write(b"answer")
    client.servers.write_eof()
    passes(clock, connections, config().server.write - 0.1)
    assert "abort" not in client.transport.calls
    passes(clock, connections, 0.1)
    assert client.transport.calls == ["eof", "abort"]
    assert ended("unread") == 1


def test_a_tls_connection_is_closed_by_its_transport(clock, connections):
    client = Client(connections, tls=True)
    client.servers.close()
    assert client.transport.calls == ["close"]


async def turns(number):
    for _ in range(number):
        await asyncio.sleep(0)


def test_a_client_that_closed_its_side_gets_its_answer(clock, connections):
    client = Client(connections)

    async def listen():
        client.ask()
        assert client.connection.eof_received() is True
        passes(clock, connections, 1)
        await turns(MAX_TURNS + 2)
        assert not client.ended
        client.connection.finish()
        await turns(MAX_TURNS + 2)

    asyncio.run(listen())
    assert client.transport.calls == ["close"]


def test_a_client_that_closes_its_side_with_its_request_gets_its_answer(clock, connections):
    """The server begins the request some turns of the loop later."""
    client = Client(connections)

    async def send():
        client.connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
        assert client.connection.eof_received() is True
        await turns(2)
        assert not client.ended
        client.connection.begin()
        await turns(MAX_TURNS + 2)
        assert not client.ended
        client.connection.finish()
        await turns(MAX_TURNS + 2)

    asyncio.run(send())
    assert client.transport.calls == ["close"]


def test_asyncio_closes_an_idle_connection_when_the_client_closes_its_side(clock, connections):
    client = Client(connections)
    assert client.connection.eof_received() is False


def test_an_ending_process_closes_silent_connections_after_a_while(clock, connections):
    idle, busy = Client(connections), Client(connections)
    busy.ask()
    connections.is_ending = True
    passes(clock, connections, config().server.idle_at_end)
    assert not idle.ended
    passes(clock, connections, 0.1)
    assert idle.transport.calls == ["eof"]
    assert not busy.ended
    busy.connection.finish()
    passes(clock, connections, config().server.idle_at_end - 0.1)
    assert not busy.ended
    passes(clock, connections, 0.2)
    assert busy.transport.calls == ["eof"]


# --- how many


@pytest.mark.parametrize("limit", ["address", "process"])
def test_at_a_limit_the_longest_idle_connection_makes_room(limits, clock, ended, limit):
    if limit == "address":
        limits(max_connections_per_address=3)
    connections = ConnectionLimits(3 if limit == "process" else 100, KEEPALIVE)
    busy, used, idle = (Client(connections) for _ in range(3))
    busy.ask()
    used.ask()
    used.connection.finish()
    new = Client(connections)
    assert [each.ended for each in (busy, used, idle, new)] == [False, False, True, False]
    idle.lose()
    assert len(connections) == 3
    assert ended(limit) == 1
    newer = Client(connections)
    assert used.transport.calls == ["abort"]
    assert not newer.ended


@pytest.mark.parametrize("limit", ["address", "process"])
def test_without_an_idle_connection_the_new_one_is_closed_before_the_server_sees_it(
    limits, clock, ended, limit
):
    if limit == "address":
        limits(max_connections_per_address=2)
    connections = ConnectionLimits(2 if limit == "process" else 100, KEEPALIVE)
    first, second = Client(connections), Client(connections)
    first.ask()
    second.ask()
    refused = Client(connections)
    assert refused.transport.calls == ["abort"]
    refused.lose()
    refused.inner.connection_made.assert_not_called()
    refused.inner.connection_lost.assert_not_called()
    assert (len(connections), ended(limit)) == (2, 1)
    first.lose()
    assert not Client(connections).ended


def test_the_limit_by_address_counts_each_address_alone(limits, clock):
    limits(max_connections_per_address=1)
    connections = ConnectionLimits(100, KEEPALIVE)
    here = Client(connections, "192.0.2.1")
    there = Client(connections, "192.0.2.2")
    assert not here.ended
    assert not there.ended
    assert connections._by_address == {"192.0.2.1": 1, "192.0.2.2": 1}
    here.lose()
    assert connections._by_address == {"192.0.2.2": 1}, "forgotten addresses use no memory"


@pytest.mark.parametrize("how", ["behind a proxy", "no limit"])
def test_without_a_limit_by_address_one_address_may_have_all_connections(
    limits, clock, settings, how
):
    if how == "no limit":
        limits(max_connections_per_address=0)
    else:
        limits(max_connections_per_address=1)
        settings.PCF = replace(settings.PCF, rates=replace(settings.PCF.rates, trusted_proxies=1))
    connections = ConnectionLimits(100, KEEPALIVE)
    assert not any(client.ended for client in [Client(connections) for _ in range(5)])


def test_the_lower_limit_of_the_settings_and_the_system_holds(limits, clock):
    limits(max_connections=3)
    assert (
        ConnectionLimits(100, KEEPALIVE)._max_connections,
        ConnectionLimits(2, KEEPALIVE)._max_connections,
    ) == (3, 2)


def test_a_connection_over_a_unix_socket_has_no_address(connections):
    assert Client(connections, None).connection.address == ""


# --- which request is whose


def test_a_request_counts_for_the_connection_of_its_task(clock, connections):
    """The server creates its tasks in ``connection_made``, at the first byte."""
    seen, tasks = [], []

    async def application(scope, _receive, _send):
        seen.append((scope["type"], [client.connection._open_requests for client in clients]))
        if scope["type"] == "fails":
            raise ZeroDivisionError

    guarded = connections.guarded(application)
    clients = []

    class Protocol:
        def connection_made(self, _transport):
            tasks.append(asyncio.ensure_future(guarded(self.scope, None, None)))

        data_received = len  # the content does not matter here

    async def serve():
        for scope in ("first", "fails"):
            client = Client(connections)
            client.inner = Protocol()
            client.inner.scope = {"type": scope, "headers": []}
            clients.append(client)
        for client in clients:
            client.connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await guarded({"type": "of no connection"}, None, None)
        return results

    assert [type(each) for each in asyncio.run(serve())] == [type(None), ZeroDivisionError]
    assert seen == [("first", [1, 0]), ("fails", [0, 1]), ("of no connection", [0, 0])]
